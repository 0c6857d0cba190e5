"""Regions of a feature map as arrays of one size: RoIAlign and RoIPool."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from mm2pl.ops.arguments import full_precision, pair, require, values_are_known
from mm2pl.ops.gather import gather, zero
from mm2pl.ops.sampling import (
    Rows,
    begins_of,
    bilinear,
    check_regions,
    even_grid,
    regions_of,
    rows_of_samples,
    runs,
    table_of,
    uneven_grid,
    upright_means,
)

EMPTY = -10_000.0  # what MMCV's RoIAlign takes for the maximum of no samples


@full_precision
def roi_align(
    input: Tensor,
    rois: Tensor,
    output_size: int | tuple[int, int],
    spatial_scale: float = 1.0,
    sampling_ratio: int = 0,
    pool_mode: str = "avg",
    aligned: bool = True,
) -> Tensor:
    """Sample regions bilinearly.

    Args:
        input: ``(B, C, H, W)``.
        rois: ``(N, 5)``: image, x1, y1, x2, y2 in pixels of the image. They get no gradient, as in MMCV.
        output_size: Bins of y and x.
        spatial_scale: Cells of the map per pixel.
        sampling_ratio: Samples per bin along each axis; 0 takes one for each cell that a bin covers.
        pool_mode: ``avg`` or ``max`` of a bin's samples.
        aligned: Whether cell centres lie at halves.

    Returns:
        Tensor: ``(N, C, *output_size)``.

    Raises:
        ArgumentError: An argument has another shape, type or value.
    """
    require(pool_mode in ("avg", "max"), "roi_align", "pool_mode", repr(pool_mode), "avg or max")
    bins = pair("roi_align", "output_size", output_size)
    if pool_mode == "max":
        return roi_align_maxima(input, rois, bins, spatial_scale, sampling_ratio, aligned)[0]
    start, size = region(input, rois, spatial_scale, sampling_ratio, aligned)
    begins = _begins(start, size, bins)
    return upright_means(input, rois[:, 0], begins, size, bins, sampling_ratio)


@full_precision
def roi_align_maxima(
    input: Tensor,
    rois: Tensor,
    output_size: int | tuple[int, int],
    spatial_scale: float,
    sampling_ratio: int,
    aligned: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the greatest sample of each bin, and where it was taken: y and x in cells, -1 where there is none."""
    bins = pair("roi_align", "output_size", output_size)
    start, size = region(input, rois, spatial_scale, sampling_ratio, aligned)
    images, begins = rois[:, 0].long(), _begins(start, size, bins)
    with torch.no_grad():
        search = _even_maxima if sampling_ratio > 0 else _uneven_maxima
        found = search(input, images, begins, size, bins, sampling_ratio)
    values, y, x = (regions_of(each, bins) for each in found)
    index, weight = bilinear(images[:, None, None, None], y, x, input.shape)
    channel = torch.arange(input.shape[1], device=input.device).view(1, -1, 1, 1, 1)
    cells = table_of(input)[index, channel] if input.numel() else weight
    known = values > EMPTY  # else MMCV keeps what it began with
    return torch.where(known, (cells * weight).sum(-1), values), y, x


def _begins(start: Tensor, size: Tensor, bins: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Return where bins begin, in cells: ``(N, bins of y, 1)`` and ``(N, 1, bins of x)``."""
    y, x = (
        start[:, axis, None]
        + torch.arange(count, device=size.device) * (size[:, axis, None] / count)
        for axis, count in enumerate(bins)
    )
    return y[:, :, None], x[:, None]


def _even_maxima(
    input: Tensor,
    images: Tensor,
    begins: tuple[Tensor, Tensor],
    size: Tensor,
    bins: tuple[int, int],
    samples: int,
) -> tuple[Tensor, ...]:
    """Return the greatest samples of bins with their y and x, ``(N * bins of y * bins of x, C)`` each."""
    grid = even_grid(size, bins, samples)
    whole = (len(size), *bins, samples, samples)
    y, x = begins[0][..., None, None] + grid.in_y, begins[1][..., None, None] + grid.in_x
    own = grid.of_regions(images).expand(whole)
    counts = images.new_full((math.prod(whole[:3]),), samples**2)
    y, x = (each.expand(whole).flatten() for each in (y, x))
    return _maxima(input, own.flatten(), y, x, counts)


def _uneven_maxima(
    input: Tensor,
    images: Tensor,
    begins: tuple[Tensor, Tensor],
    size: Tensor,
    bins: tuple[int, int],
    _: int,
) -> tuple[Tensor, ...]:
    """Return what :func:`_even_maxima` does, with a sample for each cell: some of them at a time."""
    y, x = (each.expand(-1, *bins).flatten() for each in begins)
    row_bins, row_numbers, lengths = rows_of_samples(size, bins)

    def take(some: slice) -> tuple[Tensor, Tensor]:
        own, column = runs(lengths[some])
        of, row = (each[some].index_select(0, own) for each in (row_bins, row_numbers))
        grid = uneven_grid(size, bins, of, row, column)
        return grid.of_bins(y) + grid.in_y, grid.of_bins(x) + grid.in_x

    found = _maxima(input, images[:0], y[:0], x[:0], images.new_zeros(len(y)))
    rows = Rows(row_bins, lengths, take)
    for some in rows.pieces(input.shape[1]):
        own, (first, last) = row_bins[some], row_bins[some][[0, -1]].tolist()
        part = slice(first, last + 1)
        counts = own.new_zeros(last - first + 1).index_add(0, own - first, lengths[some])
        of_image = images.repeat_interleave(bins[0] * bins[1])[part].repeat_interleave(counts)
        new = _maxima(input, of_image, *take(some), counts=counts)
        better = new[0] > found[0][part]
        for old, each in zip(found, new, strict=True):
            old[part] = torch.where(better, each, old[part])
    return found


def _maxima(
    input: Tensor, images: Tensor, y: Tensor, x: Tensor, counts: Tensor
) -> tuple[Tensor, ...]:
    """Return the first of the greatest samples of each bin with its y and x, ``(bins, C)`` each.

    Args:
        input: ``(B, C, H, W)``.
        images: Of the samples, one bin's after the other's, ``(E,)``.
        y: In cells, as ``images``.
        x: As ``y``.
        counts: How many each bin has.
    """
    fills = [y.new_full((len(counts), input.shape[1]), each) for each in (EMPTY, -1, -1)]
    if not len(y) or not input.numel():
        return tuple(fills)
    values = gather(table_of(input), *bilinear(images, y, x, input.shape))
    # MMCV compares with >, so that what is not a number is never the greatest.
    values = values.masked_fill_(values.isnan(), -torch.inf)
    every = torch.arange(len(y), device=y.device)
    _, _, _, best = torch.embedding_bag(values, every, begins_of(counts), mode=2)
    best = best.clamp(min=0)
    greatest = values.gather(0, best)
    known = (counts > 0)[:, None] & (greatest > EMPTY)
    found = (greatest, y[best], x[best])
    return tuple(torch.where(known, *each) for each in zip(found, fills, strict=True))


def region(
    input: Tensor, rois: Tensor, spatial_scale: float, sampling_ratio: int, aligned: bool
) -> tuple[Tensor, Tensor]:
    """Return where regions start and how large they are, in cells: ``(N, 2)`` each, y and x."""
    check_regions("roi_align", input, rois, 5, sampling_ratio)
    rois = rois.detach().to(input.dtype)
    shift = 0.5 if aligned else 0.0
    corners = rois[:, 1:] * spatial_scale - shift
    start, end = corners[:, [1, 0]], corners[:, [3, 2]]
    size = end - start
    if aligned:
        fits = not values_are_known(size) or bool((size >= 0).all())
        require(
            fits,
            "roi_align",
            "rois",
            "one of a negative size or without one",
            "x1 <= x2 and y1 <= y2",
        )
        return start, size
    return start, size.clamp(min=1.0)


def roi_pool(
    input: Tensor,
    rois: Tensor,
    output_size: int | tuple[int, int],
    spatial_scale: float = 1.0,
) -> Tensor:
    """Take the maximum of the cells that each bin of a region touches.

    Args:
        input: ``(B, C, H, W)``.
        rois: ``(N, 5)``: image, x1, y1, x2, y2 in pixels of the image, the last ones included.
        output_size: Bins of y and x.
        spatial_scale: Cells of the map per pixel.

    Returns:
        Tensor: ``(N, C, *output_size)``; 0 for a bin without a cell.
    """
    return roi_pool_with_cells(input, rois, output_size, spatial_scale)[0]


@full_precision
def roi_pool_with_cells(
    input: Tensor, rois: Tensor, output_size: int | tuple[int, int], spatial_scale: float
) -> tuple[Tensor, Tensor]:
    """Return RoIPool's output, and the cell ``y * W + x`` of each maximum, -1 where there is none."""
    check_regions("roi_pool", input, rois, 5)
    bins = pair("roi_pool", "output_size", output_size)
    _, channels, *sizes = input.shape
    corners = rois.detach().to(input.dtype)[:, 1:]
    start = corners[:, [1, 0]] * spatial_scale
    size = (corners[:, [3, 2]] + 1) * spatial_scale - start
    ranges = []
    for axis, (count, cells) in enumerate(zip(bins, sizes, strict=True)):
        place, one = torch.arange(count, device=input.device), size[:, axis, None] / count
        first = (place * one + start[:, axis, None]).floor().clamp(0, cells)
        last = ((place + 1) * one + start[:, axis, None]).ceil().clamp(0, cells)
        ranges.append((first.long(), (last - first).clamp(min=0).long()))
    (top, rows), (left, columns) = ranges
    # Bins, their cells in reading order: MMCV takes the first of equal maxima.
    cells_of_bin = (rows[:, :, None] * columns[:, None, :]).masked_fill(
        (size <= 0).any(1)[:, None, None], 0
    )
    counts = cells_of_bin.reshape(-1)
    of_bin = torch.repeat_interleave(torch.arange(len(counts), device=input.device), counts)
    begins = counts.cumsum(0) - counts
    within = torch.arange(len(of_bin), device=input.device) - begins[of_bin]

    def spread(values: Tensor) -> Tensor:
        return values.expand(len(rois), *bins).reshape(-1)[of_bin]

    row_length = spread(columns[:, None, :])
    y = spread(top[:, :, None]) + within.div(row_length, rounding_mode="floor")
    x = spread(left[:, None, :]) + within % row_length
    images = spread(rois[:, 0].long()[:, None, None])
    index = (images * sizes[0] + y) * sizes[1] + x
    table = table_of(input)
    shape = (len(rois), *bins, channels)
    if not len(index) or not channels:
        none = torch.full(shape, -1, device=input.device).permute(0, 3, 1, 2)
        return input.new_zeros(shape).permute(0, 3, 1, 2) + zero(input), none
    with torch.no_grad():
        _, _, _, entries = torch.embedding_bag(table, index, begins, mode=2)
    # The rows of the maxima, (bins, C); -1 for an empty bin.
    entries = entries.masked_fill((counts == 0)[:, None], -1)
    maxima = table.gather(0, entries.clamp(min=0).reshape(-1, channels))
    output = torch.where(entries >= 0, maxima, torch.zeros_like(maxima))
    places = torch.where(entries >= 0, entries % (sizes[0] * sizes[1]), entries)
    return (
        output.view(shape).permute(0, 3, 1, 2).contiguous(),
        places.view(shape).permute(0, 3, 1, 2).contiguous(),
    )
