"""Voxels, and boxes in space, as ``mmcv._ext`` has them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from mm2pl.ops import boxes3d, pooling3d
from mm2pl.ops.arguments import require, widened
from mm2pl.ops.buffers import add, gradients
from mm2pl.ops.voxels import dynamic_scatter, dynamic_voxelize, hard_voxelize

MODES = ("max", "avg")


def _three(name: str, axes: int) -> None:
    require(axes == 3, name, "NDim", repr(axes), "3")


def _dynamic_voxelize(
    points: Tensor,
    voxel_size: Tensor,
    coors_range: Tensor,
    coors: Tensor,
    NDim: int,
) -> None:
    _three("dynamic_voxelize_forward", NDim)
    coors.copy_(dynamic_voxelize(points, voxel_size, coors_range))


def _hard_voxelize(
    points: Tensor,
    voxel_size: Tensor,
    coors_range: Tensor,
    voxels: Tensor,
    coors: Tensor,
    num_points_per_voxel: Tensor,
    voxel_num: Tensor,
    max_points: int,
    max_voxels: int,
    NDim: int,
    deterministic: bool = True,
) -> None:
    """Write voxels, and their number; always in the order of the points."""
    _three("hard_voxelize_forward", NDim)
    name, (voxel_room, point_room) = "hard_voxelize_forward", voxels.shape[:2]
    for argument, limit, room in (
        ("max_points", max_points, point_room),
        ("max_voxels", max_voxels, voxel_room),
    ):
        accepted = f"at most {room}, which voxels has room for"
        require(limit <= room, name, argument, repr(limit), accepted)
    # -1 stands for no limit but that of the buffers.
    max_points = point_room if max_points == -1 else max_points
    max_voxels = voxel_room if max_voxels == -1 else max_voxels
    results = hard_voxelize(points, voxel_size, coors_range, max_points, max_voxels)
    voxels[: len(results[0]), :max_points] = results[0]
    for buffer, result in zip((coors, num_points_per_voxel), results[1:], strict=True):
        buffer[: len(result)] = result
    voxel_num.fill_(len(results[0]))


def _dynamic_point_to_voxel(feats: Tensor, coors: Tensor, reduce_type: str) -> list[Tensor]:
    return [*dynamic_scatter(feats, coors, reduce_type)]


def _dynamic_point_to_voxel_backward(
    grad_feats: Tensor,
    grad_reduced_feats: Tensor,
    feats: Tensor,
    reduced_feats: Tensor,
    coors_idx: Tensor,
    reduce_count: Tensor,
    reduce_type: str,
) -> None:
    # The number of a voxel stands for its place, and their order is the same.
    voxel = coors_idx[:, None]
    run = lambda x: dynamic_scatter(x, voxel, reduce_type)[0]  # noqa: E731
    grad_feats.zero_()
    add([grad_feats], gradients(run, [feats], grad_reduced_feats))


def _points_in_boxes_part(
    boxes_tensor: Tensor, pts_tensor: Tensor, box_idx_of_points_tensor: Tensor
) -> None:
    box_idx_of_points_tensor.copy_(boxes3d.points_in_boxes_part(pts_tensor, boxes_tensor))


def _points_in_boxes_all(
    boxes_tensor: Tensor, pts_tensor: Tensor, box_idx_of_points_tensor: Tensor
) -> None:
    box_idx_of_points_tensor.copy_(boxes3d.points_in_boxes_all(pts_tensor, boxes_tensor))


def _points_in_boxes_cpu(
    boxes_tensor: Tensor, pts_tensor: Tensor, pts_indices_tensor: Tensor
) -> None:
    """Write which points lie in each box, of one sample."""
    inside = boxes3d.points_in_boxes_all(pts_tensor[None], boxes_tensor[None])
    pts_indices_tensor.copy_(inside[0].T)


def _boxes_overlap_bev(boxes_a: Tensor, boxes_b: Tensor, ans_iou: Tensor) -> None:
    ans_iou.copy_(boxes3d.boxes_overlap_bev(boxes_a, boxes_b))


def _nms3d(of: boxes3d.Suppress) -> Callable[..., None]:
    def run(boxes: Tensor, keep: Tensor, num_out: Tensor, nms_overlap_thresh: float) -> None:
        """Write which boxes stay, of boxes by their scores, and their number."""
        kept = torch.from_numpy(of(boxes, nms_overlap_thresh))
        keep[: len(kept)] = kept.to(keep)
        num_out.fill_(len(kept))

    return run


def _roiaware_pool3d(
    rois: Tensor,
    pts: Tensor,
    pts_feature: Tensor,
    argmax: Tensor,
    pts_idx_of_voxels: Tensor,
    pooled_features: Tensor,
    pool_method: int,
) -> None:
    name = "roiaware_pool3d_forward"
    require(pool_method in (0, 1), name, "pool_method", repr(pool_method), "0 (max) or 1 (avg)")
    _, x, y, z, most = pts_idx_of_voxels.shape
    size = (x, y, z)
    pooling3d.checked(name, rois, pts, pts_feature, size, most)
    cells = pooling3d.cells_of(widened(rois), widened(pts), size, most - 1)
    out, greatest = pooling3d.pooled(cells, widened(pts_feature), len(rois), MODES[pool_method])
    pooled_features.copy_(out)
    argmax.copy_(greatest)
    # The number of points of a cell, then the points.
    table = pts_idx_of_voxels.zero_().view(-1, most)
    table[cells.cell, cells.place + 1] = cells.point.to(table.dtype)
    table[:, 0] = torch.bincount(cells.cell, minlength=len(table)).to(table.dtype)


def _roiaware_pool3d_backward(
    pts_idx_of_voxels: Tensor, argmax: Tensor, grad_out: Tensor, grad_in: Tensor, pool_method: int
) -> None:
    name = "roiaware_pool3d_backward"
    require(pool_method in (0, 1), name, "pool_method", repr(pool_method), "0 (max) or 1 (avg)")
    grad, table = grad_out.reshape(-1, grad_out.shape[-1]), pts_idx_of_voxels.flatten(0, 3).long()
    if pool_method == 0:
        rows = argmax.reshape(grad.shape).long()
        grad_in.scatter_add_(0, rows.clamp(min=0), torch.where(rows >= 0, grad, 0))
        return
    number, points = table[:, :1], table[:, 1:]
    cell, place = (torch.arange(points.shape[1], device=table.device) < number).nonzero().T
    grad_in.index_add_(0, points[cell, place], (grad / number.clamp(min=1))[cell])


def _roipoint_pool3d(
    xyz: Tensor,
    boxes3d: Tensor,
    pts_feature: Tensor,
    pooled_features: Tensor,
    pooled_empty_flag: Tensor,
) -> None:
    number = pooled_features.shape[2]
    pooled, empty = pooling3d.roipoint_pool3d(xyz, pts_feature, boxes3d, number)
    fits, shape = pooled.shape == pooled_features.shape, tuple(pooled_features.shape)
    name, accepted = "roipoint_pool3d_forward", f"{tuple(pooled.shape)}"
    require(fits, name, "pooled_features", f"of shape {shape}", accepted)
    pooled_features.copy_(pooled)
    pooled_empty_flag.copy_(empty)


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "dynamic_point_to_voxel_backward": _dynamic_point_to_voxel_backward,
    "dynamic_point_to_voxel_forward": _dynamic_point_to_voxel,
    "dynamic_voxelize_forward": _dynamic_voxelize,
    "hard_voxelize_forward": _hard_voxelize,
    "iou3d_boxes_overlap_bev_forward": _boxes_overlap_bev,
    "iou3d_nms3d_forward": _nms3d(boxes3d.turned),
    "iou3d_nms3d_normal_forward": _nms3d(boxes3d.upright),
    "points_in_boxes_all_forward": _points_in_boxes_all,
    "points_in_boxes_cpu_forward": _points_in_boxes_cpu,
    "points_in_boxes_part_forward": _points_in_boxes_part,
    "roiaware_pool3d_backward": _roiaware_pool3d_backward,
    "roiaware_pool3d_forward": _roiaware_pool3d,
    "roipoint_pool3d_forward": _roipoint_pool3d,
}
