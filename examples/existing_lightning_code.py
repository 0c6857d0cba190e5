"""An MMEngine model in a Trainer of your own, with Lightning's flags and callbacks, next to a LightningModule.

From the repository's folder: ``python -m examples.existing_lightning_code``.
"""

from __future__ import annotations

import tempfile
from typing import Any

import torch
import torch.nn.functional as F
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping, LearningRateMonitor, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from torch.utils.data import DataLoader

from examples.digits import DigitsDataset, DigitsResNet
from mm2pl.lightning import MMLightningModule


class ByHand(LightningModule):
    """The same network, written as people write it for Lightning."""

    def __init__(self) -> None:
        super().__init__()
        self.network = DigitsResNet()

    def training_step(self, batch: dict[str, torch.Tensor], batch_idx: int) -> torch.Tensor:
        """Return the loss."""
        return F.cross_entropy(self.network(batch["inputs"]), batch["labels"])

    def validation_step(self, batch: dict[str, torch.Tensor], batch_idx: int) -> None:
        """Log the accuracy in percent."""
        hits = self.network(batch["inputs"]).argmax(dim=1) == batch["labels"]
        self.log("accuracy", 100 * hits.float().mean(), batch_size=len(hits))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return plain SGD."""
        return torch.optim.SGD(self.parameters(), lr=0.05, momentum=0.9)


def from_mmengine() -> MMLightningModule:
    """Wrap a BaseModel, with MMEngine's optimizer, schedule and metric configs."""
    return MMLightningModule(
        DigitsResNet(),
        optim_wrapper={
            "optimizer": {"type": "SGD", "lr": 0.05, "momentum": 0.9, "weight_decay": 5e-4},
            "paramwise_cfg": {"norm_decay_mult": 0.0},
        },
        param_scheduler=[
            {"type": "LinearLR", "start_factor": 0.1, "by_epoch": False, "begin": 0, "end": 20},
            {"type": "MultiStepLR", "milestones": [4], "by_epoch": True},
        ],
        val_evaluator={"type": "DigitsAccuracy"},
    )


def fit(module: LightningModule, root: str, max_epochs: int = 5) -> Trainer:
    """Train a module with an ordinary Trainer."""
    train = DataLoader(DigitsDataset("train"), batch_size=32, shuffle=True)
    val = DataLoader(DigitsDataset("val"), batch_size=100)
    best = ModelCheckpoint(monitor="accuracy", mode="max")
    callbacks: list[Any] = [
        best,
        EarlyStopping(monitor="accuracy", mode="max", patience=3),
        LearningRateMonitor(logging_interval="step"),
    ]
    trainer = Trainer(
        max_epochs=max_epochs,
        accelerator="cpu",
        accumulate_grad_batches=2,
        gradient_clip_val=5.0,
        callbacks=callbacks,
        logger=CSVLogger(root),
        log_every_n_steps=10,
        enable_progress_bar=False,
        default_root_dir=root,
    )
    trainer.fit(module, train, val)
    print(
        f"{type(module).__name__}: best accuracy {float(best.best_model_score):.2f} %, {best.best_model_path}"
    )
    return trainer


def main() -> None:
    """Train both."""
    with tempfile.TemporaryDirectory() as root:
        for module in (from_mmengine(), ByHand()):
            torch.manual_seed(0)
            fit(module, root)


if __name__ == "__main__":
    main()
