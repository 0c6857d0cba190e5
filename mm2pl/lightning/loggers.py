"""A run's visualizer backends as the Trainer's loggers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from lightning.pytorch.loggers import Logger
from lightning.pytorch.loggers.logger import DummyLogger

from mm2pl.dist import is_main_process
from mm2pl.visualization.logger_backends import LoggersBackend, number

if TYPE_CHECKING:
    from lightning.pytorch import Trainer


class ScalarBackend(Protocol):
    """What a visualizer writes with: a backend of ours, of MMEngine or of the user's."""

    @property
    def experiment(self) -> Any:
        """What the backend itself writes with."""

    def add_scalars(self, scalar_dict: dict[str, Any], step: int = 0) -> None:
        """Write numbers."""


class BackendLogger(Logger):
    """Let Lightning's callbacks (``LearningRateMonitor``) write to a backend that is none of Lightning's loggers.

    Args:
        backend: Such as ``LocalVisBackend``, which appends what it gets to ``scalars.json``.
        version: Names the run; ``ModelCheckpoint`` makes a folder of it in ``work_dir``.
        save_dir: The ``work_dir``, in which ``SaveConfigCallback`` writes.
    """

    def __init__(self, backend: ScalarBackend, version: str, save_dir: str | None = None) -> None:
        super().__init__()
        self.backend = backend
        self._version = version
        self._save_dir = save_dir

    @property
    def save_dir(self) -> str | None:
        """Where the run's files go."""
        return self._save_dir

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
        numbers = {name: number(value) for name, value in metrics.items()}
        # Callbacks call this in every process. Lightning's own loggers keep to the first by `rank_zero_only`.
        if is_main_process():
            self.backend.add_scalars(numbers, step=step or 0)

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """Do nothing: the backend has the whole config already."""


def connect_loggers(trainer: Trainer, visualizer: object, version: str) -> None:
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
    if trainer.fast_dev_run or not is_main_process():  # type: ignore[attr-defined]
        # LearningRateMonitor refuses a Trainer without a logger, and it is in every process.
        trainer.loggers = given or [DummyLogger()]
        return
    root = trainer.default_root_dir
    own = [getattr(b, "logger", None) or BackendLogger(b, version, root) for b in backends.values()]
    own.sort(key=lambda logger: isinstance(logger, BackendLogger))
    trainer.loggers = [*given, *own]
    if given:
        # Only those: the others belong to a backend, and would get each scalar twice.
        backends["lightning"] = LoggersBackend(lambda: given)
