"""A LightningModule and a LightningDataModule of one's own, driven by an MMEngine-style config.

From the repository's folder: ``mm2pl fit configs/lit_in_config.py``, or ``python -m examples.lit_in_config``.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from lightning.pytorch import LightningDataModule, LightningModule
from torch.utils.data import DataLoader

from examples.digits import DigitsDataset, DigitsResNet
from mm2pl.config import Config
from mm2pl.runner import Runner


class LitDigits(LightningModule):
    """A module as people write it for Lightning; it knows nothing of MMEngine.

    Args:
        lr: Learning rate.
        dropout: Probability before the classifier.
    """

    def __init__(self, lr: float = 0.05, dropout: float = 0.1) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.network = DigitsResNet(dropout=dropout)

    def training_step(self, batch: dict[str, torch.Tensor], batch_idx: int) -> torch.Tensor:
        """Return the loss; what is logged is in the run's log too."""
        logits = self.network(batch["inputs"])
        self.log("train_acc", (logits.argmax(dim=1) == batch["labels"]).float().mean())
        return F.cross_entropy(logits, batch["labels"])

    def validation_step(self, batch: dict[str, torch.Tensor], batch_idx: int) -> list[Any]:
        """Log a metric of its own, and return one prediction per sample: what MMEngine's metrics take."""
        logits, labels = self.network(batch["inputs"]), batch["labels"]
        self.log("nll", F.cross_entropy(logits, labels), batch_size=len(labels))
        hits = logits.argmax(dim=1)
        return [{"pred": p, "label": t} for p, t in zip(hits, labels, strict=True)]

    test_step = validation_step

    def configure_optimizers(self) -> Any:
        """Return SGD and a cosine, by batch; an ``optim_wrapper`` in the config would take their place."""
        optimizer = torch.optim.SGD(self.parameters(), lr=self.hparams["lr"], momentum=0.9)
        steps = int(self.trainer.estimated_stepping_batches)
        cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        return [optimizer], [{"scheduler": cosine, "interval": "step"}]


class LitDigitsData(LightningDataModule):
    """The digits.

    Args:
        batch_size: Samples per batch.
    """

    def __init__(self, batch_size: int = 64) -> None:
        super().__init__()
        self.batch_size = batch_size

    def train_dataloader(self) -> DataLoader[Any]:
        """Return the loader of the training data, shuffled."""
        return DataLoader(DigitsDataset("train"), self.batch_size, shuffle=True)

    def val_dataloader(self) -> DataLoader[Any]:
        """Return the loader of the validation data."""
        return DataLoader(DigitsDataset("val"), 100)

    def test_dataloader(self) -> DataLoader[Any]:
        """Return the loader of the test data."""
        return DataLoader(DigitsDataset("test"), 100)


def main() -> None:
    """Train as the config says."""
    cfg = Config.fromfile("configs/lit_in_config.py")
    cfg.work_dir = "work_dirs/lit_in_config"
    Runner.from_cfg(cfg).train()


if __name__ == "__main__":
    main()
