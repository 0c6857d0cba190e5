"""Relatives of RoIAlign as slow loops from their definitions, to compare with."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise, product

import torch
from torch import Tensor

from tests.ops.loops import bilinear


def sample(image: Tensor, y: float, x: float) -> Tensor:
    """Sample ``(C, H, W)``, its border repeated for one cell, then zeros."""
    height, width = image.shape[1:]
    inside = -1 <= y <= height and -1 <= x <= width
    return bilinear(image, min(max(y, 0), height - 1), min(max(x, 0), width - 1)) * inside


def mean(
    image: Tensor, bin_: tuple[float, float], ratio: int, place: Callable[..., tuple[float, float]]
) -> Tensor:
    """Average the samples of a bin, whose place is given by shares of it."""
    grid = [ratio if ratio > 0 else max(math.ceil(each), 0) for each in bin_]
    samples = [
        sample(image, *place((a + 0.5) / grid[0], (b + 0.5) / grid[1]))
        for a, b in product(range(grid[0]), range(grid[1]))
    ]
    return torch.stack(samples).mean(0) if samples else image.new_zeros(len(image))


def deform_roi_pool(
    input: Tensor,
    rois: Tensor,
    offset: Tensor | None,
    size: tuple[int, int],
    scale: float,
    ratio: int,
    gamma: float,
) -> Tensor:
    out = input.new_zeros(len(rois), input.shape[1], *size)
    for n, (image, *corners) in enumerate(rois.tolist()):
        x1, y1, x2, y2 = (each * scale - 0.5 for each in corners)
        tall, wide = (y2 - y1) / size[0], (x2 - x1) / size[1]
        for i, j in product(*map(range, size)):
            dx, dy = (0.0, 0.0) if offset is None else offset[n, :, i, j].tolist()
            top = y1 + i * tall + gamma * (y2 - y1) * dy
            left = x1 + j * wide + gamma * (x2 - x1) * dx
            out[n, :, i, j] = mean(
                input[int(image)],
                (tall, wide),
                ratio,
                lambda a, b, t=top, s=left, h=tall, w=wide: (t + a * h, s + b * w),
            )
    return out


def prroi_pool(input: Tensor, rois: Tensor, size: tuple[int, int], scale: float) -> Tensor:
    """Integrate exactly: between cells the surface is linear along each axis."""
    out = input.new_zeros(len(rois), input.shape[1], *size)
    for n, (image, *corners) in enumerate(rois.tolist()):
        x1, y1, x2, y2 = (each * scale for each in corners)
        tall, wide = max(y2 - y1, 0) / size[0], max(x2 - x1, 0) / size[1]
        for i, j in product(*map(range, size)):
            if not tall * wide:
                continue
            total = input.new_zeros(input.shape[1])
            for (y, a), (x, b) in product(nodes(y1 + i * tall, tall), nodes(x1 + j * wide, wide)):
                total += a * b * bilinear(input[int(image)], y, x)
            out[n, :, i, j] = total / (tall * wide)
    return out


def nodes(begin: float, length: float) -> list[tuple[float, float]]:
    """Return places and weights that integrate what is linear between whole numbers."""
    cuts = [begin, *range(math.floor(begin) + 1, math.ceil(begin + length)), begin + length]
    found = []
    for low, high in pairwise(cuts):
        found += [(low, (high - low) / 2), (high, (high - low) / 2)]
    return found


def border_align(input: Tensor, boxes: Tensor, steps: int) -> Tensor:
    batch, channels = len(input), input.shape[1] // 4
    out = input.new_zeros(batch, channels, boxes.shape[1], 4)
    for n, k in product(range(batch), range(boxes.shape[1])):
        x1, y1, x2, y2 = boxes[n, k].tolist()
        sides = [
            ((x1, y1), (x2, y1)),
            ((x1, y1), (x1, y2)),
            ((x2, y2), (x1, y2)),
            ((x2, y2), (x2, y1)),
        ]
        for side, (begin, end) in enumerate(sides):
            maps = input[n, side * channels : (side + 1) * channels]
            values = [
                sample(
                    maps,
                    begin[1] + (end[1] - begin[1]) * i / steps,
                    begin[0] + (end[0] - begin[0]) * i / steps,
                )
                for i in range(steps + 1)
            ]
            out[n, :, k, side] = torch.stack(values).amax(0)
    return out


def tin_shift(input: Tensor, shift: Tensor) -> Tensor:
    out = torch.zeros_like(input)
    per_group = input.shape[2] // shift.shape[1]
    for n, t, c in product(*map(range, input.shape[:3])):
        to = t + int(shift[n, c // per_group])
        if 0 <= to < input.shape[1]:
            out[n, to, c] = input[n, t, c]
    return out


def roi_align_rotated(
    input: Tensor,
    rois: Tensor,
    size: tuple[int, int],
    scale: float,
    ratio: int,
    aligned: bool,
    clockwise: bool,
) -> Tensor:
    out = input.new_zeros(len(rois), input.shape[1], *size)
    shift = 0.5 if aligned else 0.0
    for n, (image, cx, cy, *sizes, angle) in enumerate(rois.tolist()):
        wide, tall = (each * scale if aligned else max(each * scale, 1.0) for each in sizes)
        sin, cos = math.sin(-angle if clockwise else angle), math.cos(angle)
        for i, j in product(*map(range, size)):
            out[n, :, i, j] = mean(
                input[int(image)],
                (tall / size[0], wide / size[1]),
                ratio,
                lambda a, b, e=(i, j, tall, wide, cy, cx, sin, cos): turned(
                    e[2] * ((e[0] + a) / size[0] - 0.5),
                    e[3] * ((e[1] + b) / size[1] - 0.5),
                    e[6:],
                    (e[4] * scale - shift, e[5] * scale - shift),
                ),
            )
    return out


def turned(
    y: float, x: float, angle: tuple[float, float], centre: tuple[float, float]
) -> tuple[float, float]:
    sin, cos = angle
    return y * cos - x * sin + centre[0], y * sin + x * cos + centre[1]


def riroi_align_rotated(
    input: Tensor,
    rois: Tensor,
    size: tuple[int, int],
    scale: float,
    ratio: int,
    orientations: int,
    clockwise: bool,
) -> Tensor:
    plain = roi_align_rotated(input, rois, size, scale, ratio, False, clockwise)
    out = torch.zeros_like(plain)
    for n, c in product(range(len(rois)), range(input.shape[1])):
        turn = float(rois[n, 5]) * orientations / (2 * math.pi)
        begin, own = c - c % orientations, c % orientations - math.floor(turn)
        share = turn - math.floor(turn)
        out[n, c] = (1 - share) * plain[n, begin + own % orientations]
        out[n, c] += share * plain[n, begin + (own + 1) % orientations]
    return out


def rotated_feature_align(input: Tensor, boxes: Tensor, scale: float, points: int) -> Tensor:
    out = input.clone()
    for n, i, j in product(*map(range, boxes.shape[:3])):
        cy, cx, wide, tall, angle = boxes[n, i, j].tolist()
        corners = [(0, 0), (1, 1), (-1, 1), (-1, -1), (1, -1)]
        for a, b in corners[:points]:
            # The angle turns from x to y here, the other way round than in RoIAlign.
            place = turned(
                b * tall / 2, a * wide / 2, (math.sin(-angle), math.cos(angle)), (cy, cx)
            )
            out[n, :, i, j] += sample(input[n], place[0] * scale, place[1] * scale)
    return out


def bezier_align(
    input: Tensor, beziers: Tensor, size: tuple[int, int], scale: float, ratio: int, aligned: bool
) -> Tensor:
    out = input.new_zeros(len(beziers), input.shape[1], *size)
    for n, (image, *numbers) in enumerate(beziers.tolist()):
        points = [(numbers[2 * k] * scale, numbers[2 * k + 1] * scale) for k in range(8)]
        upper, lower = points[:4], points[:3:-1]
        wide, tall = (
            max(abs(curve[0][axis] - curve[3][axis]) for curve in (upper, lower)) for axis in (0, 1)
        )
        if not aligned:
            wide, tall = max(wide, 1.0), max(tall, 1.0)
        for i, j in product(*map(range, size)):
            u, v = j / size[1], i / size[0]
            shares = [math.comb(3, k) * u**k * (1 - u) ** (3 - k) for k in range(4)]
            centre = [
                sum(
                    s * (v * low[axis] + (1 - v) * up[axis])
                    for s, up, low in zip(shares, upper, lower, strict=True)
                )
                - (0.5 if aligned else 0)
                for axis in (0, 1)
            ]
            bin_ = tall / size[0], wide / size[1]
            out[n, :, i, j] = mean(
                input[int(image)],
                bin_,
                ratio,
                lambda a, b, c=centre, e=bin_: (c[1] + (a - 0.5) * e[0], c[0] + (b - 0.5) * e[1]),
            )
    return out


def active_rotated_filter(input: Tensor, indices: Tensor) -> Tensor:
    planes, channels, *entry = input.shape
    flat = input.reshape(planes, channels, -1)
    out = input.new_zeros(planes, indices.shape[3], channels, flat.shape[2])
    for entry_, rotation in product(range(flat.shape[2]), range(indices.shape[3])):
        place = int(indices.reshape(-1, indices.shape[3])[entry_, rotation]) - 1
        out[:, rotation, :, place] = flat[:, :, entry_]
    return out.reshape(-1, channels * entry[0], *entry[1:])
