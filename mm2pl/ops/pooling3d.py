"""Features of the points in boxes in space: by the cells of a box, or a number of them."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from mm2pl.ops.arguments import full_precision, of_kinds, require, require_tensors, widened
from mm2pl.ops.boxes3d import inside_of, local_of
from mm2pl.ops.indices import first_of_greatest, first_true, place_in_group

Three = int | tuple[int, int, int]


class Cells(NamedTuple):
    """The points in the cells of boxes.

    Attributes:
        cell: Of each point that is kept, over all boxes, ascending; ``(E,)``.
        point: Its row, ascending in each cell, ``(E,)``.
        place: How many are before it in its cell, ``(E,)``.
        size: Cells of a box along x, y, z.
    """

    cell: Tensor
    point: Tensor
    place: Tensor
    size: tuple[int, int, int]


def cells_of(rois: Tensor, pts: Tensor, size: tuple[int, int, int], most: int) -> Cells:
    """Return the points in the cells of boxes ``(N, 7)``: the first ``most`` of each."""
    box, point = inside_of(pts[None], rois[None])[0].T.nonzero(as_tuple=True)
    pts, rois = pts[point].detach(), rois[box].detach()
    x, y, _ = local_of(pts, rois)
    sides = (x + rois[:, 3] / 2, y + rois[:, 4] / 2, pts[:, 2] - rois[:, 2])
    cell = box
    for side, whole, count in zip(sides, rois[:, 3:6].T, size, strict=True):
        along = (side / (whole / count)).long().clamp(0, count - 1)
        cell = cell * count + along
    place, order = place_in_group(cell)
    order = order[place[order] < most]
    return Cells(cell[order], point[order], place[order], size)


def checked(
    name: str, rois: Tensor, pts: Tensor, pts_feature: Tensor, out_size: Three, most: int
) -> tuple[int, int, int]:
    """Return the cells of a box along x, y, z.

    Raises:
        ArgumentError: Shapes, types or values do not fit.
    """
    given = {"rois": (rois, ("N", 7)), "pts": (pts, ("P", 3))}
    require_tensors(name, **given)
    require_tensors(name, **given, pts_feature=(pts_feature, (len(pts), "C")))
    size = out_size if isinstance(out_size, tuple) else (out_size,) * 3
    fits = len(size) == 3 and all(isinstance(each, int) and each >= 1 for each in size)
    require(fits, name, "out_size", repr(out_size), "an integer of at least 1, or three: x, y, z")
    accepted = "an integer of at least 2: a cell keeps one point fewer"
    require(most >= 2, name, "max_pts_per_voxel", repr(most), accepted)
    return size


@of_kinds
def roiaware_pool3d(
    rois: Tensor,
    pts: Tensor,
    pts_feature: Tensor,
    out_size: Three,
    max_pts_per_voxel: int = 128,
    mode: str = "max",
) -> Tensor:
    """Return the greatest or the mean features of the points in each cell of each box.

    Args:
        rois: ``(N, 7)``: x, y, z of the middle of the bottom, sizes along x, y, z, and the angle around z.
        pts: ``(P, 3)``.
        pts_feature: ``(P, C)``.
        out_size: Cells of a box along x, y, z; or of each.
        max_pts_per_voxel: The first ones of these, less one, are looked at in each cell.
        mode: ``max`` or ``avg``.

    Returns:
        Tensor: ``(N, x, y, z, C)``; 0 in a cell without points.

    Raises:
        ArgumentError: Shapes, types or values do not fit.
    """
    name = "roiaware_pool3d"
    size = checked(name, rois, pts, pts_feature, out_size, max_pts_per_voxel)
    require(mode in ("max", "avg"), name, "mode", repr(mode), "max or avg")
    cells = cells_of(widened(rois), widened(pts), size, max_pts_per_voxel - 1)
    return pooled(cells, widened(pts_feature), len(rois), mode)[0].to(pts_feature.dtype)


def pooled(cells: Cells, features: Tensor, boxes: int, mode: str) -> tuple[Tensor, Tensor]:
    """Return features of cells, and which point each greatest one is of; -1 for none."""
    channels = features.shape[1]
    shape = (boxes, *cells.size, channels)
    count = boxes * cells.size[0] * cells.size[1] * cells.size[2]
    argmax = torch.full((count, channels), -1, device=features.device)
    out = features.new_zeros(count, channels)
    values = features[cells.point]
    if mode == "avg":
        number = torch.bincount(cells.cell, minlength=count).clamp(min=1)
        out = out.index_add(0, cells.cell, values) / number[:, None]
        return out.view(shape), argmax.view(shape)
    found, group = cells.cell.unique_consecutive(return_inverse=True)
    first = first_of_greatest(values, group, len(found))
    out = out.index_copy(0, found, values.gather(0, first))
    if len(found):
        argmax = argmax.index_copy(0, found, cells.point[first])
    return out.view(shape), argmax.view(shape)


@of_kinds
@full_precision
def roipoint_pool3d(
    points: Tensor, point_features: Tensor, boxes3d: Tensor, num_sampled_points: int = 512
) -> tuple[Tensor, Tensor]:
    """Return the first points in each box, with their features; again from the first one where there are fewer.

    Args:
        points: ``(B, N, 3)``.
        point_features: ``(B, N, C)``.
        boxes3d: ``(B, M, 7)``: x, y, z of the middle of the bottom, sizes along x, y, z, and the angle around z.
        num_sampled_points: Number S of points for each box, at least 1.

    Returns:
        tuple: ``(B, M, S, 3 + C)``, 0 for a box without points; 1 for such a box, else 0, ``(B, M)``, int32.

    Raises:
        ArgumentError: Shapes, types or values do not fit.
    """
    name = "roipoint_pool3d"
    require_tensors(name, points=(points, ("B", "N", 3)))
    batch, count = points.shape[:2]
    require_tensors(
        name,
        points=(points, ("B", "N", 3)),
        point_features=(point_features, (batch, count, "C")),
        boxes3d=(boxes3d, (batch, "M", 7)),
    )
    number = num_sampled_points
    require(number >= 1, name, "num_sampled_points", repr(number), "an integer of at least 1")
    inside = inside_of(points, boxes3d).transpose(1, 2)
    found = first_true(inside, number)  # (B, M, S)
    some = (found < count).sum(2, keepdim=True)
    again = torch.arange(number, device=points.device) % some.clamp(min=1)
    index = found.gather(2, again).clamp(max=max(count - 1, 0))
    both = torch.cat([points, point_features.to(points.dtype)], 2)
    empty = some[..., 0] == 0
    if not both.numel():
        return both.new_zeros(*index.shape, both.shape[2]), empty.int()
    row = torch.arange(batch, device=points.device)[:, None, None]
    return torch.where(empty[..., None, None], 0, both[row, index]), empty.int()
