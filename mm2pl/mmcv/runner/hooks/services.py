"""The hooks that log to a service: by Lightning's loggers, or not at all."""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

from lightning.pytorch.loggers import MLFlowLogger, TensorBoardLogger, WandbLogger

from mm2pl.errors import ArgumentError
from mm2pl.mmcv.runner.builder import HOOKS
from mm2pl.mmcv.runner.dist_utils import master_only
from mm2pl.mmcv.runner.hooks.logger import LoggerHook

if TYPE_CHECKING:
    from mm2pl.mmcv.runner.base_runner import BaseRunner


class _LightningLoggerHook(LoggerHook):
    """Send the log to one of Lightning's loggers.

    The first four arguments are those of `LoggerHook`; the others are those of MMCV's hook for the same service.
    """

    def __init__(
        self,
        interval: int = 10,
        ignore_last: bool = True,
        reset_flag: bool = False,
        by_epoch: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(interval, ignore_last, reset_flag, by_epoch)
        # Arguments of MMCV's writers that Lightning's loggers have no place for are accepted and unused.
        self.arguments = kwargs
        self.logger: Any = None

    def _make(self, runner: BaseRunner) -> Any:
        raise NotImplementedError

    @master_only
    def before_run(self, runner: BaseRunner) -> None:
        """Open the logger."""
        super().before_run(runner)
        self.logger = self._make(runner)

    @master_only
    def log(self, runner: BaseRunner) -> None:
        """Send the scalars."""
        # Lightning's loggers take numbers only. The step is the iteration of the run, as in MMCV 1.7.2.
        tags = {k: float(v) for k, v in self.get_loggable_tags(runner).items()}
        self.logger.log_metrics(tags, step=self.get_iter(runner))

    @master_only
    def after_run(self, runner: BaseRunner) -> None:
        """Close the logger."""
        self.logger.finalize("success")


@HOOKS.register_module()
class TensorboardLoggerHook(_LightningLoggerHook):
    """Log to TensorBoard as `LoggerHook` says, by default in ``work_dir/tf_logs`` (``log_dir``)."""

    def _make(self, runner: BaseRunner) -> Any:
        folder = self.arguments.get("log_dir") or os.path.join(runner.work_dir, "tf_logs")
        # Empty name and version: Lightning would add `lightning_logs/version_0`, where 1.x tools do not look.
        return TensorBoardLogger(folder, name="", version="")


@HOOKS.register_module()
class WandbLoggerHook(_LightningLoggerHook):
    """Log to Weights & Biases as `LoggerHook` says, with ``init_kwargs``."""

    def import_wandb(self) -> None:
        """Set ``self.wandb``, for subclasses that log by themselves."""
        self.wandb = import_module("wandb")

    def _make(self, runner: BaseRunner) -> Any:
        return WandbLogger(save_dir=runner.work_dir, **(self.arguments.get("init_kwargs") or {}))


@HOOKS.register_module()
class MlflowLoggerHook(_LightningLoggerHook):
    """Log to MLflow as `LoggerHook` says; ``exp_name`` and ``tags`` name the experiment and the run."""

    def import_mlflow(self) -> None:
        """Set ``self.mlflow``, for subclasses that log by themselves."""
        self.mlflow = import_module("mlflow")

    def _make(self, runner: BaseRunner) -> Any:
        name = self.arguments.get("exp_name") or "mm2pl"
        return MLFlowLogger(experiment_name=name, tags=self.arguments.get("tags"))


class _AbsentLoggerHook(LoggerHook):
    """A hook that scripts import and configs name, but that cannot log here."""

    instead = "TensorboardLoggerHook, WandbLoggerHook or MlflowLoggerHook"

    def __init__(self, **kwargs: Any) -> None:
        raise ArgumentError(
            f"{type(self).__name__} logs to a service that mm2pl's 1.x runners do not know → {self.instead}."
        )


@HOOKS.register_module()
class PaviLoggerHook(_AbsentLoggerHook):
    """Stand for MMCV 1.7.2's hook of one company's own service, which benchmark scripts import."""


@HOOKS.register_module()
class SegmindLoggerHook(_AbsentLoggerHook):
    """Stand for MMCV 1.7.2's hook of Segmind's tracker."""


@HOOKS.register_module()
class NeptuneLoggerHook(_AbsentLoggerHook):
    """Stand for MMCV 1.7.2's hook of Neptune."""

    instead = "after `mm2pl migrate`, NeptuneVisBackend"


@HOOKS.register_module()
class DvcliveLoggerHook(_AbsentLoggerHook):
    """Stand for MMCV 1.7.2's hook of DVCLive."""

    instead = "after `mm2pl migrate`, DVCLiveVisBackend"
