"""Boxes in space: the points in them, how far they overlap seen from above, and suppression."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from mm2pl.ops.arguments import full_precision, of_kinds, on_host, require_tensors, widened
from mm2pl.ops.nms import Booleans, Integers, best_first, suppress
from mm2pl.ops.rotated_boxes import box_iou_rotated

CHUNK = 2**21
"""Pairs of a point and a box that are looked at at a time."""
FROM_ABOVE = [0, 1, 3, 4, 6]
TINY = 1e-8
"""Least area that an overlap is divided by, as in MMCV."""


def local_of(points: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return where points lie along the sides of boxes, from the middle, and whether they lie inside.

    Args:
        points: ``(…, 3)``.
        boxes: ``(…, 7)``: x, y, z of the middle of the bottom, sizes along x, y, z, and the angle around z.
    """
    x, y, z = points.unbind(-1)
    cx, cy, bottom, along, across, height, angle = boxes.unbind(-1)
    cos, sin = (-angle).cos(), (-angle).sin()
    x, y = x - cx, y - cy
    x, y = x * cos - y * sin, x * sin + y * cos
    # A point on the top or the bottom lies inside, one on a side does not, as in MMCV.
    inside = (z - (bottom + height / 2)).abs() <= height / 2
    return x, y, inside & (x.abs() < along / 2) & (y.abs() < across / 2)


def inside_of(points: Tensor, boxes: Tensor) -> Tensor:
    """Return which points lie in which boxes: ``(B, P, 3)`` and ``(B, N, 7)`` → ``(B, P, N)``."""
    rows = max(CHUNK // max(len(boxes) * boxes.shape[1], 1), 1)
    parts = points.detach().split(rows, 1)
    return torch.cat([local_of(part[:, :, None], boxes.detach()[:, None])[2] for part in parts], 1)


def _checked(name: str, points: Tensor, boxes: Tensor) -> Tensor:
    given = (points, ("B", "P", 3))
    require_tensors(name, points=given)
    require_tensors(name, points=given, boxes=(boxes, (len(points), "N", 7)))
    return inside_of(widened(points), widened(boxes))


@of_kinds
def points_in_boxes_part(points: Tensor, boxes: Tensor) -> Tensor:
    """Return the first box that each point lies in.

    Args:
        points: ``(B, P, 3)``.
        boxes: ``(B, N, 7)``: x, y, z of the middle of the bottom, sizes along x, y, z, and the angle around z.

    Returns:
        Tensor: ``(B, P)``, int32; -1 for none.

    Raises:
        ArgumentError: Shapes or types do not fit.
    """
    inside = _checked("points_in_boxes_part", points, boxes)
    count = inside.shape[2]
    if not count:
        return torch.full(inside.shape[:2], -1, dtype=torch.int32, device=inside.device)
    first = inside.to(torch.uint8).argmax(2)
    return torch.where(inside.any(2), first, -1).int()


@of_kinds
def points_in_boxes_all(points: Tensor, boxes: Tensor) -> Tensor:
    """Return 1 where a point lies in a box, else 0: ``(B, P, N)``, int32; as :func:`points_in_boxes_part`."""
    return _checked("points_in_boxes_all", points, boxes).int()


@of_kinds
@full_precision
def boxes_overlap_bev(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    """Return the areas that boxes share, seen from above. Differentiable.

    MMCV's kernel also counts corners that lie up to 0.01 outside of the other box; here it is the area.

    Args:
        boxes1: ``(N, 7)``: x, y, z, sizes along x, y, z, and the angle around z.
        boxes2: ``(M, 7)``.

    Returns:
        Tensor: ``(N, M)``.

    Raises:
        ArgumentError: Shapes or types do not fit.
    """
    name = "boxes_overlap_bev"
    require_tensors(name, boxes1=(boxes1, ("N", 7)), boxes2=(boxes2, ("M", 7)))
    one, other = (each.double()[:, FROM_ABOVE] for each in (boxes1, boxes2))
    iou = box_iou_rotated(one, other)
    areas = (one[:, 2] * one[:, 3])[:, None] + other[:, 2] * other[:, 3]
    return (iou * areas / (1 + iou)).to(boxes1.dtype)


@of_kinds
def nms3d(boxes: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    """Keep the best of boxes that overlap, seen from above.

    Args:
        boxes: ``(N, 7)``: x, y, z, sizes along x, y, z, and the angle around z.
        scores: ``(N,)``.
        iou_threshold: A box goes if its IoU with a better one is greater.

    Returns:
        Tensor: Indices of the boxes that stay, int64, best first.

    Raises:
        ArgumentError: Shapes or types do not fit.
    """
    return _keep("nms3d", boxes, scores, iou_threshold, turned)


@of_kinds
def nms3d_normal(boxes: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    """Keep the best of boxes that overlap, seen from above as if their angles were 0; as :func:`nms3d`."""
    return _keep("nms3d_normal", boxes, scores, iou_threshold, upright)


Suppress = Callable[[Tensor, float], Integers]


def _keep(name: str, boxes: Tensor, scores: Tensor, threshold: float, of: Suppress) -> Tensor:
    require_tensors(name, boxes=(boxes, ("N", 7)), scores=(scores, (len(boxes),)))
    order = best_first(scores)
    return order[torch.from_numpy(of(boxes[order.to(boxes.device)], threshold))].to(boxes.device)


def turned(boxes: Tensor, threshold: float) -> Integers:
    """Return which boxes stay, of boxes by their scores."""
    above = widened(boxes.detach().cpu()).double()[:, FROM_ABOVE]

    def hits(one: Integers, other: Integers) -> Booleans:
        first, second = above[torch.from_numpy(one)], above[torch.from_numpy(other)]
        found: Booleans = (box_iou_rotated(first, second) > threshold).numpy()
        return found

    reach = np.hypot(*above[:, 2:4].T.numpy()) / 2
    return suppress(*_ends(above[:, 0].numpy(), reach, threshold), hits)


def upright(boxes: Tensor, threshold: float) -> Integers:
    """Return which boxes stay, of boxes by their scores, with angles of 0."""
    x, y, width, height = on_host(boxes).T[[0, 1, 3, 4]]
    area = width * height

    def hits(one: Integers, other: Integers) -> Booleans:
        # In the order of operations of MMCV's kernel.
        i = one[:, None]
        shared = _shared(x, width, i, other) * _shared(y, height, i, other)
        union = np.maximum(area[i] + area[other] - shared, area.dtype.type(TINY))
        return shared / union > area.dtype.type(threshold)

    return suppress(*_ends(x, width / 2, threshold), hits)


def _ends(middle: np.ndarray, reach: np.ndarray, threshold: float) -> tuple[np.ndarray, np.ndarray]:
    # Below 0 a threshold also drops boxes that are apart.
    reach = reach if threshold >= 0 else np.full_like(reach, np.inf)
    return middle - reach, middle + reach


def _shared(middle: np.ndarray, size: np.ndarray, i: Integers, j: Integers) -> np.ndarray:
    """Return how far boxes overlap along one axis."""
    low = np.maximum(middle[i] - size[i] / 2, middle[j] - size[j] / 2)
    high = np.minimum(middle[i] + size[i] / 2, middle[j] + size[j] / 2)
    return np.maximum(high - low, 0)
