"""Where a visualizer's scalars, images and configs go: the base, and the local files."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np
import torch

from mm2pl.config import Config
from mm2pl.errors import ArgumentError, unwritten
from mm2pl.fileio import dump
from mm2pl.registry import VISBACKENDS
from mm2pl.visualization.png import write_png


def is_config(value: object) -> bool:
    """Return whether a value is a config, MMEngine's included: visualizers of toolboxes hand on theirs."""
    theirs = getattr(sys.modules.get("mmengine.config"), "Config", Config)
    return isinstance(value, (Config, theirs))


def force_init_env(old_func: Callable) -> Callable:
    """Make a method call ``_init_env`` first if nothing has been written yet."""

    @functools.wraps(old_func)
    def wrapper(self: Any, *args: Any, **kwargs: Any) -> Any:
        # A backend of a user's own may not call `super().__init__`.
        if not getattr(self, "_env_initialized", False):
            if not hasattr(self, "_init_env"):
                raise AttributeError(f"{type(self)} does not have _init_env method.")
            self._init_env()
            self._env_initialized = True
        return old_func(self, *args, **kwargs)

    return wrapper


class BaseVisBackend:
    """Take what a visualizer records and drop it (``mmengine.visualization.BaseVisBackend``).

    A backend overrides what it can keep. Files and connections are opened by the first call.

    Args:
        save_dir: the folder for its files.
    """

    package: ClassVar[str | None] = None
    """What must be installed in addition."""

    is_logger: ClassVar[bool] = False
    """Whether it writes to a logger or a service, with an axis of steps, and not to a file as MMEngine does."""

    lightning_logger: ClassVar[str] = ""
    """The class of ``lightning.pytorch.loggers`` that it writes through, if it does."""

    def __init__(self, save_dir: str | None) -> None:
        self._save_dir = save_dir
        self._env_initialized = False

    @property
    def experiment(self) -> Any:
        """The object that writes, for what these methods do not offer."""
        raise NotImplementedError

    def _init_env(self) -> None:
        """Open files or connections."""

    def add_config(self, config: Config, **kwargs: Any) -> None:
        """Record the config of the run."""

    def add_graph(
        self, model: torch.nn.Module, data_batch: Sequence[dict] | None, **kwargs: Any
    ) -> None:
        """Record the graph of ``model`` for the inputs in ``data_batch``."""

    def add_image(self, name: str, image: np.ndarray, step: int = 0, **kwargs: Any) -> None:
        """Record ``image``, RGB ``(H, W, 3)`` of bytes, as ``name`` at ``step``."""

    def add_scalar(self, name: str, value: Any, step: int = 0, **kwargs: Any) -> None:
        """Record the number ``value`` as ``name`` at ``step``, in iterations."""

    def add_scalars(
        self, scalar_dict: dict, step: int = 0, file_path: str | None = None, **kwargs: Any
    ) -> None:
        """Record the numbers of ``scalar_dict`` by name at ``step``.

        ``file_path`` names a second file for them, if there are files.
        """

    def close(self) -> None:
        """Finish writing."""


class OfServer:
    """A backend that may write to a server, which ``mm2pl check`` asks whether it answers."""

    @staticmethod
    def address(**arguments: Any) -> str | None:
        """Return the server that a backend with these arguments writes to; None: it writes to none."""
        raise NotImplementedError


@VISBACKENDS.register_module()
class LocalVisBackend(BaseVisBackend):
    """Write ``scalars.json`` (one JSON object a line), ``config.py`` and ``vis_image/*.png``.

    Stands for ``mmengine.visualization.LocalVisBackend``; the analysis tools of OpenMMLab read
    its files.

    Args:
        save_dir: the folder of all of them.
        img_save_dir: the folder of images in it.
        config_save_file: the name of the config, ending in ``.py``.
        scalar_save_file: the name of the scalars, ending in ``.json``.
    """

    def __init__(
        self,
        save_dir: str,
        img_save_dir: str = "vis_image",
        config_save_file: str = "config.py",
        scalar_save_file: str = "scalars.json",
    ) -> None:
        _check_suffix("config_save_file", config_save_file, ".py")
        _check_suffix("scalar_save_file", scalar_save_file, ".json")
        super().__init__(save_dir)
        self._img_save_dir = img_save_dir
        self._config_save_file = config_save_file
        self._scalar_save_file = scalar_save_file

    def _init_env(self) -> None:
        folder = str(self._save_dir)
        os.makedirs(folder, exist_ok=True)
        # Joined only now, as in MMEngine: the names alone are in the attributes until the first record.
        self._img_save_dir = os.path.join(folder, self._img_save_dir)
        self._config_save_file = os.path.join(folder, self._config_save_file)
        self._scalar_save_file = os.path.join(folder, self._scalar_save_file)

    @property
    @force_init_env
    def experiment(self) -> LocalVisBackend:
        """The backend itself."""
        return self

    @force_init_env
    def add_config(self, config: Config, **kwargs: Any) -> None:
        """Write the config as Python.

        Raises:
            ArgumentError: ``config`` is not a Config.
        """
        if not is_config(config):
            raise ArgumentError(f"config should be a Config, but got {config!r}")
        config.dump(self._config_save_file)

    @force_init_env
    def add_image(self, name: str, image: np.ndarray, step: int = 0, **kwargs: Any) -> None:
        """Write ``<name>_<step>.png``.

        Raises:
            ArgumentError: The image is not of uint8.
        """
        if image.dtype != np.uint8:
            raise ArgumentError(f"image {name!r} should be of uint8, but got {image.dtype}")
        path = os.path.join(self._img_save_dir, f"{name}_{step}.png")
        os.makedirs(self._img_save_dir, exist_ok=True)
        # MMEngine writes by OpenCV; the pixels are the same, and nothing has to be installed.
        write_png(path, image)

    @force_init_env
    def add_scalar(self, name: str, value: Any, step: int = 0, **kwargs: Any) -> None:
        """Append one line to the scalars."""
        value = value.item() if isinstance(value, torch.Tensor) else value
        self._dump({name: value, "step": step}, self._scalar_save_file, "json")

    @force_init_env
    def add_scalars(
        self, scalar_dict: dict, step: int = 0, file_path: str | None = None, **kwargs: Any
    ) -> None:
        """Append one line to the scalars, and to ``file_path`` in the same folder.

        Raises:
            ArgumentError: ``scalar_dict`` is not a dict, or ``file_path`` is the file of all scalars.
        """
        if not isinstance(scalar_dict, dict):
            raise ArgumentError(f"scalar_dict should be a dict, but got {scalar_dict!r}")
        # A copy: the other backends get the same dict, and refuse the key `step`.
        line = {**scalar_dict}
        # The dict's own `step` wins, as in MMEngine.
        line.setdefault("step", step)
        if file_path is not None:
            _check_suffix("file_path", file_path, ".json")
            path = os.path.join(str(self._save_dir), file_path)
            if path == self._scalar_save_file:
                raise ArgumentError(
                    f"``file_path`` {file_path!r} and ``scalar_save_file`` have the same name, "
                    "please set ``file_path`` to another value"
                )
            self._dump(line, path, "json")
        self._dump(line, self._scalar_save_file, "json")

    def _dump(self, value_dict: dict, file_path: str, file_format: str) -> None:
        # Opened for each line: a killed run loses nothing, and a resumed one goes on in the file.
        try:
            with open(file_path, "a") as file:
                file.write(f"{dump(value_dict, file_format=file_format)}\n")
        except OSError as error:
            if error.filename is not None:
                raise
            raise unwritten(file_path, error) from error


def _check_suffix(name: str, value: str, suffix: str) -> None:
    if not value.endswith(suffix):
        raise ArgumentError(f"{name} should end in {suffix!r}, but got {value!r}")
