"""Gradients of operators, for callers that hold buffers: MMCV's autograd Functions do."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


def gradients(
    operator: Callable[..., Tensor], inputs: Sequence[Tensor], grad: Tensor
) -> tuple[Tensor | None, ...]:
    """Return what inputs get of a gradient, by a second forward: MMCV keeps nothing of the first."""
    with torch.enable_grad():
        leaves = [each.detach().requires_grad_() for each in inputs]
        output = operator(*leaves)
        return torch.autograd.grad(output, leaves, grad.to(output.dtype), allow_unused=True)


def add(buffers: Sequence[Tensor], grads: Sequence[Tensor | None], scale: float = 1.0) -> None:
    """Add gradients to the buffers that the caller holds for them."""
    for buffer, grad in zip(buffers, grads, strict=True):
        if grad is not None:
            buffer.add_(grad.view_as(buffer), alpha=scale)
