"""An MMLightningModule, a loader and a Trainer of its user, for tests."""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch import Trainer
from torch.utils.data import DataLoader

from mm2pl.lightning import MMLightningModule
from tests.scenarios import Points, models

QUIET = {
    "logger": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "enable_checkpointing": False,
    "accelerator": "cpu",
}
SGD = {"type": "SGD", "lr": 0.1}


def module(name: str = "plain", **kwargs: Any) -> MMLightningModule:
    torch.manual_seed(3)
    kwargs.setdefault("optim_wrapper", {"optimizer": SGD})
    return MMLightningModule(models("mm2pl")[name](), **kwargs)


def loader(size: int = 64, shuffle: bool = False) -> DataLoader:
    return DataLoader(Points(size), batch_size=8, shuffle=shuffle)


def trainer(**kwargs: Any) -> Trainer:
    return Trainer(**{**QUIET, "max_epochs": 2, "num_sanity_val_steps": 0, **kwargs})
