"""Non-maximum suppression, as MMCV's CPU kernels do it: same order, same comparisons."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mm2pl.ops.arguments import require, require_tensors

BLOCK = 256  # boxes compared with each other at a time

Floats = npt.NDArray[np.floating]


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
    # MMCV sorts unstably, which decides between equal scores; so does this sort of the same torch.
    order = scores.detach().cpu().sort(descending=True)[1]
    sorted_boxes = boxes.detach().cpu()[order]
    kept = _keep(sorted_boxes, iou_threshold, offset)
    return order[kept].to(boxes.device)


def _keep(boxes: Tensor, iou_threshold: float, offset: int) -> Tensor:
    """Return which of sorted boxes stay."""
    alive = torch.arange(len(boxes))
    kept = []
    while len(alive):
        block, rest = alive[:BLOCK], alive[BLOCK:]
        within = (overlaps(boxes[block], boxes[block], offset) > iou_threshold).numpy()
        stays = np.ones(len(block), dtype=bool)
        for i in range(len(block)):
            if stays[i]:
                stays[i + 1 :] &= ~within[i, i + 1 :]
        block = block[torch.from_numpy(stays)]
        kept.append(block)
        goes = overlaps(boxes[block], boxes[rest], offset) > iou_threshold
        alive = rest[~goes.any(0)]
    return torch.cat(kept) if kept else alive


def overlaps(one: Tensor, other: Tensor, offset: int = 0) -> Tensor:
    """Return the IoU of each box with each other one, ``(N, M)``, in the order of operations of MMCV's CPU kernel."""
    area_of_one, area_of_other = (
        (boxes[:, 2] - boxes[:, 0] + offset) * (boxes[:, 3] - boxes[:, 1] + offset)
        for boxes in (one, other)
    )
    first = torch.maximum(one[:, None, :2], other[None, :, :2])
    last = torch.minimum(one[:, None, 2:], other[None, :, 2:])
    sides = (last - first + offset).clamp(min=0)
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
    dets = dets.detach().cpu()
    order = dets[:, 4].sort(descending=True)[1]
    boxes, groups = dets[:, :4], []
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
    rows = torch.cat([boxes, scores[:, None]], 1).detach().cpu().numpy().copy()
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
