"""The digits, in a fixed split."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch.utils.data import Dataset

from mm2pl.registry import DATASETS

SPLITS = {"train": slice(0, 1197), "val": slice(1197, 1497), "test": slice(1497, 1797)}


@DATASETS.register_module()
class DigitsDataset(Dataset):
    """Give ``dict(inputs=(1, 8, 8) float in [0, 1], labels=int)``.

    Args:
        split: ``train`` (1,197 images), ``val`` (300) or ``test`` (300).

    Raises:
        ValueError: If ``split`` is none of these.
    """

    METAINFO: ClassVar = {"classes": tuple("0123456789")}

    def __init__(self, split: str) -> None:
        if split not in SPLITS:
            raise ValueError(f"split={split!r} → one of {', '.join(SPLITS)}")
        digits = load_digits()
        chosen = np.random.default_rng(0).permutation(len(digits.target))[SPLITS[split]]
        self.images = torch.from_numpy(digits.images[chosen]).float().unsqueeze(1) / 16
        self.labels = torch.from_numpy(digits.target[chosen])

    @property
    def metainfo(self) -> dict[str, Any]:
        """The class names, for evaluator and visualizer."""
        return dict(self.METAINFO)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return {"inputs": self.images[index], "labels": self.labels[index]}
