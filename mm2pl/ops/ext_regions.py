"""Boxes and regions as ``mmcv._ext`` has them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from mm2pl.ops.buffers import add, gradients
from mm2pl.ops.gather import clamped, corners_of
from mm2pl.ops.nms import nms, nms_match, soft_nms
from mm2pl.ops.roi import roi_align, roi_align_maxima, roi_pool_with_cells


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

        add([grad_input], gradients(operator, [grad_input], grad_output))
        return
    _, channels, height, width = grad_input.shape
    found = (argmax_y != -1).nonzero(as_tuple=True)
    y, x = clamped(argmax_y[found], height), clamped(argmax_x[found], width)
    cells, weights = corners_of(y, x, width)
    maps = (rois[found[0], 0].long() * channels + found[1])[:, None] * height * width
    grad_input.view(-1).index_add_(
        0, (cells + maps).view(-1), (weights * grad_output[found][:, None]).view(-1)
    )


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


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "bbox_overlaps": _bbox_overlaps,
    "nms": nms,
    "nms_match": nms_match,
    "roi_align_backward": _roi_align_backward,
    "roi_align_forward": _roi_align,
    "roi_pool_backward": _roi_pool_backward,
    "roi_pool_forward": _roi_pool,
    "softnms": _softnms,
}
