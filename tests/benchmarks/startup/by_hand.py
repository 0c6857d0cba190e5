"""The same by a LightningModule."""

import os
from typing import Any

import torch
import torch.nn.functional as F
from lightning.pytorch import LightningModule, Trainer
from torch.utils.data import DataLoader, TensorDataset


class Mlp(LightningModule):
    def __init__(self) -> None:
        super().__init__()
        layers = [torch.nn.Linear(2, 64), torch.nn.ReLU(), torch.nn.Linear(64, 2)]
        self.layers = torch.nn.Sequential(*layers)

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        os._exit(7)

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        return F.cross_entropy(self.layers(batch[0]), batch[1])

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.parameters(), lr=1e-3)


points = torch.randn(640, 2)
loader = DataLoader(TensorDataset(points, (points[:, 0] > 0).long()), batch_size=64, shuffle=True)
Trainer(max_epochs=3, logger=False, accelerator="cpu").fit(Mlp(), loader)
