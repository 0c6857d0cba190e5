"""Bias, activation, gain and clamp in one, as the networks of StyleGAN have them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from mm2pl.ops.arguments import full_precision, of_kinds, require, require_one, require_tensors

SELU_SCALE = 1.0507009873554804934193349852946
SELU_ALPHA = 1.6732632423543772848170429916717


class Activation(NamedTuple):
    """An activation, with its slope by what MMCV's Functions keep of the forward pass.

    Attributes:
        run: Of a tensor and ``alpha``.
        slope: Of what is kept, and ``alpha``.
        keeps: ``x``, the input, or ``y``, the output before the gain.
        alpha: If none is given.
        gain: If none is given.
    """

    run: Callable[[Tensor, float], Tensor]
    slope: Callable[[Tensor, float], Tensor]
    keeps: str = "y"
    alpha: float = 0.0
    gain: float = 1.0


def _swish_slope(x: Tensor, _: float) -> Tensor:
    share = x.sigmoid()
    return share + x * share * (1 - share)


def _step(y: Tensor, alpha: float) -> Tensor:
    return torch.ones_like(y).masked_fill(~(y > 0), alpha)


ACTIVATIONS = {
    "linear": Activation(lambda x, _: x, lambda y, _: torch.ones_like(y)),
    "relu": Activation(lambda x, _: x.relu(), lambda y, _: _step(y, 0.0), gain=math.sqrt(2)),
    "lrelu": Activation(functional.leaky_relu, _step, alpha=0.2, gain=math.sqrt(2)),
    "tanh": Activation(lambda x, _: x.tanh(), lambda y, _: 1 - y * y),
    "sigmoid": Activation(lambda x, _: x.sigmoid(), lambda y, _: y * (1 - y)),
    "elu": Activation(lambda x, _: functional.elu(x), lambda y, _: torch.where(y >= 0, 1, y + 1)),
    "selu": Activation(
        lambda x, _: functional.selu(x),
        lambda y, _: torch.where(y >= 0, SELU_SCALE, y + SELU_SCALE * SELU_ALPHA),
    ),
    "softplus": Activation(lambda x, _: functional.softplus(x), lambda y, _: 1 - (-y).exp()),
    "swish": Activation(lambda x, _: x.sigmoid() * x, _swish_slope, "x", gain=math.sqrt(2)),
}
"""By name; MMCV's kernels number them in this order from 1 on."""


@of_kinds
@full_precision
def bias_act(
    input: Tensor,
    bias: Tensor | None = None,
    dim: int = 1,
    act: str = "linear",
    alpha: float | None = None,
    gain: float | None = None,
    clamp: float | None = None,
) -> Tensor:
    """Return ``clamp(gain * act(input + bias))``.

    Args:
        input: Of any shape.
        bias: One number for each row of dimension ``dim``.
        dim: The dimension that the bias lies along.
        act: ``linear``, ``relu``, ``lrelu``, ``tanh``, ``sigmoid``, ``elu``, ``selu``, ``softplus`` or ``swish``.
        alpha: Slope of ``lrelu`` below 0; 0.2 if None.
        gain: If None, √2 for ``relu``, ``lrelu`` and ``swish``, else 1.
        clamp: Greatest size of the result, at least 0; None for any.

    Raises:
        ArgumentError: Shapes, types or values do not fit.
    """
    name = "bias_act"
    require_tensors(name, input=(input, tuple("N" * input.dim())))
    require(act in ACTIVATIONS, name, "act", repr(act), f"one of {', '.join(ACTIVATIONS)}")
    require(clamp is None or clamp >= 0, name, "clamp", repr(clamp), "None, or at least 0")
    activation = ACTIVATIONS[act]
    x = input
    if bias is not None:
        fits = 0 <= dim < input.dim()
        require(fits, name, "dim", repr(dim), f"a dimension of input, 0 to {input.dim() - 1}")
        shape = (input.shape[dim],)
        require_tensors(name, bias=(bias, shape))
        require_one(name, "device", input=input, bias=bias)
        x = x + bias.to(x.dtype).view(-1, *(1,) * (input.dim() - dim - 1))
    x = activation.run(x, activation.alpha if alpha is None else float(alpha))
    gain = activation.gain if gain is None else float(gain)
    x = x if gain == 1 else x * gain
    return x if clamp is None else x.clamp(-clamp, clamp)


@of_kinds
def fused_bias_leakyrelu(
    input: Tensor, bias: Tensor | None, negative_slope: float = 0.2, scale: float = 2**0.5
) -> Tensor:
    """Return ``scale * leaky_relu(input + bias)``, the bias along dimension 1; as :func:`bias_act`.

    Args:
        input: ``(N, C, ...)``.
        bias: ``(C,)``, or None.
        negative_slope: Slope below 0.
        scale: Factor of the result.
    """
    return bias_act(input, bias, 1, "lrelu", negative_slope, scale)
