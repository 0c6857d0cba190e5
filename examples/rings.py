"""Two noisy rings and an MLP that tells them apart: the smallest project with a model, a data set and a metric."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import Dataset

from mm2pl.evaluator import BaseMetric
from mm2pl.model import BaseModel
from mm2pl.registry import DATASETS, METRICS, MODELS

ACTIVATIONS = {"relu": nn.ReLU, "silu": nn.SiLU, "none": nn.Identity}


@MODELS.register_module()
class MyAwesomeModel(BaseModel):
    """Classify points of the plane into two classes.

    Args:
        layers: Number of hidden layers, 64 units each.
        activation: ``relu``, ``silu`` or ``none``.

    Raises:
        ValueError: If ``activation`` is none of these.
    """

    def __init__(self, layers: int = 4, activation: str = "relu") -> None:
        super().__init__()
        if activation not in ACTIVATIONS:
            raise ValueError(f"activation={activation!r} → one of {', '.join(ACTIVATIONS)}")
        widths = [2] + [64] * layers
        self.mlp = nn.Sequential(
            *(
                part
                for a, b in pairwise(widths)
                for part in (nn.Linear(a, b), ACTIVATIONS[activation]())
            )
        )
        self.classifier = nn.Linear(64, 2)

    def forward(self, data: torch.Tensor, labels: torch.Tensor, mode: str = "tensor") -> Any:
        """Take ``data (N, 2)`` and ``labels (N,)``.

        Return a loss dict, ``(probabilities, labels)``, or logits ``(N, 2)``, as ``mode`` says.
        """
        logits = self.classifier(self.mlp(data))
        if mode == "loss":
            return {"loss": F.cross_entropy(logits, labels)}
        if mode == "predict":
            return F.softmax(logits, dim=1), labels
        return logits


@DATASETS.register_module()
class MyDataset(Dataset):
    """Points on two rings of radius 3 and 6, each with Gaussian noise.

    Args:
        is_train: Which of the two fixed draws.
        size: Number of points.
    """

    def __init__(self, is_train: bool, size: int) -> None:
        self.is_train = is_train
        torch.manual_seed(0 if is_train else 3407)
        self.labels = torch.randint(0, 2, (size,))
        radius = 3 * (self.labels + 1) + torch.randn(size)
        angle = torch.rand(size) * 2 * torch.pi
        self.data = torch.vstack([radius * torch.cos(angle), radius * torch.sin(angle)]).T

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        return self.data[index], self.labels[index]

    def __len__(self) -> int:
        return len(self.data)


@METRICS.register_module()
class Accuracy(BaseMetric):
    """Share of correct predictions, in percent, as ``accuracy``."""

    def process(self, data_batch: Any, data_samples: Any) -> None:
        """Keep the number of correct predictions of a batch; ``data_samples`` is ``(probabilities, labels)``."""
        score, truth = data_samples
        self.results.append(
            {"batch_size": len(truth), "correct": (score.argmax(dim=1) == truth).sum().cpu()}
        )

    def compute_metrics(self, results: list[dict[str, Any]]) -> dict[str, Any]:
        """Average over all batches."""
        correct = sum(result["correct"] for result in results)
        return {"accuracy": 100 * correct / sum(result["batch_size"] for result in results)}
