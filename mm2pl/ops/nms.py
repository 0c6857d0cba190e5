"""Non-maximum suppression, as MMCV's CPU kernels do it: same order, same comparisons."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mm2pl.ops.arguments import on_host, require, require_tensors

BLOCK = 256  # boxes compared with each other at a time
TILE = 32  # of these with all later ones near them: what that makes stays in the cache

Floats = npt.NDArray[np.floating]
Integers = npt.NDArray[np.intp]
Booleans = npt.NDArray[np.bool_]


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float, offset: int = 0) -> Tensor:
    """Keep the best of boxes that overlap.

    Args:
        boxes: ``(N, 4)`` as x1, y1, x2, y2.
        scores: ``(N,)``.
        iou_threshold: A box goes if its IoU with a better one is greater.
        offset: Added to each width and height: 0 or 1.

    Returns:
        Tensor: Indices of the boxes that stay, int64, best first.

    Raises:
        ArgumentError: An argument has another shape or type.
    """
    _check("nms", boxes, scores, offset)
    order = best_first(scores)
    x1, y1, x2, y2 = (
        np.ascontiguousarray(side) for side in on_host(boxes[order.to(boxes.device)]).T
    )
    area = (x2 - x1 + offset) * (y2 - y1 + offset)

    def hits(one: Integers, other: Integers) -> Booleans:
        # In the order of operations of MMCV's CPU kernel.
        i = one[:, None]
        shared = _side(x1[i], x2[i], x1[other], x2[other], offset)
        shared *= _side(y1[i], y2[i], y1[other], y2[other], offset)
        union = area[i] + area[other]
        union -= shared
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.divide(shared, union, out=union) > area.dtype.type(iou_threshold)

    # Below 0 a threshold also drops boxes that are apart.
    beyond = 2 * offset if iou_threshold >= 0 else np.inf
    return order[torch.from_numpy(suppress(x1 - beyond, x2 + beyond, hits))].to(boxes.device)


def _side(low: Floats, high: Floats, lows: Floats, highs: Floats, offset: int) -> Floats:
    """Return how far boxes overlap along one axis: each with each other one."""
    side = np.minimum(high, highs)
    side -= np.maximum(low, lows)
    side += side.dtype.type(offset)
    return np.maximum(side, 0, out=side)


def best_first(scores: Tensor) -> Tensor:
    """Return the order of scores, on the CPU: MMCV sorts unstably, as the same torch does here; it decides ties."""
    return scores.detach().cpu().sort(descending=True)[1]


def suppress(low: Floats, high: Floats, hits: Callable[[Integers, Integers], Booleans]) -> Integers:
    """Return which boxes stay: those that no better one hits that stays.

    Args:
        low: Where each box begins along x, best first; boxes that are apart there never hit each other.
        high: Where it ends.
        hits: Returns for positions ``(N,)`` and ``(M,)`` which hit each other, ``(N, M)``.
    """
    alive = np.ones(len(low), dtype=bool)
    along_x = np.argsort(low)
    kept = []
    begin = 0
    while len(block := begin + np.flatnonzero(alive[begin:])[:BLOCK]):
        begin = int(block[-1]) + 1
        within = np.triu(hits(block, block), 1)
        for i in np.flatnonzero(within.any(1)):
            if alive[block[i]]:
                alive[block[within[i]]] = False
        block = block[alive[block]]
        kept.append(block)
        along_x = along_x[alive[along_x] & (along_x >= begin)]
        starts, reached = low[along_x], np.fmax.accumulate(high[along_x])
        block = block[np.argsort(low[block])]
        for tile in np.split(block, range(TILE, len(block), TILE)):
            # A box without a number hits nothing; it must not widen or empty the others' range.
            first = np.searchsorted(reached, np.fmin.reduce(low[tile]), "right")
            last = np.searchsorted(starts, np.fmax.reduce(high[tile]), "left")
            others = along_x[first:last]
            alive[others[hits(tile, others).any(0)]] = False
    return np.concatenate(kept) if kept else along_x


def overlaps(one: Tensor, other: Tensor) -> Tensor:
    """Return the IoU of each box with each other one, ``(N, M)``, in the order of operations of MMCV's CPU kernel."""
    area_of_one, area_of_other = (
        (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]) for boxes in (one, other)
    )
    first = torch.maximum(one[:, None, :2], other[None, :, :2])
    last = torch.minimum(one[:, None, 2:], other[None, :, 2:])
    sides = (last - first).clamp(min=0)
    shared = sides[..., 0] * sides[..., 1]
    return shared / (area_of_one[:, None] + area_of_other - shared)


def nms_match(dets: Tensor, iou_threshold: float) -> list[list[int]]:
    """Group boxes with the best one that they overlap.

    Args:
        dets: ``(N, 5)`` as x1, y1, x2, y2, score.
        iou_threshold: A box joins a better one if their IoU is at least this.

    Returns:
        list: Groups, best first; each begins with the box that stays.
    """
    require_tensors("nms_match", dets=(dets, ("N", 5)))
    order = best_first(dets[:, 4])
    boxes, groups = torch.from_numpy(on_host(dets))[:, :4], []
    while len(order):
        best, rest = order[:1], order[1:]
        joins = overlaps(boxes[best], boxes[rest])[0] >= iou_threshold
        groups.append([*best.tolist(), *rest[joins].tolist()])
        order = rest[~joins]
    return groups


def soft_nms(
    boxes: Tensor,
    scores: Tensor,
    iou_threshold: float,
    sigma: float = 0.5,
    min_score: float = 1e-3,
    method: int = 1,
    offset: int = 0,
) -> tuple[Tensor, Tensor]:
    """Lower the scores of boxes that overlap a better one, in place of dropping them.

    Args:
        boxes: ``(N, 4)``.
        scores: ``(N,)``.
        iou_threshold: The IoU from which a score is lowered; ``method`` 2 lowers all.
        sigma: Width of the Gaussian.
        min_score: Boxes of lower scores go.
        method: 0 drops, 1 is linear, 2 Gaussian.
        offset: As in :func:`nms`.

    Returns:
        tuple: Boxes with their new scores, ``(M, 5)``, and their indices, best first.
    """
    _check("softnms", boxes, scores, offset)
    require(method in (0, 1, 2), "softnms", "method", method, "0, 1 or 2")
    rows = on_host(torch.cat([boxes, scores[:, None]], 1)).copy()
    area = (rows[:, 2] - rows[:, 0] + offset) * (rows[:, 3] - rows[:, 1] + offset)
    index = np.arange(len(rows))
    i, end = 0, len(rows)
    while i < end:
        # Equal scores are decided by position, so elements change places as in MMCV's loop.
        best = i + int(rows[i:end, 4].argmax())
        for values in (rows, area, index):
            values[[i, best]] = values[[best, i]]
        later = slice(i + 1, end)
        iou = _iou_with(rows[i], area[i], rows[later], area[later], offset)
        rows[later, 4] *= _weights(iou, iou_threshold, sigma, method)
        end = i + 1 + _drop(rows[later, 4] < min_score, rows[later], area[later], index[later])
        i += 1
    dets = torch.from_numpy(rows[:end]).to(boxes)
    return dets, torch.from_numpy(index[:end]).to(boxes.device)


def _iou_with(box: Floats, area: Floats, others: Floats, areas: Floats, offset: int) -> Floats:
    first, last = np.maximum(box[:2], others[:, :2]), np.minimum(box[2:4], others[:, 2:4])
    sides = np.maximum(last - first + offset, 0).astype(others.dtype)
    shared = sides[:, 0] * sides[:, 1]
    with np.errstate(divide="ignore", invalid="ignore"):
        iou: Floats = shared / (area + areas - shared)
    return iou


def _weights(iou: Floats, iou_threshold: float, sigma: float, method: int) -> Floats:
    kind = iou.dtype.type
    if method == 2:
        gaussian: Floats = np.exp(-(iou * iou) / kind(sigma))
        return gaussian
    lowered = 1 - iou if method == 1 else np.zeros_like(iou)
    return np.where(iou >= kind(iou_threshold), lowered, kind(1))


def _drop(goes: npt.NDArray[np.bool_], *values: npt.NDArray[np.generic]) -> int:
    """Fill the places of what goes with the last that stay; return how many stay."""
    stay = int((~goes).sum())
    holes = np.flatnonzero(goes[:stay])
    fillers = stay + np.flatnonzero(~goes[stay:])[::-1]
    for array in values:
        array[holes] = array[fillers]
    return stay


def _check(operator: str, boxes: Tensor, scores: Tensor, offset: int) -> None:
    require_tensors(operator, boxes=(boxes, ("N", 4)), scores=(scores, ("N",)))
    fits = len(boxes) == len(scores)
    require(fits, operator, "scores", f"of shape {tuple(scores.shape)}", f"({len(boxes)},)")
    require(offset in (0, 1), operator, "offset", offset, "0 or 1")
