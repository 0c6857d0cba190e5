"""Operators written as slow loops from their definitions, to compare with."""

from __future__ import annotations

import math
from itertools import product
from typing import Any

import torch
from torch import Tensor


def bilinear(image: Tensor, y: float, x: float) -> Tensor:
    """Sample ``(C, H, W)`` with zeros around it."""
    top, left = math.floor(y), math.floor(x)
    total = image.new_zeros(len(image))
    for row, column in product((top, top + 1), (left, left + 1)):
        if 0 <= row < image.shape[1] and 0 <= column < image.shape[2]:
            total = total + (1 - abs(y - row)) * (1 - abs(x - column)) * image[:, row, column]
    return total


def roi_align(
    input: Tensor,
    rois: Tensor,
    size: tuple[int, int],
    scale: float,
    ratio: int,
    mode: str,
    aligned: bool,
) -> Tensor:
    height, width = input.shape[2:]
    shift = 0.5 if aligned else 0.0
    out = input.new_zeros(len(rois), input.shape[1], *size)
    for n, (image, *corners) in enumerate(rois.tolist()):
        left, top, right, bottom = (each * scale - shift for each in corners)
        tall, wide = bottom - top, right - left
        if not aligned:
            tall, wide = max(tall, 1.0), max(wide, 1.0)
        bins = tall / size[0], wide / size[1]
        grid = [ratio if ratio > 0 else math.ceil(each) for each in bins]
        for i, j in product(range(size[0]), range(size[1])):
            samples = []
            for a, b in product(range(grid[0]), range(grid[1])):
                y = top + i * bins[0] + (a + 0.5) * bins[0] / grid[0]
                x = left + j * bins[1] + (b + 0.5) * bins[1] / grid[1]
                inside = -1 <= y <= height and -1 <= x <= width
                y, x = min(max(y, 0), height - 1), min(max(x, 0), width - 1)
                samples.append(bilinear(input[int(image)], y, x) * inside)
            if not samples:
                out[n, :, i, j] = -10_000.0 if mode == "max" else 0.0
            elif mode == "max":
                out[n, :, i, j] = torch.stack(samples).amax(0)
            else:
                out[n, :, i, j] = torch.stack(samples).mean(0)
    return out


def roi_pool(input: Tensor, rois: Tensor, size: tuple[int, int], scale: float) -> Tensor:
    height, width = input.shape[2:]
    out = input.new_zeros(len(rois), input.shape[1], *size)
    for n, (image, left, top, right, bottom) in enumerate(rois.tolist()):
        tall, wide = (bottom + 1 - top) * scale, (right + 1 - left) * scale
        if tall <= 0 or wide <= 0:
            continue
        for i, j in product(range(size[0]), range(size[1])):
            rows = [math.floor(i * tall / size[0] + top * scale)]
            rows.append(math.ceil((i + 1) * tall / size[0] + top * scale))
            columns = [math.floor(j * wide / size[1] + left * scale)]
            columns.append(math.ceil((j + 1) * wide / size[1] + left * scale))
            y0, y1 = (min(max(each, 0), height) for each in rows)
            x0, x1 = (min(max(each, 0), width) for each in columns)
            if y0 < y1 and x0 < x1:
                out[n, :, i, j] = input[int(image), :, y0:y1, x0:x1].amax((1, 2))
    return out


def deform_conv2d(
    input: Tensor,
    offset: Tensor,
    weight: Tensor,
    mask: Tensor,
    bias: Tensor,
    stride: int,
    padding: int,
    dilation: int,
    groups: int,
    deform_groups: int,
) -> Tensor:
    batch, channels = input.shape[:2]
    kernel = weight.shape[2:]
    out = input.new_zeros(batch, len(weight), *offset.shape[2:])
    per_group, per_deform = channels // groups, channels // deform_groups
    for n, i, j in product(range(batch), *map(range, offset.shape[2:])):
        columns = input.new_zeros(channels, *kernel)
        for g, a, b in product(range(deform_groups), *map(range, kernel)):
            cell = g * kernel[0] * kernel[1] + a * kernel[1] + b
            dy, dx = offset[n, 2 * cell, i, j], offset[n, 2 * cell + 1, i, j]
            y = float(i * stride - padding + a * dilation + dy)
            x = float(j * stride - padding + b * dilation + dx)
            chosen = slice(g * per_deform, (g + 1) * per_deform)
            columns[chosen, a, b] = bilinear(input[n, chosen], y, x) * mask[n, cell, i, j]
        for d in range(len(weight)):
            group = d // (len(weight) // groups)
            part = columns[group * per_group : (group + 1) * per_group]
            out[n, d, i, j] = (part * weight[d]).sum() + bias[d]
    return out


def ms_deform_attn(value: Tensor, shapes: Tensor, places: Tensor, weights: Tensor) -> Tensor:
    batch, _, heads, channels = value.shape
    out = value.new_zeros(batch, places.shape[1], heads, channels)
    for n, q, h in product(range(batch), range(places.shape[1]), range(heads)):
        begin = 0
        for level, (height, width) in enumerate(shapes.tolist()):
            image = value[n, begin : begin + height * width, h].T.reshape(channels, height, width)
            begin += height * width
            for point in range(places.shape[4]):
                x, y = places[n, q, h, level, point].tolist()
                sample = bilinear(image, y * height - 0.5, x * width - 0.5)
                out[n, q, h] += weights[n, q, h, level, point] * sample
    return out.flatten(2)


def carafe(features: Tensor, masks: Tensor, kernel: int, groups: int, scale: int) -> Tensor:
    batch, channels, height, width = features.shape
    out = features.new_zeros(batch, channels, height * scale, width * scale)
    half = kernel // 2
    for n, c, i, j in product(range(batch), range(channels), *map(range, out.shape[2:])):
        for a, b in product(range(kernel), range(kernel)):
            y, x = i // scale + a - half, j // scale + b - half
            if 0 <= y < height and 0 <= x < width:
                group = c // (channels // groups)
                mask = masks[n, (group * kernel + a) * kernel + b, i, j]
                out[n, c, i, j] += mask * features[n, c, y, x]
    return out


def psa_mask(input: Tensor, kind: int, size: tuple[int, int]) -> Tensor:
    batch, _, height, width = input.shape
    out = input.new_zeros(batch, height * width, height * width)
    for y, x, a, b in product(range(height), range(width), range(size[0]), range(size[1])):
        row, column = a + y - (size[0] - 1) // 2, b + x - (size[1] - 1) // 2
        if 0 <= row < height and 0 <= column < width:
            here, there = y * width + x, row * width + column
            value = input[:, a * size[1] + b, y, x]
            if kind == 0:
                out[:, there, here] = value
            else:
                out[:, here, there] = value
    return out.view(batch, height * width, height, width)


def iou(one: Any, other: Any, offset: int) -> float:
    sides = [
        max(min(one[k + 2], other[k + 2]) - max(one[k], other[k]) + offset, 0.0) for k in (0, 1)
    ]
    areas = [(b[2] - b[0] + offset) * (b[3] - b[1] + offset) for b in (one, other)]
    return float(sides[0] * sides[1] / (areas[0] + areas[1] - sides[0] * sides[1]))


def nms(boxes: list[Any], scores: Tensor, threshold: float, offset: int) -> list[int]:
    kept: list[int] = []
    for i in scores.sort(descending=True)[1].tolist():
        if all(iou(boxes[j], boxes[i], offset) <= threshold for j in kept):
            kept.append(i)
    return kept


def nms_match(dets: list[Any], scores: Tensor, threshold: float) -> list[list[int]]:
    order, groups = scores.sort(descending=True)[1].tolist(), []
    while order:
        best = order[0]
        group = [best, *(i for i in order[1:] if iou(dets[best], dets[i], 0) >= threshold)]
        groups.append(group)
        order = [i for i in order if i not in group]
    return groups


def soft_nms(
    boxes: list[Any],
    scores: list[float],
    threshold: float,
    sigma: float,
    least: float,
    method: int,
    offset: int,
) -> list[tuple[int, float]]:
    """Element by element: what goes is replaced by the last one, which is then looked at in its place."""
    left, kept = [[*box, score, i] for i, (box, score) in enumerate(zip(boxes, scores))], []  # noqa: B905
    while left:
        best = 0
        for k in range(1, len(left)):
            best = k if left[best][4] < left[k][4] else best
        left[0], left[best] = left[best], left[0]
        first = left[0]
        kept.append((first[5], first[4]))
        k = 1
        while k < len(left):
            shared = iou(first, left[k], offset)
            if method == 2:
                left[k][4] *= math.exp(-(shared**2) / sigma)
            elif shared >= threshold:
                left[k][4] *= 1 - shared if method == 1 else 0.0
            if left[k][4] < least:
                left[k] = left[-1]
                left.pop()
            else:
                k += 1
        left = left[1:]
    return kept
