"""Non-maximum suppression, as MMCV's CPU kernels do it: same order, same comparisons."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mm2pl.ops.arguments import on_host, require, require_tensors, require_values

BLOCK = 256  # boxes compared with each other at a time
TILE = 32  # of these with all later ones near them: what that makes stays in the cache
SOME = 64  # boxes that soft-NMS compares with all others at a time

Floats = npt.NDArray[np.floating]
Integers = npt.NDArray[np.intp]
Booleans = npt.NDArray[np.bool_]
Weights = Callable[[Integers, Integers], Floats]
"""Boxes ``(n,)`` and others ``(m,)`` → what the first multiply the scores of the others by, ``(n, m)``."""


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
    sides = _Sides.of(boxes[order.to(boxes.device)], offset)

    def hits(one: Integers, other: Integers) -> Booleans:
        return sides.ious(one, other) > sides.area.dtype.type(iou_threshold)

    # Below 0 a threshold also drops boxes that are apart.
    beyond = 2 * offset if iou_threshold >= 0 else np.inf
    kept = suppress(sides.x1 - beyond, sides.x2 + beyond, hits)
    return order[torch.from_numpy(kept)].to(boxes.device)


class _Sides(NamedTuple):
    """Boxes by their sides, ``(N,)`` each."""

    x1: Floats
    y1: Floats
    x2: Floats
    y2: Floats
    area: Floats
    offset: int

    @classmethod
    def of(cls, boxes: Tensor, offset: int) -> _Sides:
        """Return the sides of boxes ``(N, 4)``."""
        x1, y1, x2, y2 = (np.ascontiguousarray(side) for side in on_host(boxes).T)
        return cls(x1, y1, x2, y2, (x2 - x1 + offset) * (y2 - y1 + offset), offset)

    def ious(self, one: Integers, other: Integers) -> Floats:
        """Return the IoU of boxes with others, ``(len(one), len(other))``, in MMCV's order of operations."""
        i = one[:, None]
        shared = _side(self.x1[i], self.x2[i], self.x1[other], self.x2[other], self.offset)
        shared *= _side(self.y1[i], self.y2[i], self.y1[other], self.y2[other], self.offset)
        union = self.area[i] + self.area[other]
        union -= shared
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.divide(shared, union, out=union)


def _side(low: Floats, high: Floats, lows: Floats, highs: Floats, offset: int) -> Floats:
    """Return how far boxes overlap along one axis: each with each other one."""
    side = np.minimum(high, highs)
    side -= np.maximum(low, lows)
    side += side.dtype.type(offset)
    return np.maximum(side, 0, out=side)


def best_first(scores: Tensor) -> Tensor:
    """Return the order of scores, on the CPU: MMCV sorts unstably, as the same torch does here; it decides ties."""
    return scores.detach().cpu().sort(descending=True)[1]


def suppress(
    low: Floats,
    high: Floats,
    hits: Callable[[Integers, Integers], Booleans],
    at_a_time: int = BLOCK,
) -> Integers:
    """Return which boxes stay: those that no better one hits that stays.

    Args:
        low: Where each box begins along x, best first; boxes that are apart there never hit each other.
        high: Where it ends.
        hits: Returns for positions ``(N,)`` and ``(M,)`` which hit each other, ``(N, M)``.
        at_a_time: Boxes that are compared with each other, those that will go among them.
    """
    alive = np.ones(len(low), dtype=bool)
    along_x = np.argsort(low)
    kept = []
    begin = 0
    while len(block := begin + np.flatnonzero(alive[begin:])[:at_a_time]):
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


def nms_match(dets: Tensor, iou_threshold: float) -> list[list[int]]:
    """Group boxes with the best one that they overlap.

    Args:
        dets: ``(N, 5)`` as x1, y1, x2, y2, score.
        iou_threshold: A box joins a better one if their IoU is at least this.

    Returns:
        list: Groups, best first; each begins with the box that stays.
    """
    require_tensors("nms_match", dets=(dets, ("N", 5)))
    require_values("nms_match", dets=dets)
    sides, left = _Sides.of(dets[:, :4], 0), best_first(dets[:, 4]).numpy()
    groups = []
    while len(left):
        joins = sides.ious(left[:SOME], left) >= sides.area.dtype.type(iou_threshold)
        taken = np.zeros(len(left), dtype=bool)
        for i, row in enumerate(joins):
            if not taken[i]:
                taken[i] = True
                own = row & ~taken
                own[:i] = False
                groups.append([int(left[i]), *left[own].tolist()])
                taken |= own
        left = left[~taken]
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
    sides, values = _Sides.of(boxes, offset), on_host(scores).copy()
    kind = values.dtype.type

    def weights(one: Integers, other: Integers) -> Floats:
        iou = sides.ious(one, other)
        if method == 2:
            # In float64, which gives the digits of C's expf; NumPy's own differs in the last one.
            gaussian: Floats = np.exp((-(iou * iou) / kind(sigma)).astype(np.float64)).astype(kind)
            return gaussian
        lowered = 1 - iou if method == 1 else np.zeros_like(iou)
        return np.where(iou >= kind(iou_threshold), lowered, kind(1))

    with np.errstate(divide="ignore", invalid="ignore"):
        kept = _kept_by_score(values.copy(), weights, kind(min_score))
        if kept is None:
            kept = _Lowering(values, weights, kind(min_score)).run()
    index = torch.tensor([box for box, _ in kept], dtype=torch.int64).to(boxes.device)
    new = torch.from_numpy(np.array([score for _, score in kept], dtype=kind)).to(boxes)
    return torch.cat([boxes.detach()[index], new[:, None]], 1), index


def _kept_by_score(
    scores: Floats, weights: Weights, min_score: np.floating
) -> list[tuple[int, np.floating]] | None:
    """Return the boxes that are kept and their scores, or None if that takes positions, as in :class:`_Lowering`.

    Where scores only fall, and no two are the greatest, positions decide nothing: a third of the time.
    """
    if not (min_score > 0 and len(scores) and 0 <= scores.min() <= scores.max() < np.inf):
        return None
    kept: list[tuple[int, np.floating]] = []
    left = np.arange(len(scores))
    rows: dict[int, Floats] = {}
    while True:
        best = int(scores.argmax())
        score = scores[best]
        if kept and score < min_score:
            return kept
        if best not in rows:
            if kept:
                stay = scores >= min_score
                left, scores = left[stay], scores[stay]
                best = int(scores.argmax())
            rows, lowers = _rows(scores, best, left, weights)
            if not lowers:
                return None
        scores[best] = 0
        if scores[scores.argmax()] == score:
            return None
        kept.append((int(left[best]), score))
        np.multiply(scores, rows[best], scores)


def _rows(
    scores: Floats, best: int, left: Integers, weights: Weights
) -> tuple[dict[int, Floats], bool]:
    """Return the weights of the boxes with the greatest scores, mostly the next, and whether all are of 0 to 1."""
    some = np.argsort(scores)[-SOME:]
    some[0] = best
    rows = weights(left[some], left)
    return dict(zip(some.tolist(), rows, strict=True)), bool(0 <= rows.min() <= rows.max() <= 1)


class _Lowering:
    """Scores that are lowered by what is kept, one box after the other.

    Equal scores are decided by position, so boxes change places as in MMCV's loop: the best one with the first of
    those that are left, the last one with one that goes.

    Args:
        scores: ``(N,)``; they are changed.
        weights: Of boxes on others.
        min_score: Boxes of lower scores go.

    Attributes:
        order: Boxes by position: those that are kept, then those that are left, up to ``end``.
        left: Boxes whose scores are in ``scores``; of those that have gone since, ``alive`` is false and the score 0.
        rows: Number in ``left`` → weights of that box, for those that are likely to be next.
    """

    def __init__(self, scores: Floats, weights: Weights, min_score: np.floating) -> None:
        self.scores, self.weights, self.min_score = scores, weights, min_score
        self.order, self.place = list(range(len(scores))), list(range(len(scores)))
        self.first, self.end = 0, len(scores)
        self.left, self.alive = np.arange(len(scores)), np.ones(len(scores), dtype=bool)
        self.rows: dict[int, Floats] = {}

    def run(self) -> list[tuple[int, np.floating]]:
        """Return the boxes that are kept, and their scores."""
        kept = []
        while self.first < self.end:
            kept.append(self.step())
        return kept

    def step(self) -> tuple[int, np.floating]:
        """Keep the best box, and lower the others; return it with its score."""
        best = self._best()
        if best not in self.rows:
            self._look_ahead()
            best = self._best()
        box = int(self.left[best])
        self._move(self.order[self.first], self.place[box])
        self._move(box, self.first)
        self.first += 1
        scores = self.scores
        score: np.floating = scores[best]
        scores[best], self.alive[best] = 0, False
        np.multiply(scores, self.rows[best], scores)
        low = scores < self.min_score
        low &= self.alive
        if low[low.argmax()]:
            self._drop(low.nonzero()[0])
        return box, score

    def _best(self) -> int:
        """Return the first box with the greatest score, as ``<`` finds it from the first one on."""
        scores = self.scores
        best = int(scores.argmax())
        if not scores[best] > 0:
            # What is gone has 0, and one without a number comes before all others.
            first = int((self.left == self.order[self.first]).argmax())
            scores = np.where(self.alive & ~np.isnan(scores), scores, -np.inf)
            best = int(scores.argmax())
            if np.isnan(self.scores[first]) or scores[best] == -np.inf:
                return first
        equal = (scores == scores[best]).nonzero()[0]
        if len(equal) == 1:
            return best
        return min(equal.tolist(), key=lambda number: self.place[self.left[number]])

    def _look_ahead(self) -> None:
        self.left, self.scores = self.left[self.alive], self.scores[self.alive]
        self.alive = np.ones(len(self.left), dtype=bool)
        self.rows, _ = _rows(self.scores, self._best(), self.left, self.weights)

    def _move(self, box: int, place: int) -> None:
        self.order[place], self.place[box] = box, place

    def _drop(self, numbers: Integers) -> None:
        """Fill the places of boxes that go with the last that stay."""
        self.scores[numbers], self.alive[numbers] = 0, False
        boxes = self.left[numbers].tolist()
        gone = set(boxes)
        for place in sorted(self.place[box] for box in boxes):
            while self.end > place and self.order[self.end - 1] in gone:
                self.end -= 1
            if place < self.end:
                self.end -= 1
                self._move(self.order[self.end], place)


def _check(operator: str, boxes: Tensor, scores: Tensor, offset: int) -> None:
    require_tensors(operator, boxes=(boxes, ("N", 4)), scores=(scores, ("N",)))
    fits = len(boxes) == len(scores)
    require(fits, operator, "scores", f"of shape {tuple(scores.shape)}", f"({len(boxes)},)")
    require_values(operator, boxes=boxes)
    require(offset in (0, 1), operator, "offset", offset, "0 or 1")
