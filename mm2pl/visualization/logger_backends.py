"""Backends that write through a logger of Lightning: one of their own, which can serve a Trainer as well, or its."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from importlib import import_module
from typing import Any

import numpy as np
import torch

from mm2pl.config import Config
from mm2pl.errors import ArgumentError, MissingPackageError
from mm2pl.registry import VISBACKENDS
from mm2pl.utils import scandir
from mm2pl.visualization.vis_backend import BaseVisBackend, OfServer


class LoggerVisBackend(BaseVisBackend):
    """Write through :attr:`logger`, one of ``lightning.pytorch.loggers``.

    The logger is made when it is first needed: by the first record, or by
    ``Trainer(logger=backend.logger)``.
    """

    is_logger = True

    @cached_property
    def logger(self) -> Any:
        """The Lightning logger."""
        if self._save_dir is not None:
            os.makedirs(self._save_dir, exist_ok=True)
        # Before `_make_logger`: a subclass's method behind `force_init_env` must not start over.
        self._env_initialized = True
        return self._make_logger()

    def _make_logger(self) -> Any:
        raise NotImplementedError

    def _init_env(self) -> None:
        assert self.experiment is not None

    @property
    def experiment(self) -> Any:
        """The client behind the logger."""
        return self.logger.experiment

    def close(self) -> None:
        """Finish writing, if there was anything to write."""
        # A cached_property lies there only if it was used; asking for it would open the logger.
        if "logger" in self.__dict__:
            self._close()

    def _close(self) -> None:
        self.logger.finalize("success")


@VISBACKENDS.register_module()
class TensorboardVisBackend(LoggerVisBackend):
    """Write event files into ``save_dir`` itself, as ``mmengine.visualization``'s class does.

    Args:
        save_dir: the folder of the event files.
    """

    package = "tensorboard"
    lightning_logger = "TensorBoardLogger"

    def _make_logger(self) -> Any:
        # Lightning's own message would not name this backend.
        client(self.package, "TensorboardVisBackend")
        from mm2pl.visualization.event_files import EventFiles

        # Without `name` and `version` Lightning adds no folders, and MMEngine's files are in `save_dir` itself.
        return EventFiles(self._save_dir or ".", name="", version="")

    @cached_property
    def _tensorboard(self) -> Any:  # projects' subclasses write through it, or set it
        return self.experiment

    def add_config(self, config: Config, **kwargs: Any) -> None:
        """Record the config as text."""
        self.experiment.add_text("config", config.pretty_text)

    def add_image(self, name: str, image: np.ndarray, step: int = 0, **kwargs: Any) -> None:
        """Record an RGB image."""
        self.experiment.add_image(name, image, step, dataformats="HWC")

    def add_scalar(self, name: str, value: Any, step: int = 0, **kwargs: Any) -> None:
        """Record a number; anything else is skipped with a warning."""
        # MMEngine's types. A string would raise inside of TensorBoard, long after the caller.
        if isinstance(value, int | float | torch.Tensor | np.ndarray | np.number):
            self.experiment.add_scalar(name, value, step)
        else:
            warnings.warn(
                f"Got {type(value)} for {name!r}, but numpy array, torch tensor, int or float "
                "are expected. skip it!",
                stacklevel=2,
            )

    def add_scalars(
        self, scalar_dict: dict, step: int = 0, file_path: str | None = None, **kwargs: Any
    ) -> None:
        """Record each number."""
        for name, value in without_step(scalar_dict).items():
            self.add_scalar(name, value, step)

    def _close(self) -> None:
        # Not `finalize` of Lightning 2.6, which calls `save` after it has closed the writer.
        self.experiment.close()


@VISBACKENDS.register_module()
class WandbVisBackend(LoggerVisBackend, OfServer):
    """Write to Weights & Biases; the steps are W&B's own.

    Args:
        save_dir: the folder of W&B's local files.
        init_kwargs: arguments of ``wandb.init``.
        define_metric_cfg: ``{metric: summary}``, or a list of arguments of ``define_metric``.
        commit: whether each record is a step of its own.
        log_code_name: the name of the code artifact.
        watch_kwargs: arguments of ``wandb.watch``.

    Raises:
        ValueError: ``define_metric_cfg`` is neither a dict nor a list.
    """

    package = "wandb"
    lightning_logger = "WandbLogger"

    def __init__(
        self,
        save_dir: str,
        init_kwargs: dict | None = None,
        define_metric_cfg: dict | list | None = None,
        commit: bool | None = True,
        log_code_name: str | None = None,
        watch_kwargs: dict | None = None,
    ) -> None:
        super().__init__(save_dir)
        if not isinstance(define_metric_cfg, dict | list | None):
            raise ArgumentError(
                f"define_metric_cfg should be dict or list, but got {define_metric_cfg!r}"
            )
        # A new dict: MMEngine 0.10.7 writes `dir` into the config's own.
        self._init_kwargs = {"dir": save_dir, **(init_kwargs or {})}
        self._define_metric_cfg = define_metric_cfg or []
        self._commit = commit
        self._log_code_name = log_code_name
        self._watch_kwargs = watch_kwargs or {}

    @staticmethod
    def address(init_kwargs: Mapping[str, Any] | None = None, **others: Any) -> str | None:
        """Return the server that a backend with these arguments writes to; None: it writes to none."""
        mode = (init_kwargs or {}).get("mode") or os.environ.get("WANDB_MODE", "online")
        server = os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")
        return server if mode in ("online", "run") else None

    @cached_property
    def _wandb(self) -> Any:
        """The module ``wandb`` with its run started; projects' subclasses write through it."""
        wandb = client(self.package, "WandbVisBackend")
        # wandb falls back to a temporary folder if this one does not exist.
        os.makedirs(str(self._save_dir), exist_ok=True)
        wandb.init(**self._init_kwargs)
        metrics = self._define_metric_cfg
        if isinstance(metrics, dict):
            for name, summary in metrics.items():
                wandb.define_metric(name, summary=summary)
        else:
            for metric in metrics:
                wandb.define_metric(**metric)
        self._env_initialized = True
        return wandb

    def _make_logger(self) -> Any:
        from lightning.pytorch.loggers import WandbLogger

        # The run that is open: WandbLogger would begin a second one.
        return WandbLogger(experiment=self._wandb.run)

    @property
    def experiment(self) -> Any:
        """The module ``wandb`` with its run started, as MMEngine gives it: ``experiment.Table`` works."""
        return self._wandb

    def add_config(self, config: Config, **kwargs: Any) -> None:
        """Record the config and the code."""
        # A resumed run has the keys already, and wandb refuses other values.
        allowed = self._init_kwargs.get("allow_val_change", False)
        self.experiment.config.update(config.to_dict(), allow_val_change=allowed)
        self.experiment.run.log_code(name=self._log_code_name)

    def add_graph(
        self, model: torch.nn.Module, data_batch: Sequence[dict] | None, **kwargs: Any
    ) -> None:
        """Watch the model."""
        self.experiment.watch(model, **self._watch_kwargs)

    def add_image(self, name: str, image: np.ndarray, step: int = 0, **kwargs: Any) -> None:
        """Record an RGB image."""
        self.experiment.log({name: self.experiment.Image(image)}, commit=self._commit)

    def add_scalar(self, name: str, value: Any, step: int = 0, **kwargs: Any) -> None:
        """Record a number."""
        self.experiment.log({name: value}, commit=self._commit)

    def add_scalars(
        self, scalar_dict: dict, step: int = 0, file_path: str | None = None, **kwargs: Any
    ) -> None:
        """Record several numbers at once."""
        # Without a step: wandb drops what comes with a smaller step than the last, such as a validation's epoch.
        self.experiment.log(scalar_dict, commit=self._commit)

    def close(self) -> None:
        """Finish the run, if one was started."""
        # The user may have called `wandb.finish()` already.
        if "_wandb" in self.__dict__ and self._wandb.run is not None:
            self._wandb.run.finish()


@VISBACKENDS.register_module()
class MLflowVisBackend(LoggerVisBackend, OfServer):
    """Write to MLflow; ``experiment`` is an ``MlflowClient``.

    Args:
        save_dir: the folder of the runs, if there is no ``tracking_uri``.
        exp_name: the experiment.
        run_name: the run.
        tags: tags of the run.
        params: parameters of the run.
        tracking_uri: the server.
        artifact_suffix: endings of the files in ``work_dir`` that are stored when closing.
        tracked_config_keys: the top-level keys of the config to record; None records all.
        artifact_location: where the server keeps files.
    """

    package = "mlflow"
    lightning_logger = "MLFlowLogger"

    def __init__(
        self,
        save_dir: str,
        exp_name: str | None = None,
        run_name: str | None = None,
        tags: dict | None = None,
        params: dict | None = None,
        tracking_uri: str | None = None,
        artifact_suffix: Sequence[str] | str = (".json", ".log", ".py", "yaml"),
        tracked_config_keys: Sequence[str] | None = None,
        artifact_location: str | None = None,
    ) -> None:
        super().__init__(save_dir)
        self._arguments: dict[str, Any] = {
            "experiment_name": exp_name or "Default",
            "run_name": run_name,
            "tags": tags,
            "tracking_uri": tracking_uri,
            "artifact_location": artifact_location,
        }
        self._params = params
        self._artifact_suffix = (
            artifact_suffix if isinstance(artifact_suffix, str) else tuple(artifact_suffix)
        )
        self._tracked_config_keys = tracked_config_keys
        self._work_dir: str | None = None

    @staticmethod
    def address(tracking_uri: str | None = None, **others: Any) -> str | None:
        """Return the server that a backend with these arguments writes to; None: it writes to none."""
        return tracking_uri

    def _make_logger(self) -> Any:
        client(self.package, "MLflowVisBackend")
        from lightning.pytorch.loggers import MLFlowLogger

        # The logger's own default is `./mlruns`, with any work_dir.
        folder = f"file://{os.path.abspath(self._save_dir or '.')}"
        uri = self._arguments["tracking_uri"] or folder
        logger = MLFlowLogger(**{**self._arguments, "tracking_uri": uri})
        if self._params:
            logger.log_hyperparams(self._params)
        return logger

    def add_config(self, config: Config, **kwargs: Any) -> None:
        """Record the config as parameters and as the file ``config.py``."""
        # MMEngine 0.10.7 keeps the config for `close`, which fails if no config was recorded.
        self._work_dir = config.get("work_dir")
        tracked = config.to_dict()
        if self._tracked_config_keys is not None:
            tracked = {key: tracked[key] for key in self._tracked_config_keys}
        self.logger.log_hyperparams(self._flatten(tracked))
        self.experiment.log_text(self.logger.run_id, config.pretty_text, "config.py")

    def add_image(self, name: str, image: np.ndarray, step: int = 0, **kwargs: Any) -> None:
        """Record an RGB image under a file name such as ``img.png``."""
        self.experiment.log_image(self.logger.run_id, image, name)

    def add_scalar(self, name: str, value: Any, step: int = 0, **kwargs: Any) -> None:
        """Record a number."""
        self.logger.log_metrics({name: value}, step)

    def add_scalars(
        self, scalar_dict: dict, step: int = 0, file_path: str | None = None, **kwargs: Any
    ) -> None:
        """Record several numbers at once."""
        self.logger.log_metrics(without_step(scalar_dict), step)

    def _close(self) -> None:
        if self._work_dir is not None and os.path.isdir(self._work_dir):
            for name in scandir(self._work_dir, self._artifact_suffix, True):
                path = os.path.join(self._work_dir, name)
                self.experiment.log_artifact(self.logger.run_id, path, os.path.dirname(name))
        self.logger.finalize("success")

    def _flatten(self, d: Mapping, parent_key: str = "", sep: str = ".") -> dict:
        """Name nested values by their path: ``{"a": [{"b": 1}]}`` gives ``{"a.0.b": 1}``."""
        items: dict = {}
        for key, value in d.items():
            # Also for keys that are not strings: MMEngine 0.10.7 adds them to one.
            name = f"{parent_key}{sep}{key}" if parent_key else str(key)
            if isinstance(value, list) and any(isinstance(item, dict) for item in value):
                # Only the dicts of a mixed list; MMEngine 0.10.7 fails for such a list.
                value = {
                    str(index): item for index, item in enumerate(value) if isinstance(item, dict)
                }
            if isinstance(value, Mapping):
                items.update(self._flatten(value, name, sep))
            else:
                items[name] = value
        return items


class LoggersBackend(BaseVisBackend):
    """Write a visualizer's scalars to loggers of Lightning.

    Args:
        loggers: Asked at each record, since a Trainer's loggers may be replaced.
    """

    is_logger = True

    def __init__(self, loggers: Callable[[], Sequence[Any]]) -> None:
        super().__init__(None)
        self._loggers = loggers

    def add_scalar(self, name: str, value: Any, step: int = 0, **kwargs: Any) -> None:
        """Log a number."""
        self.add_scalars({name: value}, step)

    def add_scalars(
        self, scalar_dict: dict, step: int = 0, file_path: str | None = None, **kwargs: Any
    ) -> None:
        """Log several numbers; what is none is left out."""
        values = {name: number(value) for name, value in scalar_dict.items()}
        # TensorBoardLogger of Lightning 2.6 raises for a text or a list.
        numbers = {k: v for k, v in values.items() if isinstance(v, int | float)}
        for logger in self._loggers():
            logger.log_metrics(numbers, step)


def number(value: Any) -> Any:
    """Return the number in a tensor, an array or a NumPy scalar of one element; anything else as it is."""
    # By its elements, not its dimensions: losses of the shape (1,) are common.
    one = isinstance(value, torch.Tensor | np.ndarray | np.generic) and math.prod(value.shape) == 1
    return value.item() if one else value


def client(package: str, backend: str) -> Any:
    """Import a service's package.

    Raises:
        ImportError: It is not installed.
    """
    try:
        return import_module(package)
    except ImportError as error:
        root = package.partition(".")[0]
        raise MissingPackageError(f'{backend} needs {root}: run "pip install {root}"') from error


def without_step(scalars: dict) -> dict:
    """Return a dict of scalars.

    Raises:
        ArgumentError: It is none, or has the key ``step``, which is an argument.
    """
    if not isinstance(scalars, dict):
        raise ArgumentError(f"scalar_dict should be a dict, but got {scalars!r}")
    if "step" in scalars:
        raise ArgumentError("Please set it directly through the step parameter: 'step'")
    return scalars
