"""Regions of a feature map as arrays of one size: RoIAlign and RoIPool."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from mm2pl.ops.arguments import full_precision, pair, require, values_are_known
from mm2pl.ops.gather import Corners, clamped, corners_of, gather, zero
from mm2pl.ops.sampling import LIMIT, Taken, check_regions, grids, sums, table_of

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
    settings = (spatial_scale, sampling_ratio)
    if pool_mode == "max":
        return roi_align_maxima(input, rois, bins, *settings, aligned)[0]
    taken = []
    for part in _parts(input, rois, bins, *settings, aligned):
        index, weight = (
            part.cells(input.shape) if sampling_ratio <= 0 else part.corners(input.shape)
        )
        weight = weight.flatten(3) / max(part.samples, 1)
        taken.append(Taken(part.chosen, index.flatten(3), weight))
    return sums(input, taken, len(rois), bins)


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
    table = table_of(input)
    chosen, found = [], []
    for part in _parts(input, rois, bins, spatial_scale, sampling_ratio, aligned):
        for pieces in part.pieces(entries=input.shape[1] if sampling_ratio <= 0 else 0):
            chosen.append(pieces[0].chosen)
            maxima = (_maxima(table, piece, bins, input.shape) for piece in pieces)
            found.append(functools.reduce(_greater, maxima))
    if not found:
        none = input.new_zeros(0, input.shape[1], *bins)
        return none + zero(input), none, none
    order = torch.cat(chosen).argsort()
    output, y, x = (
        torch.cat(values)[order].permute(0, 3, 1, 2).contiguous()
        for values in zip(*found, strict=True)
    )
    return output, y, x


def _maxima(
    table: Tensor, part: Part, bins: tuple[int, int], shape: torch.Size
) -> tuple[Tensor, ...]:
    """Return the greatest samples of a part's bins with their y and x: ``(n, *bins, C)`` each."""
    fills = (EMPTY, -1.0, -1.0)
    whole = (len(part.chosen), *bins, shape[1])
    if not part.samples:
        return tuple(table.new_full(whole, fill) for fill in fills)
    index, weight = part.corners(shape)
    values = gather(table, index.view(-1, 4), weight.view(-1, 4))
    values, best = values.view(*whole[:3], part.samples, shape[1]).max(3)
    found = [values, *(each.gather(3, best) for each in part.places(index.shape))]
    known = values > EMPTY  # else MMCV keeps what it began with
    return tuple(
        torch.where(known, each, each.new_tensor(fill))
        for each, fill in zip(found, fills, strict=True)
    )


def _greater(one: tuple[Tensor, ...], other: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Return the greater maxima and their places, the first of equal ones."""
    better = other[0] > one[0]
    return tuple(torch.where(better, new, old) for old, new in zip(one, other, strict=True))


class Part(NamedTuple):
    """Regions with equally many samples per bin: their sums have one length.

    Attributes:
        chosen: Which regions, ``(n,)``.
        images: Their images, ``(n,)``.
        y: Where they are sampled, in cells, ``(n, bins, samples per bin)``.
        x: As ``y``.
    """

    chosen: Tensor
    images: Tensor
    y: Tensor
    x: Tensor

    @property
    def samples(self) -> int:
        """Samples of a bin."""
        return self.y.shape[2] * self.x.shape[2]

    def pieces(self, entries: int) -> Iterator[list[Part]]:
        """Yield some of the regions at a time, in one piece, or one region in pieces of its rows of samples.

        Args:
            entries: Of each sample; 0: all in one piece.
        """
        row = self.y.shape[1] * self.x.shape[1] * self.x.shape[2] * entries
        if row * self.y.shape[2] * len(self.chosen) <= LIMIT:
            yield [self]
            return
        regions = max(LIMIT // (row * self.y.shape[2]), 1)
        for some in zip(*(each.split(regions) for each in self), strict=True):
            chosen, images, y, x = some
            parts = y.split(max(LIMIT // row, 1), 2) if len(chosen) == 1 else [y]
            yield [Part(chosen, images, part, x) for part in parts]

    def corners(self, shape: torch.Size) -> tuple[Tensor, Tensor]:
        """Return rows of the table and weights: ``(n, bins of y, bins of x, samples, 4)`` each."""
        _, _, height, width = shape
        y, x = clamped(self.y, height), clamped(self.x, width)
        y = Corners(*(each[:, :, :, None, :, None] for each in y))
        x = Corners(*(each[:, :, None, :, None, :] for each in x))
        index, weight = corners_of(y, x, width)
        index = index + (self.images * height * width).view(-1, 1, 1, 1, 1, 1)
        return index.flatten(3, 4), weight.flatten(3, 4)

    def cells(self, shape: torch.Size) -> tuple[Tensor, Tensor]:
        """Return what :meth:`corners` does with each cell once, where samples are at most one cell apart."""
        _, _, height, width = shape
        y = _once(clamped(self.y, height), height)
        x = _once(clamped(self.x, width), width)
        index = y[0][:, :, None, :, None] * width + x[0][:, None, :, None, :]
        index = index + (self.images * height * width).view(-1, 1, 1, 1, 1)
        return index.flatten(3), (y[1][:, :, None, :, None] * x[1][:, None, :, None, :]).flatten(3)

    def places(self, shape: torch.Size) -> tuple[Tensor, Tensor]:
        """Return y and x of each sample: ``(n, bins of y, bins of x, samples)``."""
        whole = (*shape[:3], self.y.shape[2], self.x.shape[2])
        y, x = self.y[:, :, None, :, None], self.x[:, None, :, None, :]
        return y.expand(whole).flatten(3), x.expand(whole).flatten(3)


def _once(axis: Corners, size: int) -> tuple[Tensor, Tensor]:
    """Add up the shares of each cell along an axis: ``(n, bins, cells)`` of ``samples + 1`` or all of the map."""
    _, count, bins, samples = axis.cells.shape
    if not samples:
        return axis.cells[0], axis.shares[0]
    first = axis.cells[0, :, :, :1]
    touched = min(
        samples + 1, max(size, 1)
    )  # a box much larger than the map has more samples than cells
    cells = first + torch.arange(touched, device=first.device)
    place = (axis.cells - first).clamp(max=touched - 1).permute(1, 2, 0, 3).reshape(count, bins, -1)
    shares = axis.shares.permute(1, 2, 0, 3).reshape(count, bins, -1)
    summed = torch.zeros_like(cells, dtype=shares.dtype).scatter_add(2, place, shares)
    # What lies past the map has no share, but must be a row of the table.
    return torch.minimum(cells, axis.cells.amax((0, 3))[..., None]), summed


def _parts(
    input: Tensor,
    rois: Tensor,
    bins: tuple[int, int],
    spatial_scale: float,
    sampling_ratio: int,
    aligned: bool,
) -> Iterator[Part]:
    """Cut regions into parts with equal grids of samples."""
    check_regions("roi_align", input, rois, 5)
    start, size = region(rois.detach().to(input.dtype), spatial_scale, aligned)
    for grid in grids(size, bins, sampling_ratio):
        top, left = start[grid.chosen].T[..., None, None, None, None]
        y, x = top + grid.bin_y + grid.in_y, left + grid.bin_x + grid.in_x
        yield Part(grid.chosen, rois[grid.chosen, 0].long(), y[:, :, 0, :, 0], x[:, 0, :, 0])


def region(rois: Tensor, spatial_scale: float, aligned: bool) -> tuple[Tensor, Tensor]:
    """Return where regions start and how large they are, in cells: ``(N, 2)`` each, y and x."""
    shift = 0.5 if aligned else 0.0
    corners = rois[:, 1:] * spatial_scale - shift
    start, end = corners[:, [1, 0]], corners[:, [3, 2]]
    size = end - start
    if aligned:
        fits = not values_are_known() or bool((size >= 0).all())
        require(fits, "roi_align", "rois", "one with x2 < x1 or y2 < y1", "x1 <= x2 and y1 <= y2")
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
    if not len(index):
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
