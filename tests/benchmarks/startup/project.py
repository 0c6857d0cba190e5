"""A project as MMEngine's users write them: a data set, a model, and a hook that leaves in the first iteration."""

import os
from typing import Any

import torch
import torch.nn.functional as F
from torch.utils.data import Dataset

from mm2pl.hooks import Hook
from mm2pl.model import BaseModel
from mm2pl.registry import DATASETS, HOOKS, MODELS


@DATASETS.register_module()
class Points(Dataset):
    def __init__(self) -> None:
        self.points = torch.randn(640, 2)

    def __len__(self) -> int:
        return len(self.points)

    def __getitem__(self, index: int) -> Any:
        return self.points[index], (self.points[index, 0] > 0).long()


@MODELS.register_module()
class Mlp(BaseModel):
    def __init__(self) -> None:
        super().__init__()
        layers = [torch.nn.Linear(2, 64), torch.nn.ReLU(), torch.nn.Linear(64, 2)]
        self.layers = torch.nn.Sequential(*layers)

    def forward(self, x: Any, y: Any, mode: str) -> Any:
        return {"loss": F.cross_entropy(self.layers(x), y)}


@HOOKS.register_module()
class Leave(Hook):
    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        os._exit(7)
