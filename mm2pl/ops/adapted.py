"""Public functions of ``mmcv.ops`` that are replaced, where MMCV's own would cost or refuse.

Its autograd Functions keep nothing for the backward pass, so that the table alone would compute each forward
twice. They cannot be differentiated twice either. Others ask for CUDA: CARAFE's gradient, the search for
neighbours, and the filters and activations of generators, which take the table on CUDA only.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

import torch
from torch import Tensor

from mm2pl.ops import (
    activation,
    boxes3d,
    cost_volume,
    deform_conv,
    focal_loss,
    neighbours,
    resampling,
)
from mm2pl.ops.grouping import (
    assign_score_withk,
    gather_points,
    group_points,
    stack_group_points,
    three_interpolate,
)
from mm2pl.ops.roi import roi_align
from mm2pl.ops.sparse import indice_conv, indice_maxpool
from mm2pl.ops.upsampling import carafe
from mm2pl.ops.voxels import dynamic_scatter

Operator = Callable[..., Any]
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


def _without_switch(operator: Operator) -> Operator:
    """Return an operator that takes MMCV's ``use_custom_op`` and does not look at it."""

    @wraps(operator)
    def run(*args: Any, use_custom_op: bool = True, **kwargs: Any) -> Any:
        taken = len(inspect.signature(operator).parameters)
        return operator(*args[:taken], **kwargs)  # it is the last one, where it has no name

    return run


def _knn(k: int, xyz: Tensor, center_xyz: Tensor | None = None, transposed: bool = False) -> Tensor:
    center_xyz = xyz if center_xyz is None else center_xyz
    if transposed:
        xyz, center_xyz = xyz.transpose(1, 2), center_xyz.transpose(1, 2)
    return neighbours.knn(xyz, center_xyz, k)[0].transpose(1, 2).contiguous()


def _assign_score_withk(
    scores: Tensor,
    point_features: Tensor,
    center_features: Tensor,
    knn_idx: Tensor,
    aggregate: str = "sum",
) -> Tensor:
    return assign_score_withk(scores, point_features, center_features, knn_idx)


def _correlation(
    input1: Tensor,
    input2: Tensor,
    kernel_size: Size = 1,
    max_displacement: int = 1,
    stride: Size = 1,
    padding: Size = 1,
    dilation: Size = 1,
    dilation_patch: Size = 1,
) -> Tensor:
    # MMCV's Function pads by 1 if it is not told, its layer and ours by 0.
    sizes = (stride, padding, dilation, dilation_patch)
    return cost_volume.correlation(input1, input2, kernel_size, max_displacement, *sizes)


def _grouping_operation(
    features: Tensor,
    indices: Tensor,
    features_batch_cnt: Tensor | None = None,
    indices_batch_cnt: Tensor | None = None,
) -> Tensor:
    if features_batch_cnt is None or indices_batch_cnt is None:
        return group_points(features, indices)
    return stack_group_points(features, features_batch_cnt, indices, indices_batch_cnt)


def _three_interpolate(features: Tensor, indices: Tensor, weight: Tensor) -> Tensor:
    # MMCV's Function gives the weight no gradient.
    return three_interpolate(features, indices, weight.detach())


def _dynamic_scatter(
    feats: Tensor, coors: Tensor, reduce_type: str = "max"
) -> tuple[Tensor, Tensor]:
    return dynamic_scatter(feats, coors, reduce_type)[:2]


def _inverse_conv(
    features: Tensor, filters: Tensor, indice_pairs: Tensor, indice_pair_num: Tensor, rows: int
) -> Tensor:
    return indice_conv(features, filters, indice_pairs, indice_pair_num, rows, True)


def _scatter_nd(indices: Tensor, updates: Tensor, shape: Sequence[int]) -> Tensor:
    # MMCV 2.1.0 indexes with a list, which torch from 2.9 on warns of, and means otherwise later.
    out = updates.new_zeros(*shape)
    return out.index_put(indices.long().unbind(-1), updates)


_carafe = _in_place_of(carafe)
_GENERATION = {
    name: _in_place_of(_without_switch(getattr(module, name)))
    for name, module in (
        ("bias_act", activation),
        ("filtered_lrelu", resampling),
        ("upfirdn2d", resampling),
    )
}
_SAMPLES = ("furthest_point_sample", "furthest_point_sample_with_dist")
_IN_BOXES = ("points_in_boxes_all", "points_in_boxes_part")
FUNCTIONS: dict[str, dict[str, Callable[[Operator], Operator]]] = {
    "mmcv.ops.assign_score_withk": {"assign_score_withk": _in_place_of(_assign_score_withk)},
    "mmcv.ops.carafe": {"carafe": _carafe, "carafe_naive": _carafe},
    "mmcv.ops.correlation": {"CorrelationFunction.apply": _in_place_of(_correlation)},
    "mmcv.ops.deform_conv": {"deform_conv2d": _in_place_of(_deform_conv2d)},
    "mmcv.ops.focal_loss": {
        name: _in_place_of(_reduced(getattr(focal_loss, name)))
        for name in ("sigmoid_focal_loss", "softmax_focal_loss")
    },
    "mmcv.ops.furthest_point_sample": {
        name: _in_place_of(getattr(neighbours, name)) for name in _SAMPLES
    },
    "mmcv.ops.fused_bias_leakyrelu": {
        "fused_bias_leakyrelu": _in_place_of(activation.fused_bias_leakyrelu)
    },
    "mmcv.ops.gather_points": {"gather_points": _in_place_of(gather_points)},
    "mmcv.ops.group_points": {"grouping_operation": _in_place_of(_grouping_operation)},
    "mmcv.ops.knn": {"knn": _in_place_of(_knn)},
    "mmcv.ops.modulated_deform_conv": {
        "modulated_deform_conv2d": _in_place_of(_modulated_deform_conv2d)
    },
    "mmcv.ops.points_in_boxes": {name: _in_place_of(getattr(boxes3d, name)) for name in _IN_BOXES},
    "mmcv.ops.roi_align": {"roi_align": _in_place_of(roi_align)},
    "mmcv.ops.scatter_points": {"dynamic_scatter": _in_place_of(_dynamic_scatter)},
    "mmcv.ops.sparse_functional": {
        "indice_conv": _in_place_of(indice_conv),
        "indice_inverse_conv": _in_place_of(_inverse_conv),
        "indice_maxpool": _in_place_of(indice_maxpool),
        "indice_subm_conv": _in_place_of(indice_conv),
    },
    "mmcv.ops.sparse_structure": {"scatter_nd": _in_place_of(_scatter_nd)},
    "mmcv.ops.three_interpolate": {"three_interpolate": _in_place_of(_three_interpolate)},
    **{f"mmcv.ops.{name}": {name: operator} for name, operator in _GENERATION.items()},
}
"""Module → name, or class and name → what makes ours of theirs."""
