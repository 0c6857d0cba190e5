"""Operators whose arguments changed over torch's versions."""

from __future__ import annotations

import torch


def torch_meshgrid(*tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Return `torch.meshgrid` with matrix indexing."""
    # torch warns if the indexing is left out.
    return torch.meshgrid(*tensors, indexing="ij")
