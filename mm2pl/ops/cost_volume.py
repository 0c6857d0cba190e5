"""How alike two feature maps are at each displacement: the cost volume of FlowNet and PWC-Net."""

from __future__ import annotations

from itertools import product

import torch
from torch import Tensor
from torch.nn import functional

from mm2pl.ops.arguments import full_precision, of_kinds, pair, require, require_tensors

Size = int | tuple[int, int]


@of_kinds
def correlation(
    input1: Tensor,
    input2: Tensor,
    kernel_size: Size = 1,
    max_displacement: int = 1,
    stride: Size = 1,
    padding: Size = 0,
    dilation: Size = 1,
    dilation_patch: Size = 1,
) -> Tensor:
    """Return the products of windows of one map with displaced windows of another, summed over channels and cells.

    Args:
        input1: ``(N, C, H, W)``.
        input2: As ``input1``; outside of it is 0.
        kernel_size: Cells of a window.
        max_displacement: Largest displacement D; ``2D + 1`` for each axis.
        stride: Cells from window to window of ``input1``.
        padding: Cells of 0 around ``input1``.
        dilation: Cells between those of a window.
        dilation_patch: Cells between displacements.

    Returns:
        Tensor: ``(N, 2D + 1, 2D + 1, h, w)``; the displacement of y, then that of x.

    Raises:
        ArgumentError: Shapes, types or values do not fit.
    """
    fits = isinstance(max_displacement, int) and max_displacement >= 0
    accepted = "an integer of at least 0"
    require(fits, "correlation", "max_displacement", repr(max_displacement), accepted)
    patch = 2 * max_displacement + 1
    return correlate(input1, input2, kernel_size, patch, stride, padding, dilation, dilation_patch)


@full_precision
def correlate(
    input1: Tensor,
    input2: Tensor,
    kernel_size: Size,
    patch_size: Size,
    stride: Size,
    padding: Size,
    dilation: Size,
    dilation_patch: Size,
) -> Tensor:
    """Return :func:`correlation` for a number of displacements on each axis."""
    name = "correlation"
    require_tensors(name, input1=(input1, ("N", "C", "H", "W")))
    shape = tuple(input1.shape)
    require_tensors(name, input1=(input1, shape), input2=(input2, shape))
    kernel, patch = pair(name, "kernel_size", kernel_size), pair(name, "patch_size", patch_size)
    strides, dilations = pair(name, "stride", stride), pair(name, "dilation", dilation)
    pads, steps = pair(name, "padding", padding, 0), pair(name, "dilation_patch", dilation_patch)
    images, _, height, width = shape
    window = [(size - 1) * step + 1 for size, step in zip(kernel, dilations, strict=True)]
    fits = height + 2 * pads[0] >= window[0] and width + 2 * pads[1] >= window[1]
    accepted = f"at least a window's {window[0]} × {window[1]}"
    given = f"of {height + 2 * pads[0]} × {width + 2 * pads[1]} cells with its padding"
    require(fits, name, "input1", given, accepted)
    reach = [step * (size - 1) // 2 for size, step in zip(patch, steps, strict=True)]
    far = [step * (size - 1) - r for size, step, r in zip(patch, steps, reach, strict=True)]
    around = functional.pad(input2, (reach[1], far[1], reach[0], far[0]))
    moves = product(*(range(0, size * step, step) for size, step in zip(patch, steps, strict=True)))
    alike = torch.stack(
        [(input1 * around[..., y : y + height, x : x + width]).sum(1) for y, x in moves], 1
    )
    if kernel != (1, 1) or strides != (1, 1) or pads != (0, 0):
        ones = alike.new_ones(1, 1, *kernel)
        alike = functional.conv2d(
            alike.reshape(-1, 1, height, width), ones, None, strides, pads, dilations
        )
    return alike.reshape(images, *patch, *alike.shape[-2:])
