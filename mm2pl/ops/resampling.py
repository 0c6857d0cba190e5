"""Resampling of images with a FIR filter, and leaky ReLU at a higher resolution (StyleGAN2 and 3)."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral

import torch
from torch import Tensor
from torch.nn import functional

from mm2pl.ops.activation import bias_act
from mm2pl.ops.arguments import full_precision, of_kinds, require, require_one, require_tensors

Two = int | Sequence[int]


@of_kinds
@full_precision
def upfirdn2d(
    input: Tensor,
    filter: Tensor | None,
    up: Two = 1,
    down: Two = 1,
    padding: Two = 0,
    flip_filter: bool = False,
    gain: float = 1,
) -> Tensor:
    """Put ``up - 1`` zeros after each pixel, pad, filter, and keep every ``down``-th pixel.

    Args:
        input: ``(N, C, H, W)``.
        filter: ``(h, w)``, ``(taps,)`` for both axes, or None for 1.
        up: One factor, or those of x and y.
        down: One factor, or those of x and y.
        padding: Of what ``up`` makes: one size, those of x and y, or left, right, top, bottom. A negative one crops.
        flip_filter: Whether to correlate with the filter, and not convolve.
        gain: What the result is multiplied by.

    Raises:
        ArgumentError: Shapes, types or values do not fit.
    """
    name = "upfirdn2d"
    require_tensors(name, input=(input, ("N", "C", "H", "W")))
    filter = input.new_ones(1, 1) if filter is None else _checked(name, "filter", filter)
    require_one(name, "device", input=input, filter=filter)
    up, down = _two(name, "up", up), _two(name, "down", down)
    sides = padding_of(name, padding)
    taps = (filter.shape[-1], filter.shape[0])
    sizes = [
        size * factor + low + high
        for size, factor, low, high in zip(
            (input.shape[3], input.shape[2]), up, sides[::2], sides[1::2], strict=True
        )
    ]
    fits = all(size >= tap for size, tap in zip(sizes, taps, strict=True))
    accepted = f"at least the filter's {taps[0]} × {taps[1]}"
    require(fits, name, "the padded image", f"of {sizes[0]} × {sizes[1]} pixels", accepted)
    if not input.numel():
        # torch convolves no images of no channels or rows.
        size = [
            -(-(size - tap + 1) // step) for size, tap, step in zip(sizes, taps, down, strict=True)
        ]
        return input.new_zeros(*input.shape[:2], *size[::-1])
    filter = filter.to(input.dtype) * gain ** (filter.dim() / 2)
    if filter.dim() == 2:
        return _filtered(input, filter, up, down, sides, flip_filter)
    x = _filtered(input, filter[None], (up[0], 1), (down[0], 1), (*sides[:2], 0, 0), flip_filter)
    return _filtered(x, filter[:, None], (1, up[1]), (1, down[1]), (0, 0, *sides[2:]), flip_filter)


def _checked(name: str, argument: str, filter: Tensor) -> Tensor:
    shape: tuple[str, ...] = ("h", "w") if filter.dim() == 2 else ("taps",)
    require_tensors(name, **{argument: (filter, shape)})
    require(filter.numel() > 0, name, argument, "without a tap", "a filter of at least one")
    return filter


def _two(name: str, argument: str, value: Two) -> tuple[int, int]:
    """Return factors of x and y."""
    both = tuple(value) if isinstance(value, Sequence) else (value, value)
    fits = len(both) == 2 and all(isinstance(each, Integral) and each >= 1 for each in both)
    require(fits, name, argument, repr(value), "an integer of at least 1, or two: x, y")
    return int(both[0]), int(both[1])


def padding_of(name: str, value: Two) -> tuple[int, int, int, int]:
    """Return padding as left, right, top, bottom.

    Raises:
        ArgumentError: It is not one, two or four integers.
    """
    given = tuple(value) if isinstance(value, Sequence) else (value, value)
    fits = len(given) in (2, 4) and all(isinstance(each, Integral) for each in given)
    accepted = "an integer, two (x, y), or four (left, right, top, bottom)"
    require(fits, name, "padding", repr(value), accepted)
    left, right, top, bottom = given if len(given) == 4 else (given[0], *given, given[1])
    return int(left), int(right), int(top), int(bottom)


def _filtered(
    x: Tensor,
    filter: Tensor,
    up: tuple[int, int],
    down: tuple[int, int],
    sides: tuple[int, int, int, int],
    flip: bool,
) -> Tensor:
    """Resample with a filter ``(h, w)`` that has the gain."""
    if up == (1, 1):
        kernel = filter if flip else filter.flip(0, 1)
        return _each_channel(_padded(x, sides), kernel, down)
    taps_y, taps_x = filter.shape
    left, right, top, bottom = sides
    width, height = x.shape[3] * up[0] + left + right, x.shape[2] * up[1] + top + bottom
    x = _spread(x, filter.flip(0, 1) if flip else filter, up)
    # It begins where the filter first meets the image; the result where it lies within the padded image.
    before = left - taps_x + 1, top - taps_y + 1
    after = (
        width - taps_x + 1 - before[0] - x.shape[3],
        height - taps_y + 1 - before[1] - x.shape[2],
    )
    x = _padded(x, (before[0], after[0], before[1], after[1]))
    return x[..., :: down[1], :: down[0]]


def _padded(x: Tensor, sides: Sequence[int]) -> Tensor:
    """Pad, then crop: torch crops first, and refuses to crop one side by more than there is yet."""
    if min(sides) < 0 < max(sides):
        x = functional.pad(x, [max(side, 0) for side in sides])
        sides = [min(side, 0) for side in sides]
    return functional.pad(x, sides)


def _each_channel(x: Tensor, kernel: Tensor, stride: tuple[int, int] = (1, 1)) -> Tensor:
    channels = x.shape[1]
    # A CPU has a fast kernel for this; images of one channel each take twenty times as long.
    kernels = kernel.repeat(channels, 1, 1, 1)
    return functional.conv2d(x, kernels, stride=stride[::-1], groups=channels)


def _spread(x: Tensor, filter: Tensor, up: tuple[int, int]) -> Tensor:
    """Convolve what has ``up - 1`` zeros after each pixel, from the first pixel that the filter reaches to the last.

    The zeros are never made: each phase of the result takes every ``up``-th tap of the filter.
    """
    rows, columns = (
        -(-taps // factor) for taps, factor in zip(filter.shape, up[::-1], strict=True)
    )
    more = columns * up[0] - filter.shape[1], rows * up[1] - filter.shape[0]
    phases = functional.pad(filter, (0, more[0], 0, more[1])).view(rows, up[1], columns, up[0])
    x = functional.pad(x, (columns - 1, columns - 1, rows - 1, rows - 1))
    parts = [
        torch.stack([_each_channel(x, phases[:, j, :, i].flip(0, 1)) for i in range(up[0])], -1)
        for j in range(up[1])
    ]
    return torch.stack(parts, 3).flatten(4).flatten(2, 3)


@of_kinds
@full_precision
def filtered_lrelu(
    input: Tensor,
    filter_up: Tensor | None = None,
    filter_down: Tensor | None = None,
    bias: Tensor | None = None,
    up: int = 1,
    down: int = 1,
    padding: Two = 0,
    gain: float = 2**0.5,
    slope: float = 0.2,
    clamp: float | None = None,
    flip_filter: bool = False,
) -> Tensor:
    """Add a bias, sample up, apply leaky ReLU with gain and clamp, and sample down.

    Args:
        input: ``(N, C, H, W)``.
        filter_up: As the filter of :func:`upfirdn2d`.
        filter_down: As ``filter_up``.
        bias: ``(C,)``.
        up: Factor of both axes.
        down: Factor of both axes.
        padding: As in :func:`upfirdn2d`, before the first filter.
        gain: What the activation is multiplied by.
        slope: Of the activation below 0.
        clamp: Greatest size of the activation; None for any.
        flip_filter: Whether to correlate with the filters, and not convolve.

    Raises:
        ArgumentError: Shapes, types or values do not fit.
    """
    name = "filtered_lrelu"
    for argument, factor in (("up", up), ("down", down)):
        fits = isinstance(factor, Integral) and factor >= 1
        require(fits, name, argument, repr(factor), "an integer of at least 1")
    require(gain > 0, name, "gain", repr(gain), "greater than 0")
    require(slope >= 0, name, "slope", repr(slope), "at least 0")
    x = bias_act(input, bias)
    x = upfirdn2d(x, filter_up, up, 1, padding, flip_filter, up**2)
    x = bias_act(x, None, 1, "lrelu", slope, gain, clamp)
    return upfirdn2d(x, filter_down, 1, down, 0, flip_filter)
