"""Filters and activations of generators, and correlation, as ``mmcv._ext`` has them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from mm2pl.ops.activation import ACTIVATIONS, bias_act
from mm2pl.ops.arguments import full_precision, require
from mm2pl.ops.buffers import add, gradients
from mm2pl.ops.cost_volume import correlate
from mm2pl.ops.resampling import upfirdn2d

NUMBERS = dict(enumerate(ACTIVATIONS, 1))


def _upfirdn2d(
    input: Tensor,
    filter: Tensor,
    upx: int,
    upy: int,
    downx: int,
    downy: int,
    padx0: int,
    padx1: int,
    pady0: int,
    pady1: int,
    flip: bool,
    gain: float,
) -> Tensor:
    sides = (padx0, padx1, pady0, pady1)
    return upfirdn2d(input, filter, (upx, upy), (downx, downy), sides, flip, gain)


@full_precision
def _bias_act(
    input: Tensor,
    bias: Tensor,
    xref: Tensor,
    yref: Tensor,
    dy: Tensor,
    grad: int,
    dim: int,
    act: int,
    alpha: float,
    gain: float,
    clamp: float,
) -> Tensor:
    """Return the activation, its gradient, or the gradient of that.

    Args:
        input: ``x``; or its gradient, or the gradient of the gradient.
        bias: Empty for none.
        xref: What was ``x``; empty where it was not kept.
        yref: What was returned; empty where it was not kept.
        dy: What was the gradient, for ``grad`` of 2.
        grad: 0, 1 or 2.
        dim: That the bias lies along.
        act: Number of the activation.
        alpha: As in :func:`bias_act`.
        gain: As in :func:`bias_act`.
        clamp: As in :func:`bias_act`; below 0 for none.
    """
    require(act in NUMBERS, "bias_act", "act", repr(act), f"one of 1 to {len(NUMBERS)}")
    require(grad in (0, 1, 2), "bias_act", "grad", repr(grad), "0, 1 or 2")
    for argument, kept in (("xref", xref), ("yref", yref), ("dy", dy)):
        fits = kept.numel() == 0 or kept.shape == input.shape
        shape = f"of shape {tuple(kept.shape)}"
        require(fits, "bias_act", argument, shape, f"empty, or as input: {tuple(input.shape)}")
    name, given = NUMBERS[act], bias if bias.numel() else None
    limit = clamp if clamp >= 0 else None
    if grad == 0:
        return bias_act(input, given, dim, name, alpha, gain, limit)
    activation = ACTIVATIONS[name]
    if activation.keeps == "x":
        at = bias_act(xref, given, dim)
        yref = activation.run(at, alpha) * gain
    else:
        at = yref / gain if yref.numel() else torch.zeros_like(input)
    slope = activation.slope(at, alpha) if grad == 1 else _bend(name, at, alpha) * dy
    result = input * slope * gain
    if limit is not None and yref.numel():
        result = result * ((yref > -limit) & (yref < limit))
    return result


def _bend(name: str, at: Tensor, alpha: float) -> Tensor:
    """Return the second derivative of an activation: by the chain rule, where the slope is one of ``y``."""
    activation = ACTIVATIONS[name]
    with torch.enable_grad():
        at = at.detach().requires_grad_()
        slope = activation.slope(at, alpha)
        if not slope.requires_grad:
            return torch.zeros_like(at)
        (bend,) = torch.autograd.grad(slope.sum(), at)
    return bend if activation.keeps == "x" else bend * slope.detach()


@full_precision
def _fused_bias_leakyrelu(
    input: Tensor, bias: Tensor, empty: Tensor, act: int, grad: int, alpha: float, scale: float
) -> Tensor:
    name = "fused_bias_leakyrelu"
    require(act in (1, 3), name, "act", repr(act), "1 (linear) or 3 (leaky ReLU)")
    require(grad in (0, 1, 2), name, "grad", repr(grad), "0, 1 or 2")
    fits = grad != 1 or empty.shape == input.shape
    shape = f"of shape {tuple(empty.shape)}"
    require(fits, name, "empty", shape, f"what the forward call returned: {tuple(input.shape)}")
    x = bias_act(input, bias if bias.numel() else None)
    if grad == 2:
        return torch.zeros_like(x)
    if act == 1:
        return x * scale
    above = (x if grad == 0 else empty) > 0  # `empty` is what the forward call returned
    return torch.where(above, x, x * alpha) * scale


def _filtered_lrelu_act(
    x: Tensor,
    si: Tensor,
    sx: int,
    sy: int,
    gain: float,
    slope: float,
    clamp: float,
    writeSigns: bool,
) -> Tensor:
    """Activate in place; or, with the signs of a forward call, multiply a gradient by the slopes there.

    Returns:
        Tensor: If ``writeSigns``: 1 for negative, 2 for clamped, uint8, of ``x``'s shape; else nothing.
    """
    scaled = x.float() * gain if x.dtype in (torch.float16, torch.bfloat16) else x * gain
    if si.numel() and not writeSigns:
        fits = si.dim() == 4 and si.shape[:2] == x.shape[:2]
        accepted = f"({x.shape[0]}, {x.shape[1]}, height, width)"
        require(fits, "filtered_lrelu_act_", "si", f"of shape {tuple(si.shape)}", accepted)
        slopes = torch.ones_like(si, dtype=scaled.dtype)
        slopes = slopes.masked_fill(si == 1, slope).masked_fill(si == 2, 0)
        height, width = x.shape[2:]
        ends = sx + width - si.shape[3], sy + height - si.shape[2]
        # Outside of what the forward call saw, MMCV's kernel multiplies by the gain only.
        x.copy_(scaled * functional.pad(slopes, (-sx, ends[0], -sy, ends[1]), value=1.0))
        return si.new_empty(0)
    signs = (scaled < 0).to(torch.uint8)
    activated = torch.where(scaled < 0, scaled * slope, scaled)
    signs = torch.where(activated.abs() > clamp, 2, signs).to(torch.uint8)
    x.copy_(activated.clamp(-clamp, clamp))
    return signs if writeSigns else signs.new_empty(0)


def _filtered_lrelu(
    x: Tensor,
    fu: Tensor,
    fd: Tensor,
    b: Tensor,
    si: Tensor,
    up: int,
    down: int,
    px0: int,
    px1: int,
    py0: int,
    py1: int,
    sx: int,
    sy: int,
    gain: float,
    slope: float,
    clamp: float,
    flip_filters: bool,
    writeSigns: bool,
) -> tuple[Tensor, Tensor, int]:
    y = bias_act(x, b)
    y = upfirdn2d(y, fu, up, 1, (px0, px1, py0, py1), flip_filters, up**2)
    signs = _filtered_lrelu_act(y, si, sx, sy, gain, slope, clamp, writeSigns)
    return upfirdn2d(y, fd, 1, down, 0, flip_filters), signs, 0


def _correlation(
    input1: Tensor,
    input2: Tensor,
    kH: int,
    kW: int,
    patchH: int,
    patchW: int,
    padH: int,
    padW: int,
    dilationH: int,
    dilationW: int,
    dilation_patchH: int,
    dilation_patchW: int,
    dH: int,
    dW: int,
) -> Tensor:
    sizes = (kH, kW), (patchH, patchW), (dH, dW), (padH, padW)
    steps = (dilationH, dilationW), (dilation_patchH, dilation_patchW)
    return correlate(input1, input2, *sizes, *steps)


def _correlation_forward(input1: Tensor, input2: Tensor, output: Tensor, **sizes: int) -> None:
    output.copy_(_correlation(input1, input2, **sizes))


def _correlation_backward(
    grad_output: Tensor,
    input1: Tensor,
    input2: Tensor,
    grad_input1: Tensor,
    grad_input2: Tensor,
    **sizes: int,
) -> None:
    grads = gradients(lambda x, y: _correlation(x, y, **sizes), [input1, input2], grad_output)
    add([grad_input1, grad_input2], grads)


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "bias_act": _bias_act,
    "correlation_backward": _correlation_backward,
    "correlation_forward": _correlation_forward,
    "filtered_lrelu": _filtered_lrelu,
    "filtered_lrelu_act_": _filtered_lrelu_act,
    "fused_bias_leakyrelu": _fused_bias_leakyrelu,
    "upfirdn2d": _upfirdn2d,
}
