"""Write what ``predict`` returns to a file."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

from lightning.pytorch.callbacks import BasePredictionWriter

from mm2pl.dist import collect_results


class PredictionWriter(BasePredictionWriter):
    """Collect the predictions of all processes and pickle them as one list, in the data set's order.

    Args:
        path: The file to write.
    """

    def __init__(self, path: str) -> None:
        super().__init__(write_interval="epoch")
        self.path = Path(path)

    def write_on_epoch_end(
        self, trainer: Any, pl_module: Any, predictions: Any, batch_indices: Any
    ) -> None:
        """Write the file on the first process."""
        samples = [sample for batch in predictions for sample in samples_of(batch)]
        gathered = collect_results(samples, len(trainer.predict_dataloaders.dataset))
        if trainer.is_global_zero:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with open(self.path, "wb") as file:
                pickle.dump(gathered, file)


def samples_of(batch: Any) -> list[Any]:
    """Split the prediction for a batch into one per sample.

    >>> samples_of(({"label": 1}, {"label": 2}))
    [{'label': 1}, {'label': 2}]
    """
    if isinstance(batch, tuple) and batch and all(hasattr(part, "shape") for part in batch):
        return list(zip(*batch, strict=True))
    return list(batch)
