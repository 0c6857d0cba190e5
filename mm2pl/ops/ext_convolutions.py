"""Convolutions as ``mmcv._ext`` has them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from mm2pl.ops.arguments import require
from mm2pl.ops.buffers import add, gradients
from mm2pl.ops.deform_conv import deform_conv2d


def _deform_conv(
    input: Tensor,
    weight: Tensor,
    offset: Tensor,
    output: Tensor,
    columns: Tensor,
    ones: Tensor,
    im2col_step: int,
    **settings: int,
) -> None:
    output.copy_(_of_first(settings)(input, offset, weight))


def _deform_conv_backward_input(
    input: Tensor,
    offset: Tensor,
    grad_output: Tensor,
    grad_input: Tensor,
    grad_offset: Tensor,
    weight: Tensor,
    columns: Tensor,
    im2col_step: int,
    **settings: int,
) -> None:
    run = _of_first(settings)
    grads = gradients(lambda i, o: run(i, o, weight), [input, offset], grad_output)
    add([grad_input, grad_offset], grads)


def _deform_conv_backward_parameters(
    input: Tensor,
    offset: Tensor,
    grad_output: Tensor,
    grad_weight: Tensor,
    columns: Tensor,
    ones: Tensor,
    scale: float,
    im2col_step: int,
    **settings: int,
) -> None:
    run = _of_first(settings)
    grads = gradients(
        lambda w: run(input, offset, w),
        [torch.zeros_like(grad_weight, dtype=input.dtype)],
        grad_output,
    )
    add([grad_weight], grads, scale)


def _of_first(settings: dict[str, int]) -> Callable[..., Tensor]:
    """Return DCN with the settings as MMCV names them."""
    return partial(
        deform_conv2d,
        stride=(settings["dH"], settings["dW"]),
        padding=(settings["padH"], settings["padW"]),
        dilation=(settings["dilationH"], settings["dilationW"]),
        groups=settings["group"],
        deform_groups=settings["deformable_group"],
    )


def _of_second(settings: dict[str, int]) -> Callable[..., Tensor]:
    """Return DCNv2 with the settings as MMCV names them."""
    return partial(
        deform_conv2d,
        stride=(settings["stride_h"], settings["stride_w"]),
        padding=(settings["pad_h"], settings["pad_w"]),
        dilation=(settings["dilation_h"], settings["dilation_w"]),
        groups=settings["group"],
        deform_groups=settings["deformable_group"],
    )


def _modulated_deform_conv(
    input: Tensor,
    weight: Tensor,
    bias: Tensor,
    ones: Tensor,
    offset: Tensor,
    mask: Tensor,
    output: Tensor,
    columns: Tensor,
    with_bias: bool,
    **settings: int,
) -> None:
    output.copy_(_of_second(settings)(input, offset, weight, mask, bias if with_bias else None))


def _modulated_deform_conv_backward(
    input: Tensor,
    weight: Tensor,
    bias: Tensor,
    ones: Tensor,
    offset: Tensor,
    mask: Tensor,
    columns: Tensor,
    grad_input: Tensor,
    grad_weight: Tensor,
    grad_bias: Tensor,
    grad_offset: Tensor,
    grad_mask: Tensor,
    grad_output: Tensor,
    with_bias: bool,
    **settings: int,
) -> None:
    run = _of_second(settings)
    buffers = [grad_input, grad_offset, grad_weight, grad_mask]
    inputs = [input, offset, weight, mask]
    add(buffers, gradients(run, inputs, grad_output))
    if with_bias:
        grad_bias.add_(grad_output.sum((0, 2, 3)))


def _masked_im2col(
    features: Tensor,
    mask_h_idx: Tensor,
    mask_w_idx: Tensor,
    data_col: Tensor,
    kernel_h: int,
    kernel_w: int,
    pad_h: int,
    pad_w: int,
) -> None:
    """Write the neighbourhood of each place that the mask names."""
    padded = functional.pad(features[0], (pad_w, pad_w, pad_h, pad_h))
    size = (padded.shape[1] - kernel_h + 1, padded.shape[2] - kernel_w + 1)
    _check_places("masked_im2col_forward", mask_h_idx, mask_w_idx, size)
    y = mask_h_idx + torch.arange(kernel_h, device=features.device)[:, None]
    x = mask_w_idx + torch.arange(kernel_w, device=features.device)[:, None]
    data_col.copy_(padded[:, y[:, None], x[None]].reshape(data_col.shape))


def _masked_col2im(
    data_col: Tensor,
    mask_h_idx: Tensor,
    mask_w_idx: Tensor,
    data_im: Tensor,
    height: int,
    width: int,
    channels: int,
) -> None:
    _check_places("masked_col2im_forward", mask_h_idx, mask_w_idx, (height, width))
    data_im[0, :, mask_h_idx, mask_w_idx] = data_col


def _check_places(operator: str, y: Tensor, x: Tensor, size: tuple[int, int]) -> None:
    """Refuse places outside the result: below 0 they would be taken from its end."""
    for argument, index, limit in zip(("mask_h_idx", "mask_w_idx"), (y, x), size, strict=True):
        if index.numel():
            low, high = (int(each) for each in index.aminmax())
            fits = low >= 0 and high < limit
            require(fits, operator, argument, f"from {low} to {high}", f"from 0 to {limit - 1}")


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "deform_conv_backward_input": _deform_conv_backward_input,
    "deform_conv_backward_parameters": _deform_conv_backward_parameters,
    "deform_conv_forward": _deform_conv,
    "masked_col2im_forward": _masked_col2im,
    "masked_im2col_forward": _masked_im2col,
    "modulated_deform_conv_backward": _modulated_deform_conv_backward,
    "modulated_deform_conv_forward": _modulated_deform_conv,
}
