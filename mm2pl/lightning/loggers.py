"""A run's visualizer backends as the Trainer's loggers, and the Trainer's own loggers as a backend."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from lightning.pytorch.loggers import Logger, TensorBoardLogger
from lightning.pytorch.loggers.logger import DummyLogger

from mm2pl.dist import is_main_process
from mm2pl.lightning.private import open_writer
from mm2pl.visualization.vis_backend import BaseVisBackend


class BackendLogger(Logger):
    """Let Lightning's callbacks (``LearningRateMonitor``) write to a backend that is none of Lightning's loggers.

    Args:
        backend: Such as ``LocalVisBackend``, which appends what it gets to ``scalars.json``.
        version: Names the run; ``ModelCheckpoint`` makes a folder of it in ``work_dir``.
    """

    def __init__(self, backend: Any, version: str) -> None:
        super().__init__()
        self.backend = backend
        self._version = version

    @property
    def name(self) -> str:
        """No further folder."""
        return ""

    @property
    def version(self) -> str:
        """The run's time stamp."""
        return self._version

    @property
    def experiment(self) -> Any:
        """What the backend writes with."""
        return self.backend.experiment

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Write numbers; they may be tensors of one element."""
        numbers = {name: _number(value) for name, value in metrics.items()}
        if is_main_process():
            self.backend.add_scalars(numbers, step=step or 0)

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """Do nothing: the backend has the whole config already."""


class EventFiles(TensorBoardLogger):
    """Lightning's TensorBoard logger, without a ``hparams.yaml`` beside the event files: the config is in them."""

    def save(self) -> None:
        """Write what is waiting."""
        if (writer := open_writer(self)) is not None:
            writer.flush()


class LoggersBackend(BaseVisBackend):
    """Write a visualizer's scalars to loggers of Lightning.

    Args:
        loggers: Asked at each record, since a Trainer's loggers may be replaced.
    """

    def __init__(self, loggers: Callable[[], Sequence[Logger]]) -> None:
        super().__init__(None)
        self._loggers = loggers

    def add_scalar(self, name: str, value: Any, step: int = 0, **kwargs: Any) -> None:
        """Log a number."""
        self.add_scalars({name: value}, step)

    def add_scalars(
        self, scalar_dict: dict, step: int = 0, file_path: str | None = None, **kwargs: Any
    ) -> None:
        """Log several numbers; what is none is left out."""
        values = {name: _number(value) for name, value in scalar_dict.items()}
        numbers = {k: v for k, v in values.items() if isinstance(v, int | float)}
        for logger in self._loggers():
            logger.log_metrics(numbers, step)


def _number(value: Any) -> Any:
    """Return the number in a tensor, an array or a NumPy scalar of one element; anything else as it is."""
    one = isinstance(value, torch.Tensor | np.ndarray | np.generic) and math.prod(value.shape) == 1
    return value.item() if one else value


def connect_loggers(trainer: Any, visualizer: Any, version: str) -> None:
    """Make the visualizer's backends ``trainer.loggers``; loggers that the Trainer has already get the run's scalars.

    Lightning's own loggers come first, so ``module.logger`` is TensorBoard's where there is one.

    Args:
        trainer: Its ``loggers`` are extended.
        visualizer: Of the run; one that keeps no backends is left alone.
        version: Names the run.

    Raises:
        ImportError: The client of a backend (``wandb``, ``mlflow``, ``tensorboard``) is not installed.
    """
    backends = getattr(visualizer, "_vis_backends", None)
    if not isinstance(backends, dict):
        return
    backends.pop("lightning", None)  # of an earlier run with the same visualizer
    given = list(trainer.loggers)
    if trainer.fast_dev_run or not is_main_process():
        trainer.loggers = given or [DummyLogger()]
        return
    own = [getattr(b, "logger", None) or BackendLogger(b, version) for b in backends.values()]
    own.sort(key=lambda logger: isinstance(logger, BackendLogger))
    trainer.loggers = [*given, *own]
    if given:
        backends["lightning"] = LoggersBackend(lambda: given)
