"""A ResNet-50 on CIFAR-10, where torchvision and the data set exist: the short script a first look at mm2pl needs."""

from __future__ import annotations

import argparse
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.optim import SGD
from torch.utils.data import DataLoader

from mm2pl.evaluator import BaseMetric
from mm2pl.model import BaseModel
from mm2pl.runner import Runner


class MMResNet50(BaseModel):
    """Torchvision's ResNet-50 with the three modes."""

    def __init__(self) -> None:
        super().__init__()
        from torchvision.models import resnet50

        self.resnet: nn.Module = resnet50()

    def forward(self, imgs: torch.Tensor, labels: torch.Tensor, mode: str) -> Any:
        """Take ``imgs (N, 3, 32, 32)`` and ``labels (N,)``; return a loss dict or ``(logits, labels)``."""
        logits = self.resnet(imgs)
        return {"loss": F.cross_entropy(logits, labels)} if mode == "loss" else (logits, labels)


class Accuracy(BaseMetric):
    """Share of correct predictions, in percent, as ``accuracy``."""

    def process(self, data_batch: Any, data_samples: Any) -> None:
        """Keep the number of correct predictions of a batch."""
        score, truth = data_samples
        hits = (score.argmax(dim=1) == truth).sum().item()
        self.results.append({"batch_size": len(truth), "correct": hits})

    def compute_metrics(self, results: list[dict[str, int]]) -> dict[str, float]:
        """Average over all batches."""
        total = sum(result["batch_size"] for result in results)
        return {"accuracy": 100 * sum(result["correct"] for result in results) / total}


def loaders(root: str, batch_size: int) -> tuple[DataLoader, DataLoader]:
    """Return the training and validation loader over CIFAR-10 in ``root``."""
    from torchvision import transforms
    from torchvision.datasets import CIFAR10

    normalize = transforms.Normalize(mean=[0.491, 0.482, 0.447], std=[0.202, 0.199, 0.201])
    steps = [transforms.ToTensor(), normalize]
    augment = [transforms.RandomCrop(32, padding=4), transforms.RandomHorizontalFlip()]
    train = CIFAR10(
        root, train=True, download=True, transform=transforms.Compose([*augment, *steps])
    )
    val = CIFAR10(root, train=False, download=True, transform=transforms.Compose(steps))
    return DataLoader(train, batch_size, shuffle=True), DataLoader(val, batch_size)


def main() -> None:
    """Train for some epochs, validating after each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="data/cifar10")
    parser.add_argument("--epochs", type=int, default=5)
    options = parser.parse_args()
    train, val = loaders(options.data, batch_size=32)
    runner = Runner(
        model=MMResNet50(),
        work_dir="./work_dir",
        train_dataloader=train,
        optim_wrapper={"optimizer": {"type": SGD, "lr": 0.001, "momentum": 0.9}},
        train_cfg={"by_epoch": True, "max_epochs": options.epochs, "val_interval": 1},
        val_dataloader=val,
        val_cfg={},
        val_evaluator={"type": Accuracy},
    )
    runner.train()


if __name__ == "__main__":
    main()
