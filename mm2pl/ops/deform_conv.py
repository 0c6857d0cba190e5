"""Convolutions that sample at learned offsets: DCN and DCNv2."""

from __future__ import annotations

import torch
from torch import Tensor

from mm2pl.ops.arguments import full_precision, pair, require, require_one, require_tensors
from mm2pl.ops.gather import corners_of, gather, padded

Size = int | tuple[int, int]


@full_precision
def deform_conv2d(
    input: Tensor,
    offset: Tensor,
    weight: Tensor,
    mask: Tensor | None = None,
    bias: Tensor | None = None,
    stride: Size = 1,
    padding: Size = 0,
    dilation: Size = 1,
    groups: int = 1,
    deform_groups: int = 1,
) -> Tensor:
    """Convolve at places that ``offset`` moves; with a mask it is the modulated convolution (DCNv2).

    Args:
        input: ``(B, C, H, W)``.
        offset: ``(B, deform_groups * 2 * kh * kw, H', W')``: y and x of each cell of the kernel.
        weight: ``(D, C / groups, kh, kw)``.
        mask: ``(B, deform_groups * kh * kw, H', W')``, the share of each cell.
        bias: ``(D,)``.
        stride: As in ``torch.nn.functional.conv2d``, and so the next three.
        padding: Zeros on each side.
        dilation: Distance of the kernel's cells.
        groups: Of channels that are convolved with each other.
        deform_groups: Of channels that share their offsets.

    Returns:
        Tensor: ``(B, D, H', W')``.

    Raises:
        ArgumentError: Shapes do not fit each other.
    """
    name = "deform_conv2d"
    strides, dilations = pair(name, "stride", stride), pair(name, "dilation", dilation)
    paddings = pair(name, "padding", padding, least=0)
    size = _check(
        input, offset, weight, mask, bias, (strides, paddings, dilations), groups, deform_groups
    )
    batch, _, height, width = input.shape
    kernel = weight.shape[2], weight.shape[3]
    cells = kernel[0] * kernel[1]
    moved = offset.reshape(batch, deform_groups, cells, 2, *size).flatten(4)
    moved = moved.permute(3, 0, 1, 4, 2)  # (2, B, deform_groups, H' W', cells)
    y, x = _places(size, kernel, strides, paddings, dilations, input)
    index, share = corners_of(padded(moved[0] + y, height), padded(moved[1] + x, width), width)
    if mask is not None:
        shares = mask.reshape(batch, deform_groups, cells, size[0] * size[1]).transpose(2, 3)
        share = share * shares[..., None]
    columns = _sampled(input, index, share)
    # Rows of memory as MMCV has them: callers ask for a `view` of it, such as EDVR of MMagic 1.2.0.
    output = _convolved(columns, weight, groups).view(batch, len(weight), *size).contiguous()
    return output if bias is None else output + bias.view(-1, 1, 1)


def _sampled(input: Tensor, index: Tensor, share: Tensor) -> Tensor:
    """Return the samples ``(B, deform_groups, places, cells, C')`` from their four corners."""
    batch, deform_groups, places, cells, _ = index.shape
    channels, size = input.shape[1] // deform_groups, input.shape[2] * input.shape[3]
    maps = torch.arange(batch * deform_groups, device=input.device)
    index = index + (maps * size).view(batch, deform_groups, 1, 1, 1)
    table = input.reshape(batch * deform_groups, channels, size).transpose(1, 2)
    table = table.reshape(batch * deform_groups * size, channels)
    columns = gather(table, index.view(-1, 4), share.reshape(-1, 4))
    return columns.view(batch, deform_groups, places, cells, channels)


def _convolved(columns: Tensor, weight: Tensor, groups: int) -> Tensor:
    """Return the product with the weight, ``(B, D, places)``, of ``(B, deform_groups, places, cells, C')``."""
    batch, deform_groups, places, cells, channels = columns.shape
    inside, outside = deform_groups * channels // groups, len(weight) // groups
    # Cells before channels, as they were gathered: with one deform_group nothing is moved in memory.
    columns = columns.permute(0, 2, 3, 1, 4).reshape(batch * places, cells, groups, inside)
    columns = columns.permute(2, 0, 1, 3).reshape(groups, batch * places, cells * inside)
    matrix = weight.reshape(groups, outside, inside, cells).permute(0, 3, 2, 1)
    output = columns @ matrix.reshape(groups, cells * inside, outside)
    output = output.view(groups, batch, places, outside).permute(1, 0, 3, 2)
    return output.reshape(batch, len(weight), places)


def _places(
    size: tuple[int, int],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
    like: Tensor,
) -> tuple[Tensor, Tensor]:
    """Return where an ordinary convolution samples: ``(H' W', cells)`` in y and in x."""
    axes = []
    for axis in range(2):
        cell = torch.arange(kernel[axis], device=like.device) * dilation[axis]
        place = torch.arange(size[axis], device=like.device) * stride[axis] - padding[axis]
        axes.append((place[:, None] + cell).to(like))
    whole = (*size, *kernel)
    y, x = axes[0][:, None, :, None].expand(whole), axes[1][None, :, None, :].expand(whole)
    return y.reshape(size[0] * size[1], -1), x.reshape(size[0] * size[1], -1)


def _check(
    input: Tensor,
    offset: Tensor,
    weight: Tensor,
    mask: Tensor | None,
    bias: Tensor | None,
    settings: tuple[tuple[int, int], ...],
    groups: int,
    deform_groups: int,
) -> tuple[int, int]:
    """Compare the shapes, and return the size of the output."""
    name = "deform_conv2d"
    require_tensors(
        name, input=(input, ("B", "C", "H", "W")), weight=(weight, ("D", "c", "kh", "kw"))
    )
    batch, channels, *sizes = input.shape
    for argument, value, of in (
        ("groups", groups, "channels"),
        ("deform_groups", deform_groups, "channels"),
    ):
        fits = value > 0 and channels % value == 0
        require(fits, name, argument, value, f"a divisor of the {channels} {of} of the input")
    fits = len(weight) % groups == 0
    require(fits, name, "groups", groups, f"a divisor of the {len(weight)} channels of the output")
    wanted = (len(weight), channels // groups, *weight.shape[2:])
    cells = weight.shape[2] * weight.shape[3]
    out = [
        (cells_ + 2 * pad - step * (kernel - 1) - 1) // stride + 1
        for cells_, kernel, stride, pad, step in zip(
            sizes, weight.shape[2:], *settings, strict=True
        )
    ]
    fits = min(out) > 0
    require(fits, name, "the kernel", f"larger than the input {tuple(sizes)}", "within it")
    given: dict[str, tuple[Tensor, tuple[int | str, ...]]] = {
        "weight": (weight, wanted),
        "offset": (offset, (batch, deform_groups * 2 * cells, *out)),
    }
    if mask is not None:
        given["mask"] = (mask, (batch, deform_groups * cells, *out))
    if bias is not None:
        given["bias"] = (bias, (len(weight),))
    require_tensors(name, input=(input, ("B", "C", "H", "W")), **given)
    require_one(name, "dtype", input=input, **{key: value for key, (value, _) in given.items()})
    return out[0], out[1]
