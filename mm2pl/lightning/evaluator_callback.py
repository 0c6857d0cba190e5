"""MMEngine's metrics for any LightningModule."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from lightning.pytorch import Callback

from mm2pl.config import as_config
from mm2pl.dataset.utils import length_of
from mm2pl.errors import ArgumentError
from mm2pl.evaluator import BaseMetric, Evaluator
from mm2pl.lightning.evaluation import scalars_of
from mm2pl.lightning.settings import Settings, SettingsList
from mm2pl.run.trainer_view import runner_of

if TYPE_CHECKING:
    from lightning.pytorch import LightningModule, Trainer


class EvaluatorCallback(Callback):
    """Feed metrics what a module's ``validation_step`` or ``test_step`` returns, and log them by MMEngine's names.

    They are logged before other callbacks look: ``ModelCheckpoint(monitor="accuracy")``. With several processes they
    are those of the whole data set, in its order.

    Args:
        metrics: A dict, a list of dicts, or an Evaluator, as ``val_evaluator`` in an MMEngine config.
        stages: When: ``"val"``, ``"test"``, or both.
        samples: Makes the predictions, one per sample, of ``(outputs, batch)``; by default the step returns them as a
            list, or as a pair of batches ``(preds, target)`` for torchmetrics.
        dataloader_idx: Which of several loaders is evaluated.

    Attributes:
        values: The metrics of the last evaluation, as they were computed.

    Raises:
        ValueError: A stage is neither ``"val"`` nor ``"test"``, or there is no loader of that index.
    """

    def __init__(
        self,
        metrics: Settings | SettingsList | Evaluator | BaseMetric,
        stages: Sequence[str] = ("val", "test"),
        samples: Callable[[Any, Any], Iterable[Any]] | None = None,
        dataloader_idx: int = 0,
    ) -> None:
        if isinstance(stages, str) or not set(stages) <= {"val", "test"}:
            raise ArgumentError(f"stages={stages!r} → a list of 'val' and 'test'")
        self.metrics = metrics
        self.stages = tuple(stages)
        self.samples = samples
        self.dataloader_idx = dataloader_idx
        self.values: dict[str, Any] = {}
        self._evaluator: Evaluator | None = None

    def _start(self, stage: str, trainer: Trainer, loaders: Any) -> None:
        self._evaluator = None
        if stage in self.stages:
            count = len(loaders) if isinstance(loaders, list | tuple | dict) else 1
            if self.dataloader_idx >= count:
                raise ArgumentError(
                    f"EvaluatorCallback(dataloader_idx={self.dataloader_idx}) → its metrics would get nothing, as the "
                    f"{stage} loaders are numbered 0 to {count - 1} → give one of these"
                )
            # Built anew from a config: what an evaluation has left that was broken off does not count.
            self._evaluator = runner_of(trainer).build_evaluator(as_config(self.metrics))
            metainfo = getattr(getattr(self._loader(loaders), "dataset", None), "metainfo", None)
            if metainfo is not None:
                self._evaluator.dataset_meta = metainfo

    def _loader(self, loaders: Any) -> Any:
        return loaders[self.dataloader_idx] if isinstance(loaders, list | tuple) else loaders

    def _take(self, stage: str, outputs: Any, batch: Any, dataloader_idx: int) -> None:
        if self._evaluator is None or dataloader_idx != self.dataloader_idx:
            return
        samples: Any = outputs if self.samples is None else self.samples(outputs, batch)
        if not isinstance(samples, list | tuple):
            raise ArgumentError(
                f"{stage} step returned {type(outputs).__name__} → metrics take a list with one prediction per sample, "
                "torchmetrics a pair (preds, target) → return one, or give EvaluatorCallback(samples=…) that makes it "
                "of (outputs, batch)"
            )
        self._evaluator.process(data_samples=samples, data_batch=batch)

    def _finish(self, loaders: Any, pl_module: LightningModule) -> None:
        if self._evaluator is None:
            return
        size = length_of(getattr(self._loader(loaders), "dataset", None))
        self.values = self._evaluator.evaluate(sys.maxsize if size is None else size)
        # Every process has the same values, which the maximum leaves as they are.
        pl_module.log_dict(scalars_of(self.values), batch_size=1, reduce_fx="max", sync_dist=True)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Build the metrics, and tell them of the data set."""
        self._start("val", trainer, trainer.val_dataloaders)

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Build the metrics, and tell them of the data set."""
        self._start("test", trainer, trainer.test_dataloaders)

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Hand the metrics one batch."""
        self._take("val", outputs, batch, dataloader_idx)

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Hand the metrics one batch."""
        self._take("test", outputs, batch, dataloader_idx)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Compute and log."""
        self._finish(trainer.val_dataloaders, pl_module)

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Compute and log."""
        self._finish(trainer.test_dataloaders, pl_module)
