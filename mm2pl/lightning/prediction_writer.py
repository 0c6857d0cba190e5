"""Write what ``predict`` returns to a file."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning.pytorch import Callback

from mm2pl.dataset.utils import length_of
from mm2pl.dist import collect_results

if TYPE_CHECKING:
    from lightning.pytorch import LightningModule, Trainer


class PredictionWriter(Callback):
    """Collect the predictions of all processes and pickle them as one list, in the data set's order.

    Args:
        path: The file to write.
    """

    def __init__(self, path: str) -> None:
        self.path = Path(path)
        self.samples: list[Any] = []

    def on_predict_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keep a batch's predictions."""
        self.samples.extend(samples_of(outputs))

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the file on the first process."""
        loader: Any = trainer.predict_dataloaders
        # DefaultSampler repeats samples until all processes have equally many; the length cuts them off again.
        size = length_of(getattr(loader, "dataset", None))
        gathered = collect_results(self.samples, sys.maxsize if size is None else size)
        if trainer.is_global_zero:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with open(self.path, "wb") as file:
                pickle.dump(gathered, file)


def samples_of(batch: Iterable[Any]) -> list[Any]:
    """Split the prediction for a batch into one per sample.

    >>> samples_of(({"label": 1}, {"label": 2}))
    [{'label': 1}, {'label': 2}]
    """
    # A tuple of arrays is one prediction of the whole batch, field by field; OpenMMLab's models return a list.
    if isinstance(batch, tuple) and batch and all(hasattr(part, "shape") for part in batch):
        return list(zip(*batch, strict=True))
    return list(batch)
