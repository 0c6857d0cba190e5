"""A project of one file that the smoke runs: its classes, its config, and the loop that PyTorch alone would run."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from mm2pl.evaluator import BaseMetric
from mm2pl.model import BaseModel
from mm2pl.registry import DATASETS, METRICS, MODELS


@DATASETS.register_module()
class SmokePoints(torch.utils.data.Dataset):
    """Forty points of four dimensions; the class is the sign of the first."""

    def __init__(self) -> None:
        self.points = torch.randn(40, 4, generator=torch.Generator().manual_seed(3))

    def __len__(self) -> int:
        return len(self.points)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return {"inputs": self.points[index], "labels": (self.points[index, 0] > 0).long()}


@MODELS.register_module()
class SmokeModel(BaseModel):
    """A linear layer whose first weights are written down, so that a bare loop can begin with the same."""

    def __init__(self) -> None:
        super().__init__()
        self.net = first_net()

    def forward(self, inputs: Any, labels: Any = None, mode: str = "tensor") -> Any:
        logits = self.net(inputs)
        if mode == "loss":
            return {"loss": F.cross_entropy(logits, labels)}
        return [{"guess": g, "label": t} for g, t in zip(logits.argmax(1), labels, strict=True)]


@METRICS.register_module()
class SmokeAccuracy(BaseMetric):
    default_prefix = "smoke"

    def process(self, data_batch: Any, data_samples: Any) -> None:
        self.results += [float(s["guess"] == s["label"]) for s in data_samples]

    def compute_metrics(self, results: list[float]) -> dict[str, float]:
        return {"accuracy": sum(results) / len(results)}


def first_net() -> nn.Linear:
    net = nn.Linear(4, 2)
    with torch.no_grad():
        net.weight.copy_(torch.arange(8.0).reshape(2, 4) / 10 - 0.3)
        net.bias.zero_()
    return net


def bare(
    epochs: int, *, bf16: bool = False, batch: int = 8, processes: int = 1
) -> dict[str, torch.Tensor]:
    """Train as PyTorch alone does; return the weights, which are those of 1 or 2 processes to the last bit."""
    net, data = first_net(), SmokePoints()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, milestones=[1], gamma=0.1)
    for _ in range(epochs):
        for start in range(0, 40, batch):
            rows = [data[index] for index in range(start, start + batch)]
            optimizer.zero_grad()
            for rank in range(processes):
                inputs = torch.stack([row["inputs"] for row in rows[rank::processes]])
                labels = torch.stack([row["labels"] for row in rows[rank::processes]])
                with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                    loss = F.cross_entropy(net(inputs), labels)
                (loss / processes).backward()
            optimizer.step()
        schedule.step()
    return {f"net.{name}": value for name, value in net.state_dict().items()}


CONFIG = """
custom_imports = dict(imports=['tests.versions.project'])
model = dict(type='SmokeModel')
loader = dict(
    batch_size=8,
    num_workers=0,
    dataset=dict(type='SmokePoints'),
    collate_fn=dict(type='default_collate'),
    sampler=dict(type='DefaultSampler', shuffle=False))
train_dataloader = val_dataloader = test_dataloader = loader
val_evaluator = test_evaluator = dict(type='SmokeAccuracy')
optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.1, momentum=0.9))
param_scheduler = dict(type='MultiStepLR', milestones=[1])
train_cfg = dict(by_epoch=True, max_epochs=2)
val_cfg = test_cfg = dict()
randomness = dict(seed=5)
work_dir = 'run'
"""
BY_ITERATION = """
_base_ = 'config.py'
train_cfg = dict(_delete_=True, by_epoch=False, max_iters=10, val_interval=5)
param_scheduler = dict(_delete_=True, type='MultiStepLR', milestones=[5], by_epoch=False)
default_hooks = dict(
    logger=dict(type='LoggerHook', log_metric_by_epoch=False),
    checkpoint=dict(type='CheckpointHook', interval=5, by_epoch=False))
"""
