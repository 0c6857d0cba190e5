"""Rotated boxes, sets of points and texts as ``mmcv._ext`` has them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from mm2pl.ops import point_sets, rotated_boxes, text
from mm2pl.ops.arguments import require, require_tensors
from mm2pl.ops.buffers import add, gradients

MODES = ("iou", "iof")


def _overlaps(operator: Callable[..., Tensor], width: int) -> Callable[..., None]:
    def run(boxes1: Tensor, boxes2: Tensor, ious: Tensor, mode_flag: int, aligned: bool) -> None:
        name = operator.__name__
        require(mode_flag in (0, 1), name, "mode_flag", mode_flag, "0 (iou) or 1 (iof)")
        # MMCV's CPU kernel reads the first columns of each row: MMRotate 1.0.0rc1 gives scores after the boxes.
        values = operator(boxes1[:, :width], boxes2[:, :width], MODES[mode_flag], aligned)
        require(isinstance(ious, Tensor), name, "ious", type(ious).__name__, "a tensor")
        buffer = (ious.flatten(), (values.numel(),))
        require_tensors(name, boxes1=(values.flatten(), ("N",)), ious=buffer)
        ious.copy_(values.view_as(ious))

    return run


def _nms_rotated(
    dets: Tensor,
    scores: Tensor,
    order: Tensor,
    dets_sorted: Tensor,
    labels: Tensor,
    iou_threshold: float,
    multi_label: bool,
) -> Tensor:
    # MMCV's CPU kernel forgets the labels, which stand in the last column; its CUDA kernel does not.
    own = dets[:, 5] if multi_label else None
    return rotated_boxes.nms_rotated(dets[:, :5], scores, iou_threshold, own)


def _nms_quadri(
    dets: Tensor,
    scores: Tensor,
    order: Tensor,
    dets_sorted: Tensor,
    iou_threshold: float,
    multi_label: bool,
) -> Tensor:
    own = dets[:, 8] if multi_label else None
    return rotated_boxes.nms_quadri(dets[:, :8], scores, iou_threshold, own)


def _sort_vertices(vertices: Tensor, mask: Tensor, num_valid: Tensor) -> Tensor:
    return rotated_boxes.sort_vertices(vertices, mask).int()


def _convex_iou(pointsets: Tensor, polygons: Tensor, ious: Tensor) -> None:
    ious.copy_(point_sets.convex_iou(pointsets, polygons))


def _convex_giou(pointsets: Tensor, polygons: Tensor, output: Tensor) -> None:
    """Write the gradients of the points, then the values in the last column."""
    with torch.enable_grad():
        points = pointsets.detach().requires_grad_()
        values = point_sets.convex_giou(points, polygons)
        output[:, :-1] = torch.autograd.grad(values.sum(), points)[0]
    output[:, -1] = values.detach()


def _min_area_polygons(pointsets: Tensor, polygons: Tensor) -> None:
    polygons.copy_(point_sets.min_area_polygons(pointsets))


def _points_in_polygons(points: Tensor, polygons: Tensor, output: Tensor) -> None:
    output.copy_(point_sets.points_in_polygons(points, polygons))


def _chamfer_distance(
    xyz1: Tensor, xyz2: Tensor, dist1: Tensor, dist2: Tensor, idx1: Tensor, idx2: Tensor
) -> None:
    for buffer, value in zip(
        (dist1, dist2, idx1, idx2), point_sets.chamfer_distance(xyz1, xyz2), strict=True
    ):
        buffer.copy_(value)


def _chamfer_distance_backward(
    xyz1: Tensor,
    xyz2: Tensor,
    idx1: Tensor,
    idx2: Tensor,
    grad_dist1: Tensor,
    grad_dist2: Tensor,
    grad_xyz1: Tensor,
    grad_xyz2: Tensor,
) -> None:
    def operator(one: Tensor, other: Tensor) -> Tensor:
        return torch.cat(point_sets.chamfer_distance(one, other)[:2], 1)

    grad = torch.cat([grad_dist1, grad_dist2], 1)
    add([grad_xyz1, grad_xyz2], gradients(operator, [xyz1, xyz2], grad))


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "box_iou_quadri": _overlaps(rotated_boxes.box_iou_quadri, 8),
    "box_iou_rotated": _overlaps(rotated_boxes.box_iou_rotated, 5),
    "chamfer_distance_backward": _chamfer_distance_backward,
    "chamfer_distance_forward": _chamfer_distance,
    "contour_expand": text.contour_expand,
    "convex_giou": _convex_giou,
    "convex_iou": _convex_iou,
    "diff_iou_rotated_sort_vertices_forward": _sort_vertices,
    "min_area_polygons": _min_area_polygons,
    "nms_quadri": _nms_quadri,
    "nms_rotated": _nms_rotated,
    "pixel_group": text.pixel_group,
    "points_in_polygons_forward": _points_in_polygons,
}
