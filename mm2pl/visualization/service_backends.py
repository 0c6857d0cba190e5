"""Backends for services that Lightning has no logger for: they call the service's own client, as MMEngine's do.

A Trainer's callbacks reach them too, through the bridge's ``BackendLogger``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import datetime
from operator import attrgetter
from typing import Any

import numpy as np
import torch

from mm2pl.config import Config
from mm2pl.errors import ArgumentError
from mm2pl.registry import VISBACKENDS
from mm2pl.utils import scandir, to_lists
from mm2pl.visualization.logger_backends import client, without_step
from mm2pl.visualization.vis_backend import BaseVisBackend, OfServer, force_init_env, is_config


class ServiceVisBackend(BaseVisBackend):
    """Open a client when there is the first thing to record.

    Args:
        save_dir: The folder of local files, for services that have any.
        init_kwargs: Arguments of the client.
    """

    is_logger = True

    _client: Any = None

    def __init__(self, save_dir: str | None = None, init_kwargs: dict | None = None) -> None:
        super().__init__(save_dir)
        # A copy: MMEngine 0.10.7 adds its defaults to the config's own dict.
        self._init_kwargs = dict(init_kwargs or {})

    def _open(self) -> Any:
        raise NotImplementedError

    def _init_env(self) -> None:
        if self._client is None:
            self._client = self._open()
            # Here too: a subclass may call `super()._init_env()` before the decorator does.
            self._env_initialized = True

    @property
    @force_init_env
    def experiment(self) -> Any:
        """The client."""
        return self._client

    def add_scalars(
        self, scalar_dict: dict, step: int = 0, file_path: str | None = None, **kwargs: Any
    ) -> None:
        """Record each number."""
        for name, value in without_step(scalar_dict).items():
            self.add_scalar(name, value, step)

    def close(self) -> None:
        """Finish writing, if there was anything to write."""
        if self._client is not None:
            self._close()

    def _close(self) -> None:
        raise NotImplementedError


@VISBACKENDS.register_module()
class ClearMLVisBackend(ServiceVisBackend):
    """Write to ClearML; ``experiment`` is the module ``clearml``.

    Args:
        save_dir: Not used.
        init_kwargs: Arguments of ``clearml.Task.init``.
        artifact_suffix: Endings of the files in ``work_dir`` (not below it) that are stored when closing.
    """

    package = "clearml"

    _work_dir: str = ""

    def __init__(
        self,
        save_dir: str | None = None,
        init_kwargs: dict | None = None,
        artifact_suffix: Sequence[str] | str = (".py", ".pth"),
    ) -> None:
        super().__init__(save_dir, init_kwargs)
        self._artifact_suffix = _suffixes(artifact_suffix)

    def _open(self) -> Any:
        clearml = client(self.package, "ClearMLVisBackend")
        self._task = clearml.Task.init(**self._init_kwargs)
        self._logger = self._task.get_logger()
        return clearml

    @force_init_env
    def add_config(self, config: Config, **kwargs: Any) -> None:
        """Record the config."""
        self._work_dir = config.get("work_dir") or ""
        self._task.connect_configuration(config.to_dict())

    @force_init_env
    def add_image(self, name: str, image: np.ndarray, step: int = 0, **kwargs: Any) -> None:
        """Record an RGB image."""
        self._logger.report_image(title=name, series=name, iteration=step, image=image)

    @force_init_env
    def add_scalar(self, name: str, value: Any, step: int = 0, **kwargs: Any) -> None:
        """Record a number."""
        self._logger.report_scalar(title=name, series=name, value=value, iteration=step)

    def _close(self) -> None:
        if os.path.isdir(self._work_dir):
            # Not below it, as in MMEngine: each artifact goes by its bare name, and two would collide.
            for name in scandir(self._work_dir, self._artifact_suffix, False):
                self._task.upload_artifact(name, os.path.join(self._work_dir, name))
        self._task.close()


@VISBACKENDS.register_module()
class NeptuneVisBackend(ServiceVisBackend, OfServer):
    """Write to Neptune; ``experiment`` is its run.

    Args:
        save_dir: Not used.
        init_kwargs: Arguments of ``neptune.init_run``; without any the run is offline.
    """

    package = "neptune"

    @staticmethod
    def address(init_kwargs: Mapping[str, Any] | None = None, **others: Any) -> str | None:
        """Return the server that a backend with these arguments writes to; None: it writes to none."""
        mode = (init_kwargs or {"mode": "offline"}).get("mode") or os.environ.get(
            "NEPTUNE_MODE", "async"
        )
        return "https://app.neptune.ai" if mode in ("async", "sync") else None

    def _open(self) -> Any:
        neptune = client(self.package, "NeptuneVisBackend")
        # MMEngine's default: without a project or a token neptune would refuse to start.
        return neptune.init_run(**(self._init_kwargs or {"mode": "offline"}))

    def add_config(self, config: Config, **kwargs: Any) -> None:
        """Record the config as a text file."""
        file = client("neptune.types", "NeptuneVisBackend").File
        self.experiment["config"].upload(file.from_content(config.pretty_text))

    def add_image(self, name: str, image: np.ndarray, step: int = 0, **kwargs: Any) -> None:
        """Record an RGB image of 0 to 255."""
        file = client("neptune.types", "NeptuneVisBackend").File
        pictures = self.experiment["images"]
        # neptune takes floats for 0 to 1.
        pictures.append(file.as_image(image.astype(np.float32) / 255.0), name=name, step=step)

    def add_scalar(self, name: str, value: Any, step: int = 0, **kwargs: Any) -> None:
        """Record a number."""
        self.experiment[name].append(value, step=step)

    def _close(self) -> None:
        self.experiment.stop()


@VISBACKENDS.register_module()
class DVCLiveVisBackend(ServiceVisBackend):
    """Write to DVCLive; ``experiment`` is its ``Live``.

    MMEngine 0.10.7 runs ``dvc init -f --no-scm`` where Git knows no user; this does not: DVCLive says itself what it
    cannot do there.

    Args:
        save_dir: The folder of its files.
        artifact_suffix: Endings of the files in ``save_dir`` that are stored when closing.
        init_kwargs: Arguments of ``dvclive.Live``.
    """

    package = "dvclive"

    def __init__(
        self,
        save_dir: str,
        artifact_suffix: Sequence[str] | str = (".json", ".py", "yaml"),
        init_kwargs: dict | None = None,
    ) -> None:
        super().__init__(save_dir, init_kwargs)
        self._artifact_suffix = _suffixes(artifact_suffix)

    def _open(self) -> Any:
        live = client(self.package, "DVCLiveVisBackend").Live
        defaults = {"dir": self._save_dir, "save_dvc_exp": True, "cache_images": True}
        return live(**{**defaults, **self._init_kwargs})

    def add_config(self, config: Config, **kwargs: Any) -> None:
        """Record the config as parameters."""
        self.experiment.log_params(to_lists(config.to_dict()))

    def add_image(self, name: str, image: np.ndarray, step: int = 0, **kwargs: Any) -> None:
        """Record an RGB image; the step is not kept.

        Raises:
            ArgumentError: The image is not of uint8.
        """
        if image.dtype != np.uint8:
            raise ArgumentError(f"image {name!r} has dtype {image.dtype} → uint8 is needed")
        self.experiment.log_image(f"{name}.png", image)

    def add_scalar(self, name: str, value: Any, step: int = 0, **kwargs: Any) -> None:
        """Record a number."""
        # DVCLive's metrics take no step; it writes them under its current one.
        self.experiment.step = step
        # MMEngine 0.10.7 leaves out `cpu()`, and fails for a tensor on a GPU.
        self.experiment.log_metric(
            name, value.cpu().numpy() if isinstance(value, torch.Tensor) else value
        )

    def _close(self) -> None:
        for name in scandir(self._save_dir, self._artifact_suffix, True):  # type: ignore[arg-type]
            path = os.path.join(str(self._save_dir), name)
            self.experiment.log_artifact(path, os.path.dirname(name))
        self.experiment.end()


@VISBACKENDS.register_module()
class AimVisBackend(ServiceVisBackend, OfServer):
    """Write to Aim; ``experiment`` is its ``Run``.

    Args:
        save_dir: Its last two folders name the experiment; without it the time does.
        init_kwargs: Arguments of ``aim.Run``.
    """

    package = "aim"

    @staticmethod
    def address(init_kwargs: Mapping[str, Any] | None = None, **others: Any) -> str | None:
        """Return the server that a backend with these arguments writes to; None: it writes to none."""
        return (init_kwargs or {}).get("repo")

    def _open(self) -> Any:
        aim = client(self.package, "AimVisBackend")
        name = datetime.now().strftime("%Y%m%d_%H%M%S")
        if self._save_dir is not None:
            # MMEngine's name: the time stamp of the run, and "vis_data".
            name = "_".join(os.path.normpath(self._save_dir).split(os.sep)[-2:])
        return aim.Run(**{"experiment": name, **self._init_kwargs})

    def add_config(self, config: Config, **kwargs: Any) -> None:
        """Record the config as hyper-parameters."""
        self.experiment["hparams"] = config.to_dict() if is_config(config) else config

    def add_image(self, name: str, image: np.ndarray, step: int = 0, **kwargs: Any) -> None:
        """Record an RGB image."""
        picture = client(self.package, "AimVisBackend").Image(image)
        self.experiment.track(name=name, value=picture, step=step)

    def add_scalar(self, name: str, value: Any, step: int = 0, **kwargs: Any) -> None:
        """Record a number."""
        self.experiment.track(name=name, value=value, step=step)

    def _close(self) -> None:
        self.experiment.close()


def _set_client(backend: ServiceVisBackend, client: object) -> None:
    backend._client = client


#: Names that subclasses in MMEngine-style projects write through, and that an ``_init_env`` of theirs sets.
for _cls, _name in (
    (ClearMLVisBackend, "_clearml"),
    (NeptuneVisBackend, "_neptune"),
    (DVCLiveVisBackend, "_dvclive"),
    (AimVisBackend, "_aim_run"),
):
    setattr(_cls, _name, property(attrgetter("experiment"), _set_client))


def _suffixes(given: Sequence[str] | str) -> str | tuple[str, ...]:
    return given if isinstance(given, str) else tuple(given)
