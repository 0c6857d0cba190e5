"""MixUp as a data preprocessor: each image of a batch is mixed with another one, and so are the labels.

The usual sketch of it has five mistakes, each of which stops it: no ``super().__init__()``, a label used before it is
unpacked, labels that are mixed as integers, ``tuple(a, b)``, and ``.cuda()`` where the model's device is meant.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from mm2pl.model import BaseDataPreprocessor, BaseModel
from mm2pl.registry import MODELS


@MODELS.register_module()
class MixUpDataPreprocessor(BaseDataPreprocessor):
    """Mix ``(images (N, ...), labels (N,))`` while training; the labels become probabilities ``(N, num_class)``.

    Args:
        num_class: Number of classes.
        alpha: Both parameters of the Beta distribution that the shares are drawn from; above 0.
    """

    def __init__(self, num_class: int, alpha: float) -> None:
        super().__init__()
        self.num_class = num_class
        self.alpha = alpha

    def forward(self, data: Any, training: bool = False) -> Any:
        """Move a batch to the model's device and, if ``training``, mix it."""
        images, labels = super().forward(data, training)
        if not training:
            return images, labels
        shares = F.one_hot(labels, self.num_class).to(images.dtype)
        other = torch.randperm(len(labels), device=labels.device)
        lam = float(np.random.beta(self.alpha, self.alpha))
        mixed = lam * images + (1 - lam) * images[other]
        return mixed, lam * shares + (1 - lam) * shares[other]


@MODELS.register_module()
class MixUpClassifier(BaseModel):
    """A linear classifier of ``(N, features)`` that learns from mixed labels and is evaluated with plain ones.

    Args:
        features: Numbers per sample.
        num_class: Number of classes.
        alpha: As of :class:`MixUpDataPreprocessor`.
    """

    def __init__(self, features: int, num_class: int, alpha: float = 0.2) -> None:
        mixup = {"type": "MixUpDataPreprocessor", "num_class": num_class, "alpha": alpha}
        super().__init__(data_preprocessor=mixup)
        self.head = nn.Linear(features, num_class)

    def forward(self, images: torch.Tensor, labels: torch.Tensor, mode: str = "tensor") -> Any:
        """Return a loss dict, ``(logits, labels)``, or logits, as ``mode`` says."""
        logits = self.head(images.flatten(1))
        if mode == "loss":
            # cross_entropy takes class numbers (N,) and probabilities (N, C) alike.
            return {"loss": F.cross_entropy(logits, labels)}
        return (logits, labels) if mode == "predict" else logits
