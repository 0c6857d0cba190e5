"""Sets of points: their hulls against polygons, the smallest box around them, distances between two sets."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from mm2pl.ops.arguments import full_precision, require, require_tensors
from mm2pl.ops.polygons import TINY, hull, intersection, one_way, signed_area

CHUNK = 2**14
"""Pairs that are looked at at a time."""


@full_precision
def convex_iou(points: Tensor, polygons: Tensor) -> Tensor:
    """Return the IoU of the hull of each set of points with each convex polygon.

    Args:
        points: ``(N, 18)``: x and y of nine points.
        polygons: ``(K, 8)``: x and y of four corners in turn.

    Returns:
        Tensor: ``(N, K)``.

    Raises:
        ArgumentError: Shapes or types do not fit.
    """
    require_tensors("convex_iou", points=(points, ("N", 18)), polygons=(polygons, ("K", 8)))
    hulls = hull(points.double().view(-1, 9, 2))
    quads = one_way(polygons.double().view(-1, 4, 2))
    ious = [
        _shares(hulls[rows], quads[columns])[0]
        for rows, columns in _pairs(len(hulls), len(quads), points.device)
    ]
    return (
        torch.cat(ious).view(len(hulls), -1) if ious else points.new_zeros(len(hulls), len(quads))
    )


def _pairs(rows: int, columns: int, device: torch.device) -> list[tuple[Tensor, Tensor]]:
    index = torch.arange(rows * columns, device=device)
    return [
        (each.div(columns, rounding_mode="floor"), each % columns)
        for each in index.split(CHUNK)
        if len(each)
    ]


def _shares(hulls: Tensor, quads: Tensor) -> tuple[Tensor, Tensor]:
    """Return IoUs and unions of pairs of polygons; points on one line share nothing."""
    areas = signed_area(hulls), signed_area(quads)
    fits = (areas[0] > TINY) & (areas[1] > TINY)
    shared = torch.where(fits, intersection(hulls, quads), 0.0)
    union = areas[0] + areas[1] - shared
    return shared / torch.where(fits, union, 1.0), union


@full_precision
def convex_giou(points: Tensor, polygons: Tensor) -> Tensor:
    """Return the generalized IoU of the hull of each set of points with its polygon, differentiable in the points.

    Args:
        points: ``(N, 18)``: x and y of nine points.
        polygons: ``(N, 8)``: x and y of four corners in turn.

    Returns:
        Tensor: ``(N,)``.

    Raises:
        ArgumentError: Shapes or types do not fit.
    """
    require_tensors("convex_giou", points=(points, ("N", 18)))
    given = (polygons, (len(points), 8))
    require_tensors("convex_giou", points=(points, ("N", 18)), polygons=given)
    sets, quads = points.double().view(-1, 9, 2), polygons.double().view(-1, 4, 2)
    iou, union = _shares(hull(sets), one_way(quads))
    around = signed_area(hull(torch.cat([sets, quads], 1)))
    return iou - (around - union) / around.clamp(min=TINY)


@full_precision
def min_area_polygons(points: Tensor) -> Tensor:
    """Return the smallest rectangle around each set of points.

    Args:
        points: ``(N, 18)``: x and y of nine points.

    Returns:
        Tensor: ``(N, 8)``: x and y of four corners in turn.

    Raises:
        ArgumentError: The shape or type does not fit.
    """
    require_tensors("min_area_polygons", points=(points, ("N", 18)))
    corners = hull(points.double().view(-1, 9, 2))
    sides = corners.roll(-1, 1) - corners
    # One side of the smallest rectangle lies on the hull. Sides of no length repeat a corner, and have no angle.
    sides = torch.where((sides == 0).all(2, keepdim=True), sides.new_tensor([1.0, 0.0]), sides)
    angle = torch.atan2(sides[..., 1], sides[..., 0]).remainder(math.pi / 2)
    cos, sin = angle.cos(), angle.sin()
    turn = torch.stack([torch.stack([cos, sin], -1), torch.stack([-sin, cos], -1)], -2)
    turned = turn @ corners.transpose(1, 2)[:, None]  # (N, 9 angles, 2, 9 points)
    low, high = turned.amin(3), turned.amax(3)
    best = (high - low).prod(2).argmin(1)
    row = torch.arange(len(points), device=points.device)
    (x1, y1), (x2, y2), turn = low[row, best].T, high[row, best].T, turn[row, best]
    boxes = torch.stack([x2, y1, x1, y1, x1, y2, x2, y2], 1).view(-1, 4, 2)
    return (boxes @ turn).reshape(-1, 8)


@full_precision
def points_in_polygons(points: Tensor, polygons: Tensor) -> Tensor:
    """Return 1 where a point lies in a quadrilateral, else 0; on the border MMCV's walk decides.

    Args:
        points: ``(N, 2)``.
        polygons: ``(M, 8)``: x and y of four corners in turn.

    Returns:
        Tensor: ``(N, M)``, of the points' dtype.

    Raises:
        ArgumentError: Shapes or types do not fit.
    """
    name = "points_in_polygons"
    require_tensors(name, points=(points, ("N", 2)), polygons=(polygons, ("M", 8)))
    x, y = points[:, :1], points[:, 1:]
    corners = polygons.view(-1, 4, 2)
    odd = torch.zeros(len(points), len(polygons), dtype=torch.bool, device=points.device)
    walking = ~odd
    for i in range(4):
        (sx, sy), (tx, ty) = corners[:, i].T, corners[:, i - 1].T
        meets = (y >= torch.minimum(sy, ty)) & (y <= torch.maximum(sy, ty))
        corner = ((sx == x) & (sy == y)) | ((tx == x) & (ty == y))
        crosses = meets & ((sy < y) != (ty < y)) & ~corner
        at = sx + (y - sy) * (tx - sx) / torch.where(sy == ty, torch.ones_like(sy), ty - sy)
        # On a corner or a side the walk ends with what it has counted.
        walking = walking & ~(meets & corner) & ~(crosses & (at == x))
        odd = odd ^ (walking & crosses & (at > x))
    return odd.to(points.dtype)


@full_precision
def chamfer_distance(points1: Tensor, points2: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the squared distance of each point to the nearest of the other set, both ways.

    Args:
        points1: ``(B, N, 2)``.
        points2: ``(B, M, 2)``.

    Returns:
        tuple: Distances ``(B, N)`` and ``(B, M)``; which point was the nearest, int64, as these.

    Raises:
        ArgumentError: Shapes or types do not fit.
    """
    name, one = "chamfer_distance", (points1, ("B", "N", 2))
    require_tensors(name, points1=one)
    require_tensors(name, points1=one, points2=(points2, (len(points1), "M", 2)))
    for argument, points in (("points1", points1), ("points2", points2)):
        require(points.shape[1] > 0, name, argument, "a set of no points", "one of at least one")
    index1, index2 = _nearest(points1, points2), _nearest(points2, points1)
    return (
        _distances(points1, points2, index1),
        _distances(points2, points1, index2),
        index1,
        index2,
    )


def _distances(points: Tensor, others: Tensor, index: Tensor) -> Tensor:
    return (points - others.gather(1, index[..., None].expand_as(points))).square().sum(2)


def _nearest(points: Tensor, others: Tensor) -> Tensor:
    """Return which of the others each point is nearest to, ``(B, N)``, int64; the first of equals."""
    points, others = points.detach(), others.detach()
    found = [
        (part[:, :, None] - others[:, None]).square().sum(3).argmin(2)
        for part in points.split(max(CHUNK // others.shape[1], 1), 1)
    ]
    return torch.cat(found, 1)
