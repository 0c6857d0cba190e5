"""Validation, test and prediction with MMEngine's loops and evaluators, as stages of a LightningModule."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from mm2pl.lightning.private import LeanModule
from mm2pl.lightning.schedules import live_schedulers, tick_metrics
from mm2pl.run.facade import runner_of
from mm2pl.run.loops import TestLoop, ValLoop

if TYPE_CHECKING:
    from mm2pl.run.loops import _EvalLoop


class EvaluatedModule(LeanModule):
    """The stages of :class:`~mm2pl.lightning.MMLightningModule` in which nothing is learned.

    Args:
        evaluators: Metrics of ``val`` and ``test``, as in a config or built; ``None`` for the mean losses.
    """

    model: Any
    driven_by_run: bool

    def __init__(self, evaluators: dict[str, Any]) -> None:
        super().__init__()
        self.evaluators = evaluators
        self.loops: dict[str, _EvalLoop] = {}
        self.eval_metrics: dict[str, Any] = {}

    def compile_step(self, stage: str) -> None:
        """Compile the model's ``val_step`` or ``test_step``, if that is wanted."""
        raise NotImplementedError

    def on_validation_start(self) -> None:
        """Make the loop that feeds the evaluator, unless a run brought its own."""
        self._open_loop("val", ValLoop)

    def on_test_start(self) -> None:
        """Make the loop that feeds the evaluator, unless a run brought its own."""
        self._open_loop("test", TestLoop)

    def _open_loop(self, stage: str, cls: type[_EvalLoop]) -> None:
        if self.trainer.state.fn != "fit":
            self.compile_step(stage)
        if not self.driven_by_run and self.evaluators[stage] is not None:
            loaders = getattr(self.trainer, f"{stage}_dataloaders")
            loader = _single(loaders, stage)
            self.loops[stage] = cls(runner_of(self.trainer), loader, self.evaluators[stage])

    def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> Any:
        """Return the model's predictions; the evaluator has seen them."""
        return self._evaluate("val", batch, batch_idx)

    def test_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> Any:
        """Return the model's predictions; the evaluator has seen them."""
        return self._evaluate("test", batch, batch_idx)

    def predict_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> Any:
        """Return the model's predictions for one batch, as ``test_step`` of the model gives them."""
        return self.model.test_step(batch)

    def _evaluate(self, stage: str, batch: Any, batch_idx: int) -> Any:
        loop = self.loops.get(stage)
        if loop is None:
            data = self.model.data_preprocessor(batch, False)
            loss, log_vars = self.model.parse_losses(self.model._run_forward(data, mode="loss"))
            size = getattr(self.trainer, f"{stage}_dataloaders")
            size = getattr(size, "batch_size", None) or 1
            self.log(f"{stage}_loss", loss, batch_size=size, sync_dist=True)
            return log_vars
        with NoStopIteration(f"{stage}_step"):
            return loop.run_iter(batch_idx, batch) if loop.overrides_run_iter else loop.step(batch)

    def on_validation_epoch_end(self) -> None:
        """Compute and log the metrics, under MMEngine's names; schedules that watch one take note of it."""
        self._finish("val")
        if self.trainer.state.fn == "fit" and not (
            self.driven_by_run or self.trainer.sanity_checking
        ):
            metrics = self.eval_metrics if "val" in self.loops else self.trainer.callback_metrics
            tick_metrics(live_schedulers(self.trainer), dict(metrics))

    def on_test_epoch_end(self) -> None:
        """Compute and log the metrics, under MMEngine's names."""
        self._finish("test")

    def _finish(self, stage: str) -> None:
        loop = self.loops.get(stage)
        if loop is not None:
            self.eval_metrics = loop.metrics()
            # A run's scalars reach the loggers through its visualizer; logging them here too would write them twice.
            self.log_dict(
                scalars_of(self.eval_metrics),
                logger=False if self.driven_by_run else None,
                batch_size=1,
                reduce_fx="max",  # every process has the same values, which this leaves as they are
                sync_dist=True,
            )


def _single(loaders: Any, stage: str) -> Any:
    if not isinstance(loaders, (list, tuple)):
        return loaders
    if len(loaders) != 1:
        raise ValueError(
            f"{len(loaders)} {stage} loaders and one {stage}_evaluator → give one loader, of a ConcatDataset for "
            "instance, or leave out the evaluator"
        )
    return loaders[0]


class NoStopIteration:
    """Let a StopIteration of the user's code be an error, as in MMEngine; Lightning would end the epoch silently.

    Raises:
        RuntimeError: In its place.
    """

    def __init__(self, step: str) -> None:
        self.step = step

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, StopIteration):
            raise RuntimeError(
                f"{self.step} raised StopIteration → an iterator in it has run out: begin it again, or make it endless"
            ) from error


def scalars_of(values: dict[str, Any]) -> dict[str, Any]:
    """Keep what Lightning can log: numbers and tensors with one element.

    >>> scalars_of({"accuracy": 97.5, "per_class": [1.0, 2.0], "name": "val"})
    {'accuracy': 97.5}
    """
    return {
        name: value.detach() if isinstance(value, torch.Tensor) else float(value)
        for name, value in values.items()
        if (isinstance(value, torch.Tensor) and value.numel() == 1)
        or (
            hasattr(value, "__float__")
            and not isinstance(value, torch.Tensor)
            and getattr(value, "size", 1) == 1
        )
    }
