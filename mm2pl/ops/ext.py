"""The functions of ``mmcv._ext`` by name, with MMCV's calling convention: results go into the caller's buffers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from mm2pl.ops.attention import ms_deform_attn
from mm2pl.ops.deform_conv import deform_conv2d
from mm2pl.ops.focal_loss import sigmoid_focal_loss, softmax_focal_loss
from mm2pl.ops.gather import clamped, corners_of
from mm2pl.ops.nms import nms, nms_match, soft_nms
from mm2pl.ops.roi import roi_align, roi_align_maxima, roi_pool_with_cells
from mm2pl.ops.upsampling import carafe, psa_mask


def _gradients(
    operator: Callable[..., Tensor], inputs: Sequence[Tensor], grad: Tensor
) -> tuple[Tensor | None, ...]:
    """Return what inputs get of a gradient, by a second forward: MMCV keeps nothing of the first."""
    with torch.enable_grad():
        leaves = [each.detach().requires_grad_() for each in inputs]
        output = operator(*leaves)
        return torch.autograd.grad(output, leaves, grad.to(output.dtype), allow_unused=True)


def _add(buffers: Sequence[Tensor], grads: Sequence[Tensor | None], scale: float = 1.0) -> None:
    for buffer, grad in zip(buffers, grads, strict=True):
        if grad is not None:
            buffer.add_(grad.view_as(buffer), alpha=scale)


# Boxes


def _bbox_overlaps(
    bboxes1: Tensor, bboxes2: Tensor, ious: Tensor, mode: int, aligned: bool, offset: int
) -> None:
    """Write the IoU of boxes (mode 0) or the share of the first one (mode 1), of pairs or of each with each."""
    one, other = (bboxes1, bboxes2) if aligned else (bboxes1[:, None], bboxes2[None])
    first = torch.maximum(one[..., :2], other[..., :2])
    sides = (torch.minimum(one[..., 2:], other[..., 2:]) - first + offset).clamp(min=0)
    shared = sides[..., 0] * sides[..., 1]
    area, area_of_other = (
        (box[..., 2] - box[..., 0] + offset) * (box[..., 3] - box[..., 1] + offset)
        for box in (one, other)
    )
    ious.copy_(shared / (area + area_of_other - shared if mode == 0 else area))


def _softnms(
    boxes: Tensor,
    scores: Tensor,
    dets: Tensor,
    iou_threshold: float,
    sigma: float,
    min_score: float,
    method: int,
    offset: int,
) -> Tensor:
    kept, index = soft_nms(boxes, scores, iou_threshold, sigma, min_score, method, offset)
    dets[: len(kept)] = kept
    return index


# Regions


def _roi_align(
    input: Tensor,
    rois: Tensor,
    output: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    bins = (aligned_height, aligned_width)
    settings = (bins, spatial_scale, sampling_ratio)
    if pool_mode == 1:
        output.copy_(roi_align(input, rois, *settings, aligned=aligned))
        return
    for buffer, value in zip(
        (output, argmax_y, argmax_x),
        roi_align_maxima(input, rois, *settings, aligned),
        strict=True,
    ):
        buffer.copy_(value)


def _roi_align_backward(
    grad_output: Tensor,
    rois: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    grad_input: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    if pool_mode == 1:
        bins, settings = (aligned_height, aligned_width), (spatial_scale, sampling_ratio)

        def operator(input: Tensor) -> Tensor:
            return roi_align(input, rois, bins, *settings, aligned=aligned)

        _add([grad_input], _linear(operator, grad_input, grad_output))
        return
    _, channels, height, width = grad_input.shape
    found = (argmax_y != -1).nonzero(as_tuple=True)
    y, x = clamped(argmax_y[found], height), clamped(argmax_x[found], width)
    cells, weights = corners_of(y, x, width)
    maps = (rois[found[0], 0].long() * channels + found[1])[:, None] * height * width
    grad_input.view(-1).index_add_(
        0, (cells + maps).view(-1), (weights * grad_output[found][:, None]).view(-1)
    )


def _linear(
    operator: Callable[[Tensor], Tensor], like: Tensor, grad: Tensor
) -> tuple[Tensor | None, ...]:
    """Return what the input of a linear operator gets of a gradient; its value does not matter."""
    return _gradients(operator, [like], grad)


def _roi_pool(
    input: Tensor,
    rois: Tensor,
    output: Tensor,
    argmax: Tensor,
    pooled_height: int,
    pooled_width: int,
    spatial_scale: float,
) -> None:
    values, cells = roi_pool_with_cells(input, rois, (pooled_height, pooled_width), spatial_scale)
    output.copy_(values)
    argmax.copy_(cells)


def _roi_pool_backward(
    grad_output: Tensor,
    rois: Tensor,
    argmax: Tensor,
    grad_input: Tensor,
    pooled_height: int,
    pooled_width: int,
    spatial_scale: float,
) -> None:
    maps = grad_input.view(len(grad_input), grad_input.shape[1], -1)
    found = (argmax >= 0).nonzero(as_tuple=True)
    place = (rois[found[0], 0].long(), found[1], argmax[found].long())
    maps.index_put_(place, grad_output[found], accumulate=True)


# Convolutions


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
    grads = _gradients(lambda i, o: run(i, o, weight), [input, offset], grad_output)
    _add([grad_input, grad_offset], grads)


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
    grads = _gradients(lambda w: run(input, offset, w), [_like(grad_weight, input)], grad_output)
    _add([grad_weight], grads, scale)


def _like(buffer: Tensor, other: Tensor) -> Tensor:
    return torch.zeros_like(buffer, dtype=other.dtype)


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
    _add(buffers, _gradients(run, inputs, grad_output))
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
    data_im[0, :, mask_h_idx, mask_w_idx] = data_col


# Attention, upsampling, losses


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
    grads = _gradients(
        lambda v, places, weights: ms_deform_attn(v, spatial_shapes, places, weights),
        [value, sampling_locations, attention_weights],
        grad_output,
    )
    _add([grad_value, grad_sampling_loc, grad_attn_weight], grads)


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
    grads = _gradients(lambda f, m: carafe(f, m, **sizes), [features, masks], grad_output)
    _add([grad_input, grad_masks], grads)


def _psamask(input: Tensor, output: Tensor, psa_type: int, **sizes: int) -> None:
    output.copy_(psa_mask(input, psa_type, (sizes["h_mask"], sizes["w_mask"])).view_as(output))


def _psamask_backward(grad_output: Tensor, grad_input: Tensor, psa_type: int, **sizes: int) -> None:
    mask = (sizes["h_mask"], sizes["w_mask"])
    cells = grad_output.shape[0], -1, sizes["h_feature"], sizes["w_feature"]
    grads = _linear(lambda i: psa_mask(i, psa_type, mask), grad_input, grad_output.reshape(cells))
    _add([grad_input], grads)


def _sigmoid_focal_loss(
    input: Tensor, target: Tensor, weight: Tensor, output: Tensor, gamma: float, alpha: float
) -> None:
    output.copy_(sigmoid_focal_loss(input, target, gamma, alpha, weight))


def _sigmoid_focal_loss_backward(
    input: Tensor, target: Tensor, weight: Tensor, grad_input: Tensor, gamma: float, alpha: float
) -> None:
    grads = _gradients(
        lambda i: sigmoid_focal_loss(i, target, gamma, alpha, weight),
        [input],
        torch.ones_like(input),
    )
    _add([grad_input], grads)


# MMCV gives its softmax in place of the logits; its logarithm is as good as these.


def _softmax_focal_loss(
    input: Tensor, target: Tensor, weight: Tensor, output: Tensor, gamma: float, alpha: float
) -> None:
    output.copy_(softmax_focal_loss(input.log(), target, gamma, alpha, weight))


def _softmax_focal_loss_backward(
    input: Tensor,
    target: Tensor,
    weight: Tensor,
    buff: Tensor,
    grad_input: Tensor,
    gamma: float,
    alpha: float,
) -> None:
    grads = _gradients(
        lambda i: softmax_focal_loss(i, target, gamma, alpha, weight),
        [input.clamp(min=torch.finfo(torch.float32).tiny).log()],
        input.new_ones(len(input)),
    )
    _add([grad_input], grads)


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "bbox_overlaps": _bbox_overlaps,
    "carafe_backward": _carafe_backward,
    "carafe_forward": _carafe,
    "carafe_naive_backward": _carafe_naive_backward,
    "carafe_naive_forward": _carafe_naive,
    "deform_conv_backward_input": _deform_conv_backward_input,
    "deform_conv_backward_parameters": _deform_conv_backward_parameters,
    "deform_conv_forward": _deform_conv,
    "get_compiler_version": lambda: "none: mm2pl.ops, PyTorch",
    "get_compiling_cuda_version": lambda: "not available",
    "masked_col2im_forward": _masked_col2im,
    "masked_im2col_forward": _masked_im2col,
    "modulated_deform_conv_backward": _modulated_deform_conv_backward,
    "modulated_deform_conv_forward": _modulated_deform_conv,
    "ms_deform_attn_backward": _ms_deform_attn_backward,
    "ms_deform_attn_forward": _ms_deform_attn,
    "nms": nms,
    "nms_match": nms_match,
    "psamask_backward": _psamask_backward,
    "psamask_forward": _psamask,
    "roi_align_backward": _roi_align_backward,
    "roi_align_forward": _roi_align,
    "roi_pool_backward": _roi_pool_backward,
    "roi_pool_forward": _roi_pool,
    "sigmoid_focal_loss_backward": _sigmoid_focal_loss_backward,
    "sigmoid_focal_loss_forward": _sigmoid_focal_loss,
    "softmax_focal_loss_backward": _softmax_focal_loss_backward,
    "softmax_focal_loss_forward": _softmax_focal_loss,
    "softnms": _softnms,
}
"""What runs here, by the name that ``mmcv/ops/*.py`` loads."""

MISSING = [
    "active_rotated_filter_backward",
    "active_rotated_filter_forward",
    "assign_score_withk_backward",
    "assign_score_withk_forward",
    "ball_query_forward",
    "bezier_align_backward",
    "bezier_align_forward",
    "bias_act",
    "border_align_backward",
    "border_align_forward",
    "box_iou_quadri",
    "box_iou_rotated",
    "chamfer_distance_backward",
    "chamfer_distance_forward",
    "contour_expand",
    "convex_giou",
    "convex_iou",
    "correlation_backward",
    "correlation_forward",
    "deform_roi_pool_backward",
    "deform_roi_pool_forward",
    "diff_iou_rotated_sort_vertices_forward",
    "dynamic_point_to_voxel_backward",
    "dynamic_point_to_voxel_forward",
    "dynamic_voxelize_forward",
    "filtered_lrelu",
    "filtered_lrelu_act_",
    "furthest_point_sampling_forward",
    "furthest_point_sampling_with_dist_forward",
    "fused_bias_leakyrelu",
    "fused_indice_conv_forward",
    "gather_points_backward",
    "gather_points_forward",
    "get_indice_pairs_2d_backward",
    "get_indice_pairs_2d_forward",
    "get_indice_pairs_3d_backward",
    "get_indice_pairs_3d_forward",
    "get_indice_pairs_4d_forward",
    "group_points_backward",
    "group_points_forward",
    "hard_voxelize_forward",
    "indice_conv_backward",
    "indice_conv_forward",
    "indice_maxpool_backward",
    "indice_maxpool_forward",
    "iou3d_boxes_overlap_bev_forward",
    "iou3d_nms3d_forward",
    "iou3d_nms3d_normal_forward",
    "knn_forward",
    "min_area_polygons",
    "nms_quadri",
    "nms_rotated",
    "pixel_group",
    "points_in_boxes_all_forward",
    "points_in_boxes_cpu_forward",
    "points_in_boxes_part_forward",
    "points_in_polygons_forward",
    "prroi_pool_backward",
    "prroi_pool_coor_backward",
    "prroi_pool_forward",
    "riroi_align_rotated_backward",
    "riroi_align_rotated_forward",
    "roi_align_rotated_backward",
    "roi_align_rotated_forward",
    "roiaware_pool3d_backward",
    "roiaware_pool3d_forward",
    "roipoint_pool3d_forward",
    "rotated_feature_align_backward",
    "rotated_feature_align_forward",
    "stack_ball_query_forward",
    "stack_group_points_backward",
    "stack_group_points_forward",
    "sync_bn_backward_data",
    "sync_bn_backward_param",
    "sync_bn_forward_mean",
    "sync_bn_forward_output",
    "sync_bn_forward_var",
    "three_interpolate_backward",
    "three_interpolate_forward",
    "three_nn_forward",
    "tin_shift_backward",
    "tin_shift_forward",
    "upfirdn2d",
]
"""The other names, which raise when they are called."""


def missing(name: str) -> Callable[..., Any]:
    """Return a function that says that an operator is not there."""

    def refuse(*_: Any, **__: Any) -> Any:
        raise NotImplementedError(
            f"mmcv._ext.{name} is not among the operators that mm2pl.ops has in PyTorch → "
            f"install an mmcv with compiled operators, which is taken in its place"
        )

    return refuse
