"""Parts of MMEngine in a LightningModule that stays as it is: optimizer settings, schedules, metrics, hooks, data.

From the repository's folder: ``python -m examples.a_la_carte``.
"""

from __future__ import annotations

import tempfile
from typing import Any

import torch
import torch.nn.functional as F
from lightning.pytorch import LightningModule, Trainer, seed_everything
from lightning.pytorch.callbacks import ModelCheckpoint

from examples.digits import DigitsResNet
from mm2pl.hooks import EMAHook
from mm2pl.lightning import EvaluatorCallback, MMDataModule, configure_optimizers


class Digits(LightningModule):
    """A module as people write it for Lightning; only ``configure_optimizers`` knows of MMEngine."""

    def __init__(self, lr: float = 0.05) -> None:
        super().__init__()
        self.lr = lr
        # No dropout: Lightning's checkpoints hold no random states, and a resumed run is to end the same.
        self.network = DigitsResNet(dropout=0.0)

    def training_step(self, batch: dict[str, torch.Tensor], batch_idx: int) -> torch.Tensor:
        """Return the loss."""
        return F.cross_entropy(self.network(batch["inputs"]), batch["labels"])

    def validation_step(self, batch: dict[str, torch.Tensor], batch_idx: int) -> list[Any]:
        """Return one prediction per sample: what MMEngine's metrics take."""
        hits = self.network(batch["inputs"]).argmax(dim=1)
        return [{"pred": p, "label": t} for p, t in zip(hits, batch["labels"], strict=True)]

    def configure_optimizers(self) -> Any:
        """Return SGD without weight decay on norms, with a warm-up by batch and steps by epoch."""
        return configure_optimizers(
            self,
            optim_wrapper={
                "optimizer": {"type": "SGD", "lr": self.lr, "momentum": 0.9, "weight_decay": 5e-4},
                "paramwise_cfg": {"norm_decay_mult": 0.0},
            },
            param_scheduler=[
                {"type": "LinearLR", "start_factor": 0.1, "by_epoch": False, "end": 20},
                {"type": "MultiStepLR", "milestones": [4]},
            ],
        )


def data() -> MMDataModule:
    """Return loaders from dicts, which deal each process its share."""
    batches = {"num_workers": 0, "collate_fn": {"type": "default_collate"}}
    loaders = {
        f"{split}_dataloader": {
            **batches,
            "batch_size": size,
            "dataset": {"type": "DigitsDataset", "split": split},
            "sampler": {"type": "DefaultSampler", "shuffle": split == "train"},
        }
        for split, size in (("train", 32), ("val", 100))
    }
    return MMDataModule(**loaders, seed=0)


def fit(root: str, path: str | None = None, max_epochs: int = 5) -> Trainer:
    """Train in an ordinary Trainer, from the beginning or from a checkpoint of its own."""
    seed_everything(0, verbose=False)
    best = ModelCheckpoint(monitor="accuracy", mode="max", save_last=True)
    callbacks = [EvaluatorCallback({"type": "DigitsAccuracy"}), EMAHook(momentum=0.1), best]
    trainer = Trainer(
        max_epochs=max_epochs,
        accelerator="cpu",
        accumulate_grad_batches=2,
        gradient_clip_val=5.0,
        callbacks=callbacks,
        logger=False,
        enable_progress_bar=False,
        default_root_dir=root,
    )
    trainer.fit(Digits(), datamodule=data(), ckpt_path=path)
    print(f"best accuracy {float(best.best_model_score or 0):.2f} %, {best.best_model_path}")
    return trainer


def main() -> None:
    """Train."""
    with tempfile.TemporaryDirectory() as root:
        fit(root)


if __name__ == "__main__":
    main()
