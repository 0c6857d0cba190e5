"""Points, voxels and boxes in space as slow loops from their definitions, to compare with."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product

import torch
from torch import Tensor


def squared(one: Sequence[float], other: Sequence[float]) -> float:
    return sum((a - b) ** 2 for a, b in zip(one, other, strict=True))


def ball_query(
    xyz: Tensor, centers: Tensor, most: float, number: int, least: float = 0.0
) -> Tensor:
    out = torch.zeros(*centers.shape[:2], number, dtype=torch.int32)
    for b, (points, around) in enumerate(zip(xyz.tolist(), centers.tolist(), strict=True)):
        for m, center in enumerate(around):
            distances = [squared(point, center) for point in points]
            found = [
                k for k, each in enumerate(distances) if each == 0 or least**2 <= each < most**2
            ]
            if found:
                out[b, m] = torch.tensor((found + [found[0]] * number)[:number])
    return out


def furthest_point_sample(distances: Tensor, number: int) -> Tensor:
    """Take the distances between points, ``(B, N, N)``."""
    rows = []
    for between in distances.tolist():
        chosen = [0]
        while len(chosen) < number:
            nearest = [min(between[c][k] for c in chosen) for k in range(len(between))]
            chosen.append(nearest.index(max(nearest)))
        rows.append(chosen)
    return torch.tensor(rows, dtype=torch.int32)


def nearest(xyz: Tensor, centers: Tensor, number: int) -> tuple[Tensor, Tensor]:
    index = torch.zeros(*centers.shape[:2], number, dtype=torch.int32)
    distance = torch.full(index.shape, math.inf, dtype=xyz.dtype)
    for b, m in product(*map(range, centers.shape[:2])):
        center = centers[b, m].tolist()
        found = sorted((squared(p, center), k) for k, p in enumerate(xyz[b].tolist()))[:number]
        for s, (each, k) in enumerate(found):
            index[b, m, s], distance[b, m, s] = k, each
    return index, distance


def group_points(features: Tensor, indices: Tensor) -> Tensor:
    rows = [torch.stack([f[:, k] for k in i.flatten()], 1) for f, i in zip(features, indices)]  # noqa: B905
    return torch.stack(rows).view(*features.shape[:2], *indices.shape[1:])


def three_interpolate(features: Tensor, indices: Tensor, weight: Tensor) -> Tensor:
    out = features.new_zeros(*features.shape[:2], indices.shape[1])
    for b, n, k in product(*map(range, indices.shape)):
        out[b, :, n] += weight[b, n, k] * features[b, :, indices[b, n, k]]
    return out


def assign_score_withk(scores: Tensor, points: Tensor, centers: Tensor, index: Tensor) -> Tensor:
    out = points.new_zeros(len(points), points.shape[3], *index.shape[1:])
    for b, n, k in product(*map(range, index.shape)):
        neighbour, center = index[b, n, k], index[b, n, 0]
        if 0 <= neighbour < points.shape[1]:
            differences = points[b, neighbour] - centers[b, center]
            out[b, :, n, k] = (scores[b, n, k][:, None] * differences).sum(0)
    return out


def lies_in(point: Sequence[float], box: Sequence[float]) -> tuple[float, float, float] | None:
    """Return where in the box a point lies, from its least corner; or nothing."""
    x, y, z = (p - b for p, b in zip(point, box[:3], strict=True))
    angle = box[6]
    along = x * math.cos(angle) + y * math.sin(angle) + box[3] / 2
    across = y * math.cos(angle) - x * math.sin(angle) + box[4] / 2
    inside = 0 < along < box[3] and 0 < across < box[4] and 0 <= z <= box[5]
    return (along, across, z) if inside else None


def points_in_boxes_all(points: Tensor, boxes: Tensor) -> Tensor:
    return torch.tensor(
        [
            [[int(lies_in(p, box) is not None) for box in own] for p in some]
            for some, own in zip(points.tolist(), boxes.tolist(), strict=True)
        ],
        dtype=torch.int32,
    )


def roiaware_pool3d(
    rois: Tensor, pts: Tensor, features: Tensor, size: tuple[int, int, int], most: int, mode: str
) -> Tensor:
    out = features.new_zeros(len(rois), *size, features.shape[1])
    for n, roi in enumerate(rois.tolist()):
        cells: dict[tuple[int, ...], list[int]] = {}
        for p, point in enumerate(pts.tolist()):
            place = lies_in(point, roi)
            if place is not None:
                sides = zip(place, roi[3:6], size, strict=True)
                cell = tuple(min(int(at / (whole / k)), k - 1) for at, whole, k in sides)
                cells.setdefault(cell, []).append(p)
        for cell, within in cells.items():
            values = features[within[: most - 1]]
            out[(n, *cell)] = values.amax(0) if mode == "max" else values.mean(0)
    return out


def roipoint_pool3d(
    points: Tensor, features: Tensor, boxes: Tensor, number: int
) -> tuple[Tensor, Tensor]:
    out = points.new_zeros(*boxes.shape[:2], number, 3 + features.shape[2])
    empty = torch.zeros(boxes.shape[:2], dtype=torch.int32)
    for b, m in product(*map(range, boxes.shape[:2])):
        box = boxes[b, m].tolist()
        found = [k for k, p in enumerate(points[b].tolist()) if lies_in(p, box) is not None]
        empty[b, m] = not found
        for s in range(number if found else 0):
            k = found[:number][s % len(found[:number])]
            out[b, m, s] = torch.cat([points[b, k], features[b, k]])
    return out, empty


def dynamic_voxelize(
    points: Tensor, sizes: Sequence[float], limits: Sequence[float]
) -> list[list[int]]:
    cells = []
    for point in points.tolist():
        cell = [
            math.floor((p - low) / size) if math.isfinite(p) else -1
            for p, low, size in zip(point, limits[:3], sizes, strict=False)
        ]
        grid = [round((limits[k + 3] - limits[k]) / sizes[k]) for k in range(3)]
        inside = all(0 <= c < g for c, g in zip(cell, grid, strict=True))
        cells.append(cell[::-1] if inside else [-1, -1, -1])
    return cells


def hard_voxelize(
    points: Tensor, sizes: Sequence[float], limits: Sequence[float], most: int, voxels: int
) -> tuple[list[list[int]], list[list[int]]]:
    """Return voxels, and the rows of points in each."""
    found: dict[tuple[int, ...], list[int]] = {}
    for row, cell in enumerate(dynamic_voxelize(points, sizes, limits)):
        key = tuple(cell)
        if cell[0] >= 0 and (key in found or len(found) < voxels):
            found.setdefault(key, []).append(row)
    return [[*key] for key in found], [rows[:most] for rows in found.values()]


def dynamic_scatter(feats: Tensor, coors: Tensor, how: str) -> tuple[Tensor, Tensor]:
    cells = sorted({tuple(c) for c in coors.tolist() if min(c) >= 0})
    reduce = {"sum": Tensor.sum, "mean": Tensor.mean, "max": Tensor.amax}[how]
    rows = [reduce(feats[(coors == torch.tensor(cell)).all(1)], 0) for cell in cells]
    return torch.stack(rows), torch.tensor(cells)
