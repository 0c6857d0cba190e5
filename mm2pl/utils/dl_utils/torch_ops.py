"""Operators whose arguments changed over torch's versions."""

from __future__ import annotations

import torch


def torch_meshgrid(*tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Return `torch.meshgrid` with matrix indexing."""
    return torch.meshgrid(*tensors, indexing="ij")
