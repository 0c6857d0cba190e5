"""Polygons, sets of points and groups of pixels as slow loops from their definitions, to compare with."""

from __future__ import annotations

import math
from collections import deque
from itertools import product
from typing import Any

import torch
from torch import Tensor

Point = tuple[float, float]


def side(a: Point, b: Point, p: Point) -> float:
    return (b[0] - a[0]) * (p[1] - a[1]) - (b[1] - a[1]) * (p[0] - a[0])


def area(polygon: list[Point]) -> float:
    return (
        sum(side((0, 0), a, b) for a, b in zip(polygon, polygon[1:] + polygon[:1], strict=True)) / 2
    )


def forward(polygon: list[Point]) -> list[Point]:
    return polygon if area(polygon) >= 0 else polygon[::-1]


def shared(one: list[Point], other: list[Point]) -> float:
    """Cut a convex polygon by the sides of another, one after the other."""
    left, other = forward(one), forward(other)
    for a, b in zip(other, other[1:] + other[:1], strict=True):
        cut: list[Point] = []
        for p, q in zip(left, left[1:] + left[:1], strict=True):
            s, t = side(a, b, p), side(a, b, q)
            if s >= 0:
                cut.append(p)
            if s * t < 0:
                cut.append((p[0] + (q[0] - p[0]) * s / (s - t), p[1] + (q[1] - p[1]) * s / (s - t)))
        left = cut
    return area(left) if left else 0.0


def corners(box: list[float]) -> list[Point]:
    if len(box) != 5:
        return list(zip(box[::2], box[1::2], strict=True))
    x, y, wide, tall, angle = box
    cos, sin = math.cos(angle), math.sin(angle)
    return [
        (x + a * wide * cos - b * tall * sin, y + a * wide * sin + b * tall * cos)
        for a, b in ((-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5))
    ]


def iou(one: list[Point], other: list[Point], mode: str = "iou") -> float:
    first, second, both = abs(area(one)), abs(area(other)), shared(one, other)
    if min(first, second) < 1e-14:
        return 0.0
    return both / (first + second - both if mode == "iou" else first)


def ious(one: Tensor, other: Tensor, mode: str) -> Tensor:
    rows = [[iou(corners(a), corners(b), mode) for b in other.tolist()] for a in one.tolist()]
    return torch.tensor(rows, dtype=torch.float64)


def nms(boxes: Tensor, scores: Tensor, threshold: float, labels: list[int]) -> list[int]:
    kept: list[int] = []
    for i in scores.sort(descending=True)[1].tolist():
        own = corners(boxes[i].tolist())
        if all(
            labels[i] != labels[j] or iou(corners(boxes[j].tolist()), own) < threshold for j in kept
        ):
            kept.append(i)
    return kept


def hull(points: list[Point]) -> list[Point]:
    """Walk around from the lowest point, always to the one that has all others on its left."""
    begin = min(points, key=lambda p: (p[1], p[0]))
    found = [begin]
    while True:
        here, best = found[-1], None
        for p in points:
            if p == here:
                continue
            turn = 0.0 if best is None else side(here, best, p)
            if (
                best is None
                or turn < 0
                or (turn == 0 and math.dist(here, p) > math.dist(here, best))
            ):
                best = p
        if best is None or best == begin:
            return found
        found.append(best)


def nine(row: Tensor) -> list[Point]:
    return hull([(x, y) for x, y in row.view(-1, 2).tolist()])


def convex_iou(points: Tensor, polygons: Tensor) -> Tensor:
    rows = [[iou(nine(a), corners(b)) for b in polygons.tolist()] for a in points]
    return torch.tensor(rows, dtype=torch.float64)


def convex_giou(points: Tensor, polygons: Tensor) -> Tensor:
    values = []
    for row, polygon in zip(points, polygons.tolist(), strict=True):
        one, other = nine(row), corners(polygon)
        around, both = area(hull([*one, *other])), shared(one, other)
        union = area(one) + abs(area(other)) - both
        values.append(both / union - (around - union) / around)
    return torch.tensor(values, dtype=torch.float64)


def smallest_area(points: Tensor) -> float:
    """Try many angles."""
    found = []
    for k in range(2_000):
        angle = math.pi / 2 * k / 2_000
        turned = points.view(-1, 2) @ torch.tensor(
            [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]],
            dtype=points.dtype,
        )
        found.append(float((turned.amax(0) - turned.amin(0)).prod()))
    return min(found)


def points_in_polygons(points: Tensor, polygons: Tensor) -> Tensor:
    rows = [
        [all(side(a, b, p) > 0 for a, b in zip(q, q[1:] + q[:1], strict=True)) for q in quads]
        for p in points.tolist()
        for quads in [[forward(corners(each)) for each in polygons.tolist()]]
    ]
    return torch.tensor(rows, dtype=points.dtype)


def nearest(one: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    distances = ((one[:, :, None] - other[:, None]) ** 2).sum(3)
    return distances.amin(2), distances.argmin(2)


def neighbours(y: int, x: int, size: tuple[int, ...]) -> list[tuple[int, int]]:
    near = [(y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)]
    return [(b, a) for b, a in near if 0 <= b < size[0] and 0 <= a < size[1]]


def contour_expand(masks: Tensor, label: Tensor, least: int, _: int) -> list[list[int]]:
    label = label.clone()
    for each in range(1, int(label.max()) + 1):
        if (label == each).sum() < least:
            label[label == each] = 0
    queue = deque(label.nonzero().tolist())
    while queue:
        y, x = queue.popleft()
        for near in neighbours(y, x, label.shape):
            if masks[0][near] and not label[near]:
                label[near] = label[y, x]
                queue.append(list(near))
    return label.tolist()


def pixel_group(
    score: Tensor,
    mask: Tensor,
    embedding: Tensor,
    label: Tensor,
    contour: Tensor,
    count: int,
    limit: float,
) -> list[list[float]]:
    label, size = label.clone(), label.shape
    means = [embedding[label == each].mean(0) for each in range(count)]
    queue = deque(((label > 0) & (contour > 0)).nonzero().tolist())
    while queue:
        y, x = queue.popleft()
        for near in neighbours(y, x, size):
            distance = float((embedding[near] - means[int(label[y, x])]).norm())
            if mask[near] and not label[near] and distance < limit:
                label[near] = label[y, x]
                queue.append(list(near))
    groups: list[list[Any]] = [[0.0, 0.0] for _ in range(count)]
    for y, x in product(*map(range, size)):
        own = groups[int(label[y, x])]
        if label[y, x]:
            own[0] += float(score[y, x])
            own[1] += 1
            own += [x, y]
    return [[own[0] / max(own[1], 1), *own[1:]] for own in groups]
