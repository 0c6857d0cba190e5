"""Boxes and regions as ``mmcv._ext`` has them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from mm2pl.ops.arguments import require, require_tensors, widened
from mm2pl.ops.buffers import add, gradients
from mm2pl.ops.gather import clamped, corners_of
from mm2pl.ops.nms import nms, nms_match, soft_nms
from mm2pl.ops.pooling import (
    border_align_with_places,
    border_points,
    deform_roi_pool,
    prroi_pool,
)
from mm2pl.ops.roi import roi_align, roi_align_maxima, roi_pool_with_cells
from mm2pl.ops.rotated import (
    active_rotated_filter,
    bezier_align,
    riroi_align_rotated,
    roi_align_rotated,
    rotated_feature_align,
)


def _bbox_overlaps(
    bboxes1: Tensor, bboxes2: Tensor, ious: Tensor, mode: int, aligned: bool, offset: int
) -> None:
    """Write the IoU of boxes (mode 0) or the share of the first one (mode 1), of pairs or of each with each."""
    name, rows = "bbox_overlaps", len(bboxes1)
    require(mode in (0, 1), name, "mode", mode, "0 (iou) or 1 (iof)")
    require(offset in (0, 1), name, "offset", offset, "0 or 1")
    fits = not aligned or len(bboxes2) == rows
    require(fits, name, "bboxes2", f"of {len(bboxes2)} rows", f"of {rows}, as bboxes1")
    size = (rows,) if aligned else (rows, len(bboxes2))
    require_tensors(name, bboxes1=(bboxes1, ("N", 4)), ious=(ious, size))
    one, other = widened(bboxes1), widened(bboxes2)
    one, other = (one, other) if aligned else (one[:, None], other[None])
    first = torch.maximum(one[..., :2], other[..., :2])
    # MMCV's CPU kernel ends sides here, so that an infinite box has an IoU.
    sides = (torch.minimum(one[..., 2:], other[..., 2:]) - first + offset).clamp(0, 2**31 - 1)
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
    require(pool_mode in (0, 1), "roi_align", "pool_mode", pool_mode, "0 (max) or 1 (avg)")
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
    found = (argmax_y != -1).nonzero(as_tuple=True)
    y, x = argmax_y[found], argmax_x[found]
    maps = rois[found[0], 0].long() * grad_input.shape[1] + found[1]
    _add_at(grad_input, maps, y, x, grad_output[found])


def _add_at(buffer: Tensor, maps: Tensor, y: Tensor, x: Tensor, values: Tensor) -> None:
    """Add values to the four cells around each point of the maps of a buffer ``(B, C, H, W)``."""
    height, width = buffer.shape[2:]
    cells, weights = corners_of(clamped(widened(y), height), clamped(widened(x), width), width)
    cells = cells + (maps * height * width)[:, None]
    sums = torch.zeros_like(widened(buffer)).view(-1)
    sums.index_add_(0, cells.view(-1), (weights * values[:, None]).view(-1).to(sums))
    buffer.add_(sums.view_as(buffer))


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
    maps = torch.zeros_like(widened(grad_input)).flatten(2)
    found = (argmax >= 0).nonzero(as_tuple=True)
    place = (rois[found[0], 0].long(), found[1], argmax[found].long())
    maps.index_put_(place, widened(grad_output[found]), accumulate=True)
    grad_input.add_(maps.view_as(grad_input))


def _border_align(
    input: Tensor, boxes: Tensor, output: Tensor, argmax_idx: Tensor, pool_size: int
) -> None:
    values, best = border_align_with_places(input, boxes, pool_size)
    output.copy_(values)
    argmax_idx.copy_(best)


def _border_align_backward(
    grad_output: Tensor, boxes: Tensor, argmax_idx: Tensor, grad_input: Tensor, pool_size: int
) -> None:
    batch, channels = grad_output.shape[:2]
    y, x = (
        each[:, None].expand(-1, channels, -1, -1, -1).gather(4, argmax_idx.long()[..., None])
        for each in border_points(boxes.to(widened(grad_output).dtype), pool_size)
    )
    images = torch.arange(batch, device=boxes.device).view(-1, 1, 1, 1)
    sides = torch.arange(4, device=boxes.device)
    own = torch.arange(channels, device=boxes.device).view(-1, 1, 1)
    maps = ((images * 4 + sides) * channels + own).expand_as(grad_output)
    _add_at(grad_input, maps.flatten(), y.flatten(), x.flatten(), grad_output.flatten())


def _deform_roi_pool(
    input: Tensor, rois: Tensor, offset: Tensor, output: Tensor, **settings: Any
) -> None:
    moved = offset if offset.numel() else None
    output.copy_(deform_roi_pool(input, rois, moved, **_with_size(settings)))


def _deform_roi_pool_backward(
    grad_output: Tensor,
    input: Tensor,
    rois: Tensor,
    offset: Tensor,
    grad_input: Tensor,
    grad_offset: Tensor,
    **settings: Any,
) -> None:
    given = [input, offset] if offset.numel() else [input]

    def operator(input: Tensor, offset: Tensor | None = None) -> Tensor:
        return deform_roi_pool(input, rois, offset, **_with_size(settings))

    buffers = [grad_input, grad_offset][: len(given)]
    add(buffers, gradients(operator, given, grad_output))


def _prroi_pool_coor_backward(
    output: Tensor,
    grad_output: Tensor,
    features: Tensor,
    rois: Tensor,
    grad_rois: Tensor,
    **settings: Any,
) -> None:
    def operator(corners: Tensor) -> Tensor:
        regions = torch.cat([rois[:, :1], corners], 1)
        return prroi_pool(features, regions, **_with_size(settings))

    add([grad_rois[:, 1:]], gradients(operator, [rois[:, 1:]], grad_output))


def _with_size(settings: dict[str, Any]) -> dict[str, Any]:
    """Return settings with our name for what MMCV calls ``pooled_*`` or ``aligned_height`` and ``_width``."""
    settings = dict(settings)
    for name in ("pooled", "aligned"):
        if f"{name}_height" in settings:
            size = settings.pop(f"{name}_height"), settings.pop(f"{name}_width")
            settings["output_size"] = size
    return settings


def _linear(name: str, operator: Callable[..., Tensor]) -> dict[str, Callable[..., Any]]:
    """Return both calls of an operator that is linear in its first argument, and has a second one."""

    def forward(input: Tensor, second: Tensor, output: Tensor, **settings: Any) -> None:
        output.copy_(operator(input, second, **_with_size(settings)))

    def backward(grad_output: Tensor, second: Tensor, grad_input: Tensor, **settings: Any) -> None:
        def run(input: Tensor) -> Tensor:
            return operator(input, second, **_with_size(settings))

        add([grad_input], gradients(run, [grad_input], grad_output))

    return {f"{name}_forward": forward, f"{name}_backward": backward}


FUNCTIONS: dict[str, Callable[..., Any]] = {
    **_linear("active_rotated_filter", active_rotated_filter),
    **_linear("bezier_align", bezier_align),
    **_linear("prroi_pool", prroi_pool),
    **_linear("riroi_align_rotated", riroi_align_rotated),
    **_linear("roi_align_rotated", roi_align_rotated),
    **_linear("rotated_feature_align", rotated_feature_align),
    "bbox_overlaps": _bbox_overlaps,
    "border_align_backward": _border_align_backward,
    "border_align_forward": _border_align,
    "deform_roi_pool_backward": _deform_roi_pool_backward,
    "deform_roi_pool_forward": _deform_roi_pool,
    "nms": nms,
    "nms_match": nms_match,
    "prroi_pool_coor_backward": _prroi_pool_coor_backward,
    "roi_align_backward": _roi_align_backward,
    "roi_align_forward": _roi_align,
    "roi_pool_backward": _roi_pool_backward,
    "roi_pool_forward": _roi_pool,
    "softnms": _softnms,
}
