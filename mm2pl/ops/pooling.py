"""Relatives of RoIAlign: bins that are moved, bins that are integrated, and the borders of boxes."""

from __future__ import annotations

import torch
from torch import Tensor

from mm2pl.ops.arguments import full_precision, pair, require, require_one, require_tensors
from mm2pl.ops.gather import gather
from mm2pl.ops.sampling import (
    Axis,
    Grid,
    bilinear,
    check_regions,
    means,
    products,
    runs,
    table_of,
)


@full_precision
def deform_roi_pool(
    input: Tensor,
    rois: Tensor,
    offset: Tensor | None,
    output_size: int | tuple[int, int],
    spatial_scale: float = 1.0,
    sampling_ratio: int = 0,
    gamma: float = 0.1,
) -> Tensor:
    """Average regions as RoIAlign does, with each bin moved by an offset.

    MMCV's kernel gives an offset whose sample lies up to one cell outside the map a gradient beyond it; here it
    gets none there, as the values do not change.

    Args:
        input: ``(B, C, H, W)``.
        rois: ``(N, 5)``: image, x1, y1, x2, y2 in pixels. They get no gradient, as in MMCV.
        offset: ``(N, 2, *output_size)``: x and y of each bin, as shares of the region's size; None moves nothing.
        output_size: Bins of y and x.
        spatial_scale: Cells of the map per pixel.
        sampling_ratio: Samples per bin along each axis; 0 takes one for each cell that a bin covers.
        gamma: Factor of the offsets.

    Returns:
        Tensor: ``(N, C, *output_size)``.

    Raises:
        ArgumentError: An argument has another shape or type.
    """
    name = "deform_roi_pool"
    bins = pair(name, "output_size", output_size)
    check_regions(name, input, rois, 5, sampling_ratio)
    rois = rois.detach().to(input.dtype)
    corners = rois[:, 1:] * spatial_scale - 0.5
    start = corners[:, [1, 0]]
    size = corners[:, [3, 2]] - start
    if offset is None:
        begins = start[:, :, None, None].expand(-1, -1, *bins)
    else:
        require_tensors(
            name, input=(input, ("B", "C", "H", "W")), offset=(offset, (len(rois), 2, *bins))
        )
        require_one(name, "dtype", input=input, offset=offset)
        begins = start[:, :, None, None] + gamma * size[:, :, None, None] * offset.flip(1)

    def place(grid: Grid) -> tuple[Tensor, Tensor]:
        top, left = (grid.of_bins(each) for each in begins.unbind(1))
        return top + grid.bin_y + grid.in_y, left + grid.bin_x + grid.in_x

    return means(input, rois[:, 0], size, bins, sampling_ratio, place)


@full_precision
def prroi_pool(
    input: Tensor,
    rois: Tensor,
    output_size: int | tuple[int, int],
    spatial_scale: float = 1.0,
) -> Tensor:
    """Integrate the bilinear surface over each bin, and divide by the bin's area (Precise RoI Pooling).

    It is differentiable in the corners of the regions too.

    Args:
        input: ``(B, C, H, W)``; the surface falls to 0 within one cell outside the map.
        rois: ``(N, 5)``: image, x1, y1, x2, y2 in pixels.
        output_size: Bins of y and x.
        spatial_scale: Cells of the map per pixel.

    Returns:
        Tensor: ``(N, C, *output_size)``; 0 for a bin without an area.
    """
    check_regions("prroi_pool", input, rois, 5)
    bins, limits = pair("prroi_pool", "output_size", output_size), input.shape[2:]
    corners = rois[:, 1:].to(input.dtype) * spatial_scale
    start = corners[:, [1, 0]]
    one = (corners[:, [3, 2]] - start).clamp(min=0) / corners.new_tensor(bins)
    # No more cells than the map has: a region may be much larger.
    most = torch.minimum(one.detach().ceil() + 2, one.new_tensor(limits))
    most = most.nan_to_num(0, 0, 0).long().masked_fill((one <= 0).any(1)[:, None], 0)
    y, x = (
        _integrals(
            start[:, k, None], one[:, k, None], most[:, k, None].expand(-1, bins[k]), limits[k]
        )
        for k in range(2)
    )
    y, x = y._replace(counts=y.counts[:, :, None]), x._replace(counts=x.counts[:, None])
    return products(input, rois[:, 0].detach(), bins, y, x)


def _integrals(start: Tensor, one: Tensor, counts: Tensor, size: int) -> Axis:
    """Return the cells along an axis that each bin may touch, and the mean share of each.

    Args:
        start: Where regions begin, in cells, ``(N, 1)``.
        one: Size of their bins, ``(N, 1)``.
        counts: Cells that each bin may touch, ``(N, bins)``.
        size: Cells of the map.
    """
    low = start + torch.arange(counts.shape[1], device=start.device) * one
    line, number = runs(counts.flatten())
    low, one = (each.expand_as(counts).flatten().index_select(0, line) for each in (low, one))
    cells = low.detach().floor().clamp(min=0) + number
    share = _hat(low + one - cells) - _hat(low - cells)
    inside = (cells >= 0) & (cells < size)
    return Axis(cells.clamp(0, size - 1).long(), share * inside / one, counts)


def _hat(x: Tensor) -> Tensor:
    """Return the integral of a cell's bilinear share ``max(1 - |t|, 0)`` up to ``x``, less one half."""
    x = x.clamp(-1, 1)
    return x - x * x.abs() / 2


def border_align(input: Tensor, boxes: Tensor, pool_size: int) -> Tensor:
    """Take the greatest of the samples along each side of each box (BorderDet).

    Args:
        input: ``(B, 4 * C, H, W)``: the channels of the top, left, bottom and right sides.
        boxes: ``(B, N, 4)``: x1, y1, x2, y2 in cells. They get no gradient, as in MMCV.
        pool_size: Steps along a side, which has one sample more.

    Returns:
        Tensor: ``(B, C, N, 4)``: top, left, bottom, right.

    Raises:
        ArgumentError: An argument has another shape or type.
    """
    return border_align_with_places(input, boxes, pool_size)[0]


@full_precision
def border_align_with_places(input: Tensor, boxes: Tensor, pool_size: int) -> tuple[Tensor, Tensor]:
    """Return what :func:`border_align` does, and which sample was the greatest."""
    name = "border_align"
    require_tensors(name, input=(input, ("B", "4 * C", "H", "W")))
    require_tensors(name, input=(input, ("B", "C", "H", "W")), boxes=(boxes, (len(input), "N", 4)))
    batch, channels, height, width = input.shape
    require(channels % 4 == 0, name, "input", f"of {channels} channels", "of a multiple of 4")
    require(pool_size > 0, name, "pool_size", pool_size, "at least 1")
    y, x = border_points(boxes.detach().to(input.dtype), pool_size)
    maps = input.reshape(batch * 4, channels // 4, height, width)
    of_side = torch.arange(batch * 4, device=input.device).view(batch, 1, 4, 1)
    index, weight = bilinear(of_side, y, x, maps.shape)
    values = gather(table_of(maps), index.view(-1, 4), weight.view(-1, 4))
    values, best = values.view(*y.shape, maps.shape[1]).max(3)
    return values.permute(0, 3, 1, 2).contiguous(), best.permute(0, 3, 1, 2)


def border_points(boxes: Tensor, pool_size: int) -> tuple[Tensor, Tensor]:
    """Return y and x of the samples of each side of boxes: ``(B, N, 4, pool_size + 1)`` each."""
    wide, tall = ((boxes[..., 2:] - boxes[..., :2]) / pool_size).unbind(-1)
    none = torch.zeros_like(wide)
    step = torch.arange(pool_size + 1, device=boxes.device)
    along_x = torch.stack([wide, none, -wide, none], -1)[..., None] * step
    along_y = torch.stack([none, tall, none, -tall], -1)[..., None] * step
    return boxes[..., [1, 1, 3, 3], None] + along_y, boxes[..., [0, 0, 2, 2], None] + along_x
