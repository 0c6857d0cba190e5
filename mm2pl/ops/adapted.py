"""Public functions of ``mmcv.ops`` that are replaced, where MMCV's own would cost or refuse.

Its autograd Functions keep nothing for the backward pass, so that the table alone would compute each forward
twice. They cannot be differentiated twice either, and CARAFE's refuses a CPU.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import torch
from torch import Tensor

from mm2pl.ops import deform_conv, focal_loss
from mm2pl.ops.roi import roi_align
from mm2pl.ops.upsampling import carafe

Operator = Callable[..., Tensor]
Size = int | tuple[int, int]


def _deform_conv2d(
    input: Tensor,
    offset: Tensor,
    weight: Tensor,
    stride: Size = 1,
    padding: Size = 0,
    dilation: Size = 1,
    groups: int = 1,
    deform_groups: int = 1,
    bias: bool = False,
    im2col_step: int = 32,
) -> Tensor:
    if bias:
        raise ValueError("deform_conv2d: bias is True → False: MMCV's DCN has none")
    settings = (stride, padding, dilation, groups, deform_groups)
    # MMCV takes the offset's dtype: half under autocast, where a convolution has made it.
    input = input.type_as(offset)
    return deform_conv.deform_conv2d(input, offset, weight.type_as(input), None, None, *settings)


def _modulated_deform_conv2d(
    input: Tensor,
    offset: Tensor,
    mask: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *settings: Any,
    **named: Any,
) -> Tensor:
    input = input.type_as(offset)
    bias = None if bias is None else bias.type_as(input)
    tensors = (input, offset, weight.type_as(input), mask.type_as(input), bias)
    return deform_conv.deform_conv2d(*tensors, *settings, **named)


def _reduced(operator: Operator) -> Operator:
    """Return a focal loss with MMCV's ``reduction``."""

    def loss(
        input: Tensor,
        target: Tensor,
        gamma: float = 2.0,
        alpha: float = 0.25,
        weight: Tensor | None = None,
        reduction: str = "mean",
    ) -> Tensor:
        if reduction not in ("none", "mean", "sum"):
            raise ValueError(f"reduction is {reduction!r} → none, mean or sum")
        values = operator(input, target, gamma, alpha, weight)
        if reduction == "none":
            return values
        return values.sum() / len(input) if reduction == "mean" else values.sum()

    return loss


def _in_place_of(operator: Operator) -> Callable[[Operator], Operator]:
    """Return what replaces a function of MMCV's, but for an export to ONNX, which needs the Function's ``symbolic``."""

    def adapt(theirs: Operator) -> Operator:
        @wraps(operator)
        def run(*args: Any, **kwargs: Any) -> Tensor:
            if torch.onnx.is_in_onnx_export():
                return theirs(*args, **kwargs)
            return operator(*args, **kwargs)

        return run

    return adapt


_carafe = _in_place_of(carafe)
FUNCTIONS: dict[str, dict[str, Callable[[Operator], Operator]]] = {
    "mmcv.ops.carafe": {"carafe": _carafe, "carafe_naive": _carafe},
    "mmcv.ops.deform_conv": {"deform_conv2d": _in_place_of(_deform_conv2d)},
    "mmcv.ops.focal_loss": {
        name: _in_place_of(_reduced(getattr(focal_loss, name)))
        for name in ("sigmoid_focal_loss", "softmax_focal_loss")
    },
    "mmcv.ops.modulated_deform_conv": {
        "modulated_deform_conv2d": _in_place_of(_modulated_deform_conv2d)
    },
    "mmcv.ops.roi_align": {"roi_align": _in_place_of(roi_align)},
}
"""Module → name → what makes ours of theirs."""
