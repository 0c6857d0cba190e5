"""LightningModules and a LightningDataModule as people write them: nothing in here knows of mm2pl."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from lightning.pytorch import LightningDataModule, LightningModule
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def points(n: int) -> TensorDataset:
    x = torch.randn(n, 4, generator=torch.Generator().manual_seed(5))
    return TensorDataset(x, (x.sum(1) > 0).long())


class Steps(LightningModule):
    """No optimizer of its own; its parts are called as the prefixes are that files add."""

    def __init__(self, width: int = 8, lr: float = 0.1, dropout: float = 0.2) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.model = nn.Sequential(nn.Linear(4, width), nn.ReLU(), nn.Dropout(dropout))
        self.module = nn.Linear(width, 2)
        self.losses: list[str] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.module(self.model(x))

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        loss = F.cross_entropy(self(batch[0]), batch[1])
        self.losses.append(loss.item().hex())
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> list[dict[str, bool]]:
        scores = self(batch[0])
        self.log("loss_of_val", F.cross_entropy(scores, batch[1]))
        return [{"hit": hit} for hit in (scores.argmax(1) == batch[1]).tolist()]

    test_step = validation_step

    def predict_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        return self(batch[0])


class Classifier(Steps):
    """One optimizer, and a schedule that watches a metric."""

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.SGD(self.parameters(), lr=self.hparams["lr"], momentum=0.9)
        schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=0)
        return {"optimizer": optimizer, "lr_scheduler": schedule, "monitor": "loss_of_val"}


class Stepwise(Steps):
    """A schedule that Lightning steps by batch."""

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.Adam(self.parameters(), lr=self.hparams["lr"])
        schedule = torch.optim.lr_scheduler.StepLR(optimizer, 3)
        return [optimizer], [{"scheduler": schedule, "interval": "step"}]


class TwoOptimizers(Steps):
    """Drives two optimizers by itself."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.automatic_optimization = False

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        loss = super().training_step(batch, batch_idx)
        optimizers: Any = self.optimizers()
        for optimizer in optimizers:
            optimizer.zero_grad()
        self.manual_backward(loss)
        for optimizer in optimizers:
            optimizer.step()
        return loss

    def configure_optimizers(self) -> Any:
        return [torch.optim.SGD(part.parameters(), lr=0.1) for part in (self.model, self.module)]


class Data(LightningDataModule):
    """Its loaders exist behind ``setup``; the order of the data is torch's."""

    def setup(self, stage: str) -> None:
        self.sets = {"train": points(40), "val": points(16)}

    def train_dataloader(self) -> DataLoader:
        return DataLoader(self.sets["train"], batch_size=8, shuffle=True)

    def val_dataloader(self) -> DataLoader:
        return DataLoader(self.sets["val"], batch_size=8)

    test_dataloader = predict_dataloader = val_dataloader
