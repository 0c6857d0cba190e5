"""IoU and suppression of rotated boxes and of quadrilaterals."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from mm2pl.ops.arguments import require, require_one, require_tensors, require_values
from mm2pl.ops.nms import Booleans, Integers, best_first, suppress
from mm2pl.ops.polygons import TINY, intersection, one_way, signed_area

FEW = 64
"""Boxes that NMS compares with each other at a time: an IoU costs 100 times that of upright boxes."""
CHUNK = 2**14
"""Pairs whose IoU is computed at a time."""


def corners_of_rotated(boxes: Tensor) -> Tensor:
    """Return the corners of boxes ``(…, 5)``, x, y, width, height, angle: ``(…, 4, 2)``."""
    centre, size, angle = boxes[..., None, :2], boxes[..., 2:4], boxes[..., 4]
    cos, sin = angle.cos(), angle.sin()
    along = torch.stack([cos, sin], -1) * size[..., :1] / 2
    down = torch.stack([-sin, cos], -1) * size[..., 1:] / 2
    return centre + torch.stack([-along - down, along - down, along + down, down - along], -2)


def box_iou_rotated(
    boxes1: Tensor, boxes2: Tensor, mode: str = "iou", aligned: bool = False
) -> Tensor:
    """Return how far rotated boxes overlap.

    Args:
        boxes1: ``(N, 5)``: x, y, width, height, angle.
        boxes2: ``(M, 5)``.
        mode: ``iou``, or ``iof`` for the share of the first one.
        aligned: Whether row i is compared with row i only.

    Returns:
        Tensor: ``(N, M)``, or ``(N,)``.

    Raises:
        ArgumentError: An argument has another shape, type or value.
    """
    return _overlaps("box_iou_rotated", (boxes1, boxes2), 5, corners_of_rotated, mode, aligned)


def box_iou_quadri(
    boxes1: Tensor, boxes2: Tensor, mode: str = "iou", aligned: bool = False
) -> Tensor:
    """Return how far convex quadrilaterals overlap.

    MMCV's kernel tests whether a corner lies in a quadrilateral as if that were a rectangle, so its result differs
    for others; here it is the IoU.

    Args:
        boxes1: ``(N, 8)``: x and y of four corners in turn.
        boxes2: ``(M, 8)``.
        mode: ``iou``, or ``iof`` for the share of the first one.
        aligned: Whether row i is compared with row i only.

    Returns:
        Tensor: ``(N, M)``, or ``(N,)``.

    Raises:
        ArgumentError: An argument has another shape, type or value.
    """
    return _overlaps("box_iou_quadri", (boxes1, boxes2), 8, _corners, mode, aligned)


def _corners(boxes: Tensor) -> Tensor:
    return one_way(boxes.unflatten(-1, (4, 2)))


def _overlaps(
    name: str,
    boxes: tuple[Tensor, Tensor],
    width: int,
    corners: Callable[[Tensor], Tensor],
    mode: str,
    aligned: bool,
) -> Tensor:
    require_tensors(name, boxes1=(boxes[0], ("N", width)), boxes2=(boxes[1], ("M", width)))
    require_values(name, boxes1=boxes[0])
    require(mode in ("iou", "iof"), name, "mode", repr(mode), "iou or iof")
    first, second = (corners(each.double()) for each in boxes)
    if aligned:
        fits = len(first) == len(second)
        require(fits, name, "boxes2", f"of {len(second)} rows", f"of {len(first)}, as boxes1")
        index = torch.arange(len(first), device=first.device)
        return _of_pairs(first, second, index, index, mode).to(boxes[0].dtype)
    rows, columns = _near(first, second)
    ious = first.new_zeros(len(first), len(second))
    values = _of_pairs(first, second, rows, columns, mode)
    return ious.index_put((rows, columns), values).to(boxes[0].dtype)


def _near(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Return the pairs whose upright hulls meet."""
    (low, high), (low2, high2) = ((each.amin(1), each.amax(1)) for each in (first, second))
    meets = (low[:, None] <= high2) & (low2 <= high[:, None])
    rows, columns = meets.all(2).nonzero(as_tuple=True)
    return rows, columns


def _of_pairs(first: Tensor, second: Tensor, rows: Tensor, columns: Tensor, mode: str) -> Tensor:
    areas = signed_area(first), signed_area(second)
    parts = []
    for i, j in zip(rows.split(CHUNK), columns.split(CHUNK), strict=True):
        shared = intersection(first[i], second[j])
        whole = areas[0][i] + areas[1][j] - shared if mode == "iou" else areas[0][i]
        fits = (areas[0][i] >= TINY) & (areas[1][j] >= TINY)
        parts.append(torch.where(fits, shared / torch.where(fits, whole, 1.0), 0.0))
    return torch.cat(parts)


def nms_rotated(
    boxes: Tensor, scores: Tensor, iou_threshold: float, labels: Tensor | None = None
) -> Tensor:
    """Keep the best of rotated boxes that overlap.

    Args:
        boxes: ``(N, 5)``: x, y, width, height, angle.
        scores: ``(N,)``.
        iou_threshold: A box goes if its IoU with a better one is at least this.
        labels: ``(N,)``; boxes of different ones leave each other alone.

    Returns:
        Tensor: Indices of the boxes that stay, int64, best first.

    Raises:
        ArgumentError: An argument has another shape or type.
    """
    return _keep("nms_rotated", boxes, 5, corners_of_rotated, scores, iou_threshold, labels)


def nms_quadri(
    boxes: Tensor, scores: Tensor, iou_threshold: float, labels: Tensor | None = None
) -> Tensor:
    """Keep the best of convex quadrilaterals that overlap; as :func:`nms_rotated`.

    ``boxes`` is ``(N, 8)``: x and y of the four corners, one after the other.
    """
    return _keep("nms_quadri", boxes, 8, _corners, scores, iou_threshold, labels)


def _keep(
    name: str,
    boxes: Tensor,
    width: int,
    corners: Callable[[Tensor], Tensor],
    scores: Tensor,
    iou_threshold: float,
    labels: Tensor | None,
) -> Tensor:
    require_tensors(name, boxes=(boxes, ("N", width)))
    require_tensors(name, boxes=(boxes, ("N", width)), scores=(scores, (len(boxes),)))
    require_values(name, boxes=boxes)
    if labels is not None:
        fits = isinstance(labels, Tensor) and labels.shape == scores.shape
        given = f"of shape {tuple(labels.shape)}" if isinstance(labels, Tensor) else repr(labels)
        require(fits, name, "labels", given, f"({len(boxes)},)")
        require_one(name, "device", boxes=boxes, labels=labels)
    order = best_first(scores)
    polygons = corners(boxes.detach().cpu().double()[order])
    own = None if labels is None else labels.detach().cpu()[order]

    def hits(one: Integers, other: Integers) -> Booleans:
        i, j = torch.from_numpy(one), torch.from_numpy(other)
        first, second = polygons[i], polygons[j]
        rows, columns = _near(first, second)
        if one is other:
            later = columns > rows
            rows, columns = rows[later], columns[later]
        ious = first.new_zeros(len(one), len(other))
        ious[rows, columns] = _of_pairs(first, second, rows, columns, "iou")
        found = ious >= iou_threshold
        if own is not None:
            found &= own[i][:, None] == own[j]
        result: Booleans = found.numpy()
        return result

    # From 0 on a threshold drops boxes that are apart too.
    beyond = 0 if iou_threshold > 0 else np.inf
    low, high = polygons[..., 0].amin(1).numpy() - beyond, polygons[..., 0].amax(1).numpy() + beyond
    return order[torch.from_numpy(suppress(low, high, hits, FEW))].to(boxes.device)


def sort_vertices(vertices: Tensor, mask: Tensor) -> Tensor:
    """Order the corners of intersections around the origin, for a sum over a closed border.

    Args:
        vertices: ``(B, N, K, 2)``, relative to the middle of the intersection; K > 8, the corners of both boxes first.
        mask: Which of them are corners of the intersection, ``(B, N, K)``.

    Returns:
        Tensor: ``(B, N, 9)``, int64: up to eight different corners by their angle, the first one again, then one
        that is none. Fewer than three are none.

    Raises:
        ArgumentError: Shapes or types do not fit.
    """
    name = "diff_iou_rotated_sort_vertices"
    require_tensors(name, vertices=(vertices, ("B", "N", "K", 2)))
    fits = isinstance(mask, Tensor) and mask.dtype == torch.bool
    fits = fits and mask.shape == vertices.shape[:3] and mask.shape[2] > 8
    given = f"{mask.dtype} {tuple(mask.shape)}" if isinstance(mask, Tensor) else repr(mask)
    require(fits, name, "mask", given, "bool (B, N, K) with K > 8")
    require_one(name, "device", vertices=vertices, mask=mask)
    vertices = vertices.detach()
    angle = torch.atan2(vertices[..., 1], vertices[..., 0])
    angle = torch.where(angle < 0, angle + 2 * torch.pi, angle)
    order = angle.masked_fill(~mask, torch.inf).argsort(dim=2, stable=True)
    sorted_ = vertices.gather(2, order[..., None].expand_as(vertices))
    step = (sorted_ - sorted_.roll(1, 2)).abs().amax(3)
    size = (vertices * mask[..., None]).abs().amax((2, 3))[..., None]
    # Boxes that share corners have them several times; eight different ones are the most.
    valid = mask.gather(2, order) & (
        (step > 1e-6 * size) | (torch.arange(step.shape[2]) == 0).to(mask)
    )
    place = torch.where(valid, valid.cumsum(2) - 1, 9).clamp(max=9)
    count = valid.sum(2, keepdim=True).clamp(max=8)
    found = order.new_zeros(*order.shape[:2], 10).scatter(2, place, order)[..., :9]
    # The first that is not a corner of a box, as those have a gradient.
    none = 8 + mask[..., 8:].to(torch.uint8).argmin(2, keepdim=True)
    at = torch.arange(9, device=mask.device)
    found = torch.where(at == count, found[..., :1], torch.where(at < count, found, none))
    return torch.where(count < 3, none, found)
