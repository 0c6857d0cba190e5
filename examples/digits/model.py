"""A ResNet small enough for 8×8 images on a CPU."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from mm2pl.model import BaseModel
from mm2pl.registry import MODELS


class Block(nn.Module):
    """Two 3×3 convolutions and a shortcut."""

    def __init__(self, inside: int, outside: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inside, outside, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outside)
        self.conv2 = nn.Conv2d(outside, outside, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outside)
        self.shortcut = (
            nn.Identity()
            if inside == outside and stride == 1
            else nn.Sequential(
                nn.Conv2d(inside, outside, 1, stride, bias=False), nn.BatchNorm2d(outside)
            )
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map ``(N, inside, H, W)`` to ``(N, outside, H / stride, W / stride)``."""
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + self.shortcut(x))


@MODELS.register_module()
class DigitsResNet(BaseModel):
    """Predict one of ten digits.

    Args:
        width: Channels of the first stage; each of the three stages doubles them.
        dropout: Probability before the classifier.
        data_preprocessor: As for any :class:`~mm2pl.model.BaseModel`.
    """

    def __init__(
        self, width: int = 16, dropout: float = 0.1, data_preprocessor: Any = None
    ) -> None:
        super().__init__(data_preprocessor=data_preprocessor)
        self.stem = nn.Sequential(
            nn.Conv2d(1, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()
        )
        self.stages = nn.Sequential(
            Block(width, width, 1), Block(width, 2 * width, 2), Block(2 * width, 4 * width, 2)
        )
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(4 * width, 10)

    def forward(
        self, inputs: torch.Tensor, labels: torch.Tensor | None = None, mode: str = "tensor"
    ) -> Any:
        """Take ``inputs (N, 1, 8, 8)`` and ``labels (N,)``.

        Return a loss dict, a list of N predictions, or logits ``(N, 10)``, as ``mode`` says.
        """
        logits = self.head(self.dropout(self.stages(self.stem(inputs)).mean(dim=(2, 3))))
        if mode == "loss":
            return {"loss": F.cross_entropy(logits, labels)}
        if mode == "predict":
            predicted = logits.argmax(dim=1).tolist()
            known = [None] * len(predicted) if labels is None else labels.tolist()
            return [
                {"pred": pred, "label": label} for pred, label in zip(predicted, known, strict=True)
            ]
        return logits
