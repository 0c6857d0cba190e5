"""Focal losses with MMCV's arguments: integer labels, the last one past the classes is the background."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from mm2pl.ops.arguments import (
    full_precision,
    require,
    require_one,
    require_tensors,
    values_are_known,
)

LOG_TINY = math.log(torch.finfo(torch.float32).tiny)
"""Where MMCV's kernels cut logarithms off."""


@full_precision
def sigmoid_focal_loss(
    input: Tensor,
    target: Tensor,
    gamma: float = 2.0,
    alpha: float = 0.25,
    weight: Tensor | None = None,
) -> Tensor:
    """Return the loss of each class of each row.

    Args:
        input: Logits, ``(N, C)``.
        target: Labels, ``(N,)``, int64; ``C`` or more is the background.
        gamma: Power of the focus.
        alpha: Share of the positive class.
        weight: Of each class, ``(C,)``; a row of the background has weight 1.

    Returns:
        Tensor: ``(N, C)``.

    Raises:
        ArgumentError: Shapes or types do not fit.
    """
    _check("sigmoid_focal_loss", input, target, weight)
    chance, other = input.sigmoid(), (-input).sigmoid()
    positive = -alpha * other.pow(gamma) * _cut(functional.logsigmoid(input))
    negative = -(1 - alpha) * chance.pow(gamma) * _cut(functional.logsigmoid(-input))
    classes = torch.arange(input.shape[1], device=input.device)
    loss = torch.where(target[:, None] == classes, positive, negative)
    return loss * _of_rows(target, weight, input)[:, None]


@full_precision
def softmax_focal_loss(
    input: Tensor,
    target: Tensor,
    gamma: float = 2.0,
    alpha: float = 0.25,
    weight: Tensor | None = None,
) -> Tensor:
    """Return the loss of each row.

    Args:
        input: Logits, ``(N, C)``.
        target: Labels, ``(N,)``, int64; a negative one costs nothing.
        gamma: Power of the focus.
        alpha: Factor of all.
        weight: Of each class, ``(C,)``.

    Returns:
        Tensor: ``(N,)``.

    Raises:
        ArgumentError: Shapes or types do not fit.
    """
    _check("softmax_focal_loss", input, target, weight)
    fits = input.shape[1] > 0
    require(fits, "softmax_focal_loss", "input", "of no classes", "of at least one")
    logs = functional.log_softmax(input, 1)
    fits = not values_are_known(target) or bool((target < input.shape[1]).all())
    accepted = f"less than the {input.shape[1]} classes"
    require(fits, "softmax_focal_loss", "target", "a label past the classes", accepted)
    log = logs.gather(1, target.clamp(min=0)[:, None])[:, 0]
    loss = -alpha * (1 - log.exp()).pow(gamma) * _cut(log)
    return torch.where(target >= 0, loss * _of_rows(target, weight, input), loss.new_zeros(()))


def _cut(log: Tensor) -> Tensor:
    """Cut a logarithm off, but not its gradient, as MMCV's kernels do."""
    return log + (log.clamp(min=LOG_TINY) - log).detach()


def _of_rows(target: Tensor, weight: Tensor | None, like: Tensor) -> Tensor:
    """Return the weight of each row's class."""
    if weight is None or not weight.numel():
        return like.new_ones(len(target))
    # MMCV's kernel reads past the end of `weight` for the background.
    known = (target >= 0) & (target < len(weight))
    return torch.where(known, weight.to(like)[target.clamp(0, len(weight) - 1)], like.new_ones(()))


def _check(operator: str, input: Tensor, target: Tensor, weight: Tensor | None) -> None:
    require_tensors(operator, input=(input, ("N", "C")))
    integers = isinstance(target, Tensor) and target.dtype == torch.long
    fits = integers and target.shape == (len(input),)
    given = f"{target.dtype} {tuple(target.shape)}" if isinstance(target, Tensor) else type(target)
    require(fits, operator, "target", given, f"int64 ({len(input)},)")
    require_one(operator, "device", input=input, target=target)
    fits = weight is None or isinstance(weight, Tensor)
    require(fits, operator, "weight", type(weight).__name__, "a tensor, or None")
    if weight is not None and weight.numel():
        require_tensors(operator, input=(input, ("N", "C")), weight=(weight, (input.shape[1],)))
