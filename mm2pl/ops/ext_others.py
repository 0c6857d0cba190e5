"""Attention, upsampling and losses as ``mmcv._ext`` has them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from mm2pl.ops.arguments import widened
from mm2pl.ops.attention import ms_deform_attn
from mm2pl.ops.buffers import add, gradients
from mm2pl.ops.focal_loss import sigmoid_focal_loss, softmax_focal_loss
from mm2pl.ops.upsampling import carafe, psa_mask


def _ms_deform_attn(
    value: Tensor,
    spatial_shapes: Tensor,
    level_start_index: Tensor,
    sampling_locations: Tensor,
    attention_weights: Tensor,
    im2col_step: int,
) -> Tensor:
    return ms_deform_attn(value, spatial_shapes, sampling_locations, attention_weights)


def _ms_deform_attn_backward(
    value: Tensor,
    spatial_shapes: Tensor,
    level_start_index: Tensor,
    sampling_locations: Tensor,
    attention_weights: Tensor,
    grad_output: Tensor,
    grad_value: Tensor,
    grad_sampling_loc: Tensor,
    grad_attn_weight: Tensor,
    im2col_step: int,
) -> None:
    grads = gradients(
        lambda v, places, weights: ms_deform_attn(v, spatial_shapes, places, weights),
        [value, sampling_locations, attention_weights],
        grad_output,
    )
    add([grad_value, grad_sampling_loc, grad_attn_weight], grads)


def _carafe(
    features: Tensor,
    masks: Tensor,
    rfeatures: Tensor,
    routput: Tensor,
    rmasks: Tensor,
    output: Tensor,
    **sizes: int,
) -> None:
    rfeatures.copy_(features)  # all that the backward call is given of them
    output.copy_(carafe(features, masks, **sizes))


def _carafe_backward(
    grad_output: Tensor,
    rfeatures: Tensor,
    masks: Tensor,
    rgrad_output: Tensor,
    rgrad_input_hs: Tensor,
    rgrad_input: Tensor,
    rgrad_masks: Tensor,
    grad_input: Tensor,
    grad_masks: Tensor,
    **sizes: int,
) -> None:
    _carafe_naive_backward(grad_output, rfeatures, masks, grad_input, grad_masks, **sizes)


def _carafe_naive(features: Tensor, masks: Tensor, output: Tensor, **sizes: int) -> None:
    output.copy_(carafe(features, masks, **sizes))


def _carafe_naive_backward(
    grad_output: Tensor,
    features: Tensor,
    masks: Tensor,
    grad_input: Tensor,
    grad_masks: Tensor,
    **sizes: int,
) -> None:
    grads = gradients(lambda f, m: carafe(f, m, **sizes), [features, masks], grad_output)
    add([grad_input, grad_masks], grads)


def _psamask(input: Tensor, output: Tensor, psa_type: int, **sizes: int) -> None:
    output.copy_(psa_mask(input, psa_type, (sizes["h_mask"], sizes["w_mask"])).view_as(output))


def _psamask_backward(grad_output: Tensor, grad_input: Tensor, psa_type: int, **sizes: int) -> None:
    mask = (sizes["h_mask"], sizes["w_mask"])
    cells = grad_output.shape[0], -1, sizes["h_feature"], sizes["w_feature"]
    grads = gradients(
        lambda i: psa_mask(i, psa_type, mask), [grad_input], grad_output.reshape(cells)
    )
    add([grad_input], grads)


def _sigmoid_focal_loss(
    input: Tensor, target: Tensor, weight: Tensor, output: Tensor, gamma: float, alpha: float
) -> None:
    output.copy_(sigmoid_focal_loss(input, target, gamma, alpha, weight))


def _sigmoid_focal_loss_backward(
    input: Tensor, target: Tensor, weight: Tensor, grad_input: Tensor, gamma: float, alpha: float
) -> None:
    grads = gradients(
        lambda i: sigmoid_focal_loss(i, target, gamma, alpha, weight),
        [input],
        torch.ones_like(input),
    )
    add([grad_input], grads)


# MMCV gives its softmax in place of the logits; its logarithm is as good as these.


def _softmax_focal_loss(
    input: Tensor, target: Tensor, weight: Tensor, output: Tensor, gamma: float, alpha: float
) -> None:
    output.copy_(softmax_focal_loss(widened(input).log(), target, gamma, alpha, weight))


def _softmax_focal_loss_backward(
    input: Tensor,
    target: Tensor,
    weight: Tensor,
    buff: Tensor,
    grad_input: Tensor,
    gamma: float,
    alpha: float,
) -> None:
    grads = gradients(
        lambda i: softmax_focal_loss(i, target, gamma, alpha, weight),
        [widened(input).clamp(min=torch.finfo(torch.float32).tiny).log()],
        input.new_ones(len(input)),
    )
    add([grad_input], grads)


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "carafe_backward": _carafe_backward,
    "carafe_forward": _carafe,
    "carafe_naive_backward": _carafe_naive_backward,
    "carafe_naive_forward": _carafe_naive,
    "ms_deform_attn_backward": _ms_deform_attn_backward,
    "ms_deform_attn_forward": _ms_deform_attn,
    "psamask_backward": _psamask_backward,
    "psamask_forward": _psamask,
    "sigmoid_focal_loss_backward": _sigmoid_focal_loss_backward,
    "sigmoid_focal_loss_forward": _sigmoid_focal_loss,
    "softmax_focal_loss_backward": _softmax_focal_loss_backward,
    "softmax_focal_loss_forward": _softmax_focal_loss,
}
