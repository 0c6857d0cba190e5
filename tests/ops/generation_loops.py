"""Filters of generators, and correlation, as slow loops from their definitions, to compare with."""

from __future__ import annotations

from itertools import product

import torch
from torch import Tensor
from torch.nn import functional

Pair = tuple[int, int]


def upfirdn2d(
    input: Tensor,
    filter: Tensor,
    up: Pair,
    down: Pair,
    padding: tuple[int, int, int, int],
    flip_filter: bool,
    gain: float,
) -> Tensor:
    images, channels, height, width = input.shape
    left, right, top, bottom = padding
    spread = input.new_zeros(images, channels, height * up[1], width * up[0])
    spread[:, :, :: up[1], :: up[0]] = input
    tall, wide = height * up[1] + top + bottom, width * up[0] + left + right
    padded = input.new_zeros(images, channels, tall, wide)
    for y, x in product(range(tall), range(wide)):
        if 0 <= y - top < height * up[1] and 0 <= x - left < width * up[0]:
            padded[:, :, y, x] = spread[:, :, y - top, x - left]
    both = torch.outer(filter, filter) if filter.dim() == 1 else filter
    taps = both if flip_filter else both.flip(0, 1)
    rows = range(0, tall - len(taps) + 1, down[1])
    columns = range(0, wide - len(taps[0]) + 1, down[0])
    out = input.new_zeros(images, channels, len(rows), len(columns))
    for (i, y), (j, x) in product(enumerate(rows), enumerate(columns)):
        window = padded[:, :, y : y + len(taps), x : x + len(taps[0])]
        out[:, :, i, j] = gain * (window * taps).sum((2, 3))
    return out


def filtered_lrelu(
    input: Tensor,
    filter_up: Tensor,
    filter_down: Tensor,
    bias: Tensor,
    up: int,
    down: int,
    padding: tuple[int, int, int, int],
    gain: float,
    slope: float,
    clamp: float,
    flip_filter: bool,
) -> Tensor:
    x = upfirdn2d(
        input + bias[:, None, None], filter_up, (up, up), (1, 1), padding, flip_filter, up**2
    )
    x = (functional.leaky_relu(x, slope) * gain).clamp(-clamp, clamp)
    return upfirdn2d(x, filter_down, (1, 1), (down, down), (0, 0, 0, 0), flip_filter, 1)


def correlation(
    input1: Tensor,
    input2: Tensor,
    kernel_size: Pair,
    max_displacement: int,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    dilation_patch: Pair,
) -> Tensor:
    images, _, height, width = input1.shape
    tall, wide = (
        (size + 2 * pad - step * (kernel - 1) - 1) // move + 1
        for size, pad, step, kernel, move in zip(
            (height, width), padding, dilation, kernel_size, stride, strict=True
        )
    )
    moves = range(-max_displacement, max_displacement + 1)
    out = input1.new_zeros(images, len(moves), len(moves), tall, wide)
    for (p, dy), (q, dx) in product(enumerate(moves), enumerate(moves)):
        for i, j, a, b in product(range(tall), range(wide), *map(range, kernel_size)):
            y = i * stride[0] - padding[0] + a * dilation[0]
            x = j * stride[1] - padding[1] + b * dilation[1]
            y2, x2 = y + dy * dilation_patch[0], x + dx * dilation_patch[1]
            if min(y, y2) >= 0 and max(y, y2) < height and min(x, x2) >= 0 and max(x, x2) < width:
                out[:, p, q, i, j] += (input1[:, :, y, x] * input2[:, :, y2, x2]).sum(1)
    return out
