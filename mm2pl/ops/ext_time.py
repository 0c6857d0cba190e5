"""Shifts along time, and statistics over a batch, as ``mmcv._ext`` has them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from mm2pl.ops.shift import tin_shift


def _tin_shift(input: Tensor, shift: Tensor, output: Tensor) -> None:
    output.copy_(tin_shift(input, shift))


def _tin_shift_backward(grad_output: Tensor, shift: Tensor, grad_input: Tensor) -> None:
    # MMCV 2.1.0 moves gradients later too, where they belong earlier (tin_shift_cuda_kernel.cuh); its models
    # were trained so. `mm2pl.ops.tin_shift` has the gradient of what it computes.
    grad_input.copy_(tin_shift(grad_output, shift))


# SyncBN of MMCV: the file itself exchanges what these compute of one process, in float32.


def _mean(input: Tensor, mean: Tensor) -> None:
    mean.copy_(input.float().mean((0, 2)))


def _var(input: Tensor, mean: Tensor, var: Tensor) -> None:
    var.copy_((input.float() - mean[:, None]).square().mean((0, 2)))


def _output(
    input: Tensor,
    mean: Tensor,
    var: Tensor,
    weight: Tensor,
    bias: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    norm: Tensor,
    std: Tensor,
    output: Tensor,
    eps: float,
    momentum: float | Tensor,
    group_size: int,
) -> None:
    std.copy_((var + eps).sqrt())
    norm.copy_((input.float() - mean[:, None]) / std[:, None])
    output.copy_(norm * weight[:, None] + bias[:, None])
    count = len(input) * input.shape[2] * group_size
    unbiased = var * count / (count - 1) if count > 1 else var
    for running, now in ((running_mean, mean), (running_var, unbiased)):
        if running is not None:
            running.copy_(momentum * now + (1 - momentum) * running)


def _backward_param(
    grad_output: Tensor, norm: Tensor, grad_weight: Tensor, grad_bias: Tensor
) -> None:
    grad_weight.copy_((grad_output.float() * norm).sum((0, 2)))
    grad_bias.copy_(grad_output.float().sum((0, 2)))


def _backward_data(
    grad_output: Tensor,
    weight: Tensor,
    grad_weight: Tensor,
    grad_bias: Tensor,
    norm: Tensor,
    std: Tensor,
    grad_input: Tensor,
) -> None:
    count = len(norm) * norm.shape[2]
    weight, grad_weight, grad_bias, std = (
        each[:, None] for each in (weight, grad_weight, grad_bias, std)
    )
    grad = grad_output.float() - (grad_weight * norm + grad_bias) / count
    grad_input.copy_(weight * grad / std)


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "sync_bn_backward_data": _backward_data,
    "sync_bn_backward_param": _backward_param,
    "sync_bn_forward_mean": _mean,
    "sync_bn_forward_output": _output,
    "sync_bn_forward_var": _var,
    "tin_shift_backward": _tin_shift_backward,
    "tin_shift_forward": _tin_shift,
}
