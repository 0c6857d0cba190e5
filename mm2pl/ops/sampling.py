"""Regions of a feature map as bins of samples: what RoIAlign and its relatives have in common."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from mm2pl.ops.arguments import require, require_tensors, require_values, values_are_known
from mm2pl.ops.gather import clamped, corners_of, gather

LIMIT = 1 << 24
"""Entries of the tensors that are made at a time where the boxes decide how many samples there are: 200 MB or so."""


def check_regions(
    operator: str, input: Tensor, rois: Tensor, width: int, sampling_ratio: int = 0
) -> None:
    """Check a feature map and regions, ``(N, width)``, whose first column is the image."""
    require_tensors(operator, input=(input, ("B", "C", "H", "W")), rois=(rois, ("N", width)))
    if sampling_ratio <= 0:
        require_values(operator, rois=rois)
    if len(rois) and values_are_known(rois):
        images = rois[:, 0].detach()
        first, last = float(images.min()), float(images.max())
        fits = first > -1 and last < len(input)
        given = f"rois for images {first:g} to {last:g}"
        require(fits, operator, "rois[:, 0]", given, f"in 0 to {len(input) - 1}")


def table_of(input: Tensor) -> Tensor:
    """Return a feature map as rows of channels: ``(B, C, H, W)`` → ``(B * H * W, C)``."""
    return input.permute(0, 2, 3, 1).flatten(0, 2)


def runs(counts: Tensor) -> tuple[Tensor, Tensor]:
    """Return of so many things of each owner, ``(N,)``: whose each one is, and its number among the owner's."""
    owner = torch.repeat_interleave(counts)
    begins = begins_of(counts).index_select(0, owner)
    return owner, torch.arange(len(owner), device=counts.device) - begins


def begins_of(counts: Tensor) -> Tensor:
    """Return where each owner's things begin, in the shape of ``counts``."""
    flat = counts.flatten()
    return (flat.cumsum(0) - flat).view_as(counts)


def adaptive(size: Tensor, bins: tuple[int, int]) -> Tensor:
    """Return how many samples a bin has along each axis, one for each cell that it covers: ``(N, 2)``."""
    return (size / size.new_tensor(bins)).ceil().clamp(min=0).nan_to_num(0, 0, 0).long()


class Grid(NamedTuple):
    """Samples of regions, to be broadcast with each other.

    With equally many in each bin, each axis has a dimension of its own: ``(N, bins of y, bins of x, samples of y,
    samples of x)``. Else they are in one row, ``(E,)``, with the region and the bin of each.

    Attributes:
        bin_y: Where bins begin in the region, in cells.
        bin_x: As ``bin_y``.
        in_y: Where a bin is sampled.
        in_x: As ``in_y``.
        regions: Of the samples in one row.
        bins: As ``regions``: numbers from 0 to ``N * bins of y * bins of x - 1``.
    """

    bin_y: Tensor
    bin_x: Tensor
    in_y: Tensor
    in_x: Tensor
    regions: Tensor | None = None
    bins: Tensor | None = None

    def of_regions(self, values: Tensor) -> Tensor:
        """Return what regions have, ``(N,)``, for the samples."""
        return (
            values.view(-1, 1, 1, 1, 1)
            if self.regions is None
            else values.index_select(0, self.regions)
        )

    def of_bins(self, values: Tensor) -> Tensor:
        """Return what bins have, ``(N, bins of y, bins of x)``, for the samples."""
        return (
            values[..., None, None]
            if self.bins is None
            else values.flatten().index_select(0, self.bins)
        )


Place = Callable[[Grid], tuple[Tensor, Tensor]]


def even_grid(size: Tensor, bins: tuple[int, int], samples: int) -> Grid:
    """Return a grid of ``samples`` along each axis of a bin. It reads no values, so that it goes into a graph.

    Args:
        size: Of each region in cells, ``(N, 2)``: y and x.
        bins: Of y and x.
        samples: Of a bin.
    """
    parts = []
    for axis, count in enumerate(bins):
        one = size[:, axis, None] / count
        # In MMCV's order of operations: near the border of a cell the last digit decides.
        parts.append(torch.arange(count, device=size.device) * one)
        parts.append((torch.arange(samples, device=size.device) + 0.5) * one / samples)
    return Grid(
        parts[0][:, :, None, None, None],
        parts[2][:, None, :, None, None],
        parts[1][:, None, None, :, None],
        parts[3][:, None, None, None, :],
    )


def rows_of_samples(size: Tensor, bins: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor]:
    """Return of each row of samples its bin, its number in the bin, and its length, ``(R,)`` each."""
    samples = adaptive(size, bins).repeat_interleave(bins[0] * bins[1], 0)
    own, number = runs(samples[:, 0])
    return own, number, samples[:, 1].index_select(0, own)


def uneven_grid(
    size: Tensor, bins: tuple[int, int], own: Tensor, row: Tensor, column: Tensor
) -> Grid:
    """Return a grid in one row, of as many samples in a bin as there are cells.

    Args:
        size: Of each region in cells, ``(N, 2)``: y and x.
        bins: Of y and x.
        own: Bin of each sample, ``(E,)``.
        row: Of the sample in its bin, as ``own``.
        column: As ``row``.
    """
    one, samples = size / size.new_tensor(bins), adaptive(size, bins)
    regions = own.div(bins[0] * bins[1], rounding_mode="floor")
    begins, within = [], []
    for axis, number in enumerate((row, column)):
        place = torch.arange(bins[axis], device=own.device) * one[:, axis, None]
        place = place[:, :, None] if axis == 0 else place[:, None]
        begins.append(place.expand(-1, *bins).flatten().index_select(0, own))
        size_, count = (each[:, axis].index_select(0, regions) for each in (one, samples))
        within.append((number + 0.5) * size_ / count)
    return Grid(begins[0], begins[1], within[0], within[1], regions, own)


class Rows(NamedTuple):
    """Rows of entries that are summed up: several rows of different lengths to a bin.

    Attributes:
        bins: Of the rows, in ascending order, ``(R,)``.
        lengths: How many entries each has, ``(R,)``.
        take: Returns cells and weights of the entries of some rows, ``(E,)`` each.
    """

    bins: Tensor
    lengths: Tensor
    take: Callable[[slice], tuple[Tensor, Tensor]]

    def pieces(self, size: int = 1) -> list[slice]:
        """Return rows that have up to about ``LIMIT`` entries of a size together; a row is in one piece."""
        if not len(self.lengths):
            return []
        of_row = begins_of(self.lengths) * size // LIMIT
        ends = torch.unique_consecutive(of_row, return_counts=True)[1].cumsum(0).tolist()
        return [slice(begin, end) for begin, end in zip([0, *ends], ends, strict=False)]


def sums(input: Tensor, rows: Rows, count: int) -> Tensor:
    """Return the weighted sum of the cells of each bin: ``(count, C)``.

    Where there are many, entries are not kept, but made again for the gradient.
    """

    def run(input: Tensor, some: slice, first: int, bins: int) -> Tensor:
        own = rows.bins[some] - first
        counts = own.new_zeros(bins).index_add(0, own, rows.lengths[some])
        return gather(table_of(input), *rows.take(some), begins_of(counts))

    pieces = rows.pieces()
    if len(pieces) <= 1:  # in one call: the gradient of the whole map is made once
        return run(input, slice(None), 0, count)
    parts, places = [], []
    for some in pieces:
        first, last = (int(rows.bins[some][end]) for end in (0, -1))
        given = (input, some, first, last - first + 1)
        parts.append(checkpoint(run, *given, use_reentrant=False, preserve_rng_state=False))
        places.append(torch.arange(first, last + 1, device=input.device))
    return input.new_zeros(count, input.shape[1]).index_add(0, torch.cat(places), torch.cat(parts))


def regions_of(total: Tensor, bins: tuple[int, int]) -> Tensor:
    """Return what bins have as regions: ``(N * bins of y * bins of x, C)`` → ``(N, C, *bins)``."""
    return total.unflatten(0, (-1, *bins)).permute(0, 3, 1, 2).contiguous()


def bilinear(images: Tensor, y: Tensor, x: Tensor, shape: torch.Size) -> tuple[Tensor, Tensor]:
    """Return the rows of the table around points and their weights: ``(…, 4)`` each.

    Args:
        images: Of the points, as ``y`` or to be broadcast.
        y: In cells; to be broadcast.
        x: As ``y``.
        shape: Of the feature map.
    """
    _, _, height, width = shape
    index, weight = corners_of(clamped(y, height), clamped(x, width), width)
    return index + (images * (height * width))[..., None], weight


def means(
    input: Tensor,
    images: Tensor,
    size: Tensor,
    bins: tuple[int, int],
    sampling_ratio: int,
    place: Place,
) -> Tensor:
    """Return the mean of each bin's samples, wherever ``place`` puts them: ``(N, C, *bins)``.

    Args:
        input: ``(B, C, H, W)``.
        images: Of the regions, ``(N,)``.
        size: Of the regions in cells, ``(N, 2)``.
        bins: Of y and x.
        sampling_ratio: Samples per bin along each axis; 0 takes one for each cell that a bin covers.
        place: Returns y and x of all samples of a grid, as they are or to be broadcast.
    """
    images = images.long()
    if sampling_ratio > 0:
        grid = even_grid(size, bins, sampling_ratio)
        index, weight = bilinear(grid.of_regions(images), *place(grid), input.shape)
        entries = (-1, 4 * sampling_ratio**2)
        weight = weight.reshape(entries) / sampling_ratio**2
        return regions_of(gather(table_of(input), index.reshape(entries), weight), bins)
    count = len(size) * bins[0] * bins[1]
    total = adaptive(size, bins).prod(1)
    row_bins, row_numbers, lengths = rows_of_samples(size, bins)

    def take(some: slice) -> tuple[Tensor, Tensor]:
        own, column = runs(lengths[some])
        of, row = (each[some].index_select(0, own) for each in (row_bins, row_numbers))
        grid = uneven_grid(size, bins, of, row, column)
        index, weight = bilinear(grid.of_regions(images), *place(grid), input.shape)
        return index.flatten(), (weight / grid.of_regions(total)[:, None]).flatten()

    return regions_of(sums(input, Rows(row_bins, lengths * 4, take), count), bins)


class Axis(NamedTuple):
    """Cells along one axis of the map that bins take, each cell once.

    Attributes:
        cells: One line's after the other's, ``(S,)``.
        shares: As ``cells``.
        counts: How many each line has: ``(N, bins of y, 1)``, ``(N, 1, bins of x)`` or one for each bin.
    """

    cells: Tensor
    shares: Tensor
    counts: Tensor


def upright_means(
    input: Tensor,
    images: Tensor,
    begins: tuple[Tensor, Tensor],
    size: Tensor,
    bins: tuple[int, int],
    sampling_ratio: int,
) -> Tensor:
    """Return what :func:`means` does for bins whose samples lie in rows and columns.

    Args:
        input: ``(B, C, H, W)``.
        images: Of the regions, ``(N,)``.
        begins: Where bins begin in y and x, in cells, each to be broadcast to ``(N, bins of y, bins of x)``.
        size: Of the regions in cells, ``(N, 2)``.
        bins: Of y and x.
        sampling_ratio: As in :func:`means`.
    """
    if sampling_ratio > 0:
        top, left = (each[..., None, None] for each in begins)
        place: Place = lambda grid: (top + grid.in_y, left + grid.in_x)  # noqa: E731
        return means(input, images, size, bins, sampling_ratio, place)
    one, samples = size / size.new_tensor(bins), adaptive(size, bins)
    y, x = (
        axis_of_samples(
            begins[k], one[:, k, None, None], samples[:, k, None, None], input.shape[2 + k]
        )
        for k in range(2)
    )
    return products(input, images, bins, y, x, samples.prod(1))


def axis_of_samples(begins: Tensor, one: Tensor, samples: Tensor, size: int) -> Axis:
    """Add up what samples that are at most one cell apart take of each cell along an axis.

    Args:
        begins: Where bins begin, in cells: as ``Axis.counts``.
        one: Size of a bin, to be broadcast.
        samples: Of a bin, to be broadcast.
        size: Cells of the map.
    """
    shape = begins.shape
    begins, one, samples = (each.expand(shape).flatten() for each in (begins, one, samples))
    line, number = runs(samples)
    first, step, count = (each.index_select(0, line) for each in (begins, one, samples))
    corners = clamped(first + (number + 0.5) * step / count, size)
    # A region much larger than the map has more samples than cells.
    counts = (samples + 1).clamp(max=max(size, 1)).masked_fill(samples == 0, 0)
    lowest, highest = (
        counts.new_zeros(len(counts)).masked_scatter(samples > 0, cells[chosen])
        for cells, chosen in zip(corners.cells, (number == 0, number == count - 1), strict=True)
    )
    slots = begins_of(counts)
    base, last = slots - lowest, slots + counts - 1
    place = torch.minimum(corners.cells + base.index_select(0, line), last.index_select(0, line))
    owner, cell = runs(counts)
    shares = corners.shares.new_zeros(len(owner))
    shares = shares.index_add(0, place.flatten(), corners.shares.flatten())
    # A cell that no sample touches has no share, but 0 times what is not a number would be none.
    cells = torch.minimum(lowest.index_select(0, owner) + cell, highest.index_select(0, owner))
    return Axis(cells, shares, counts.view(shape))


def products(
    input: Tensor,
    images: Tensor,
    bins: tuple[int, int],
    y: Axis,
    x: Axis,
    divisor: Tensor | None = None,
) -> Tensor:
    """Return the sums of what two axes take: ``(N, C, *bins)``.

    Args:
        input: ``(B, C, H, W)``.
        images: Of the regions, ``(N,)``.
        bins: Of y and x.
        y: Cells of the bins along y.
        x: Cells of the bins along x.
        divisor: Of each region's sums, ``(N,)``; None: 1.
    """
    _, _, height, width = input.shape
    whole = (len(images), *bins)
    begins_y, begins_x, counts_y, counts_x = (
        each.expand(whole).flatten()
        for each in (begins_of(y.counts), begins_of(x.counts), y.counts, x.counts)
    )
    row_bins, number = runs(counts_y)
    slots = begins_y.index_select(0, row_bins) + number
    regions = row_bins.div(bins[0] * bins[1], rounding_mode="floor")
    cells = images.long().index_select(0, regions) * height + y.cells.index_select(0, slots)
    cells = cells * width
    shares = y.shares.index_select(0, slots)
    if divisor is not None:
        shares = shares / divisor.index_select(0, regions)
    begins, lengths = (each.index_select(0, row_bins) for each in (begins_x, counts_x))

    def take(some: slice) -> tuple[Tensor, Tensor]:
        shift = begins[some] - begins_of(lengths[some])
        own = torch.repeat_interleave(lengths[some])
        column = torch.arange(len(own), device=own.device) + shift.index_select(0, own)
        cell, share = (each[some].index_select(0, own) for each in (cells, shares))
        return cell + x.cells.index_select(0, column), share * x.shares.index_select(0, column)

    return regions_of(sums(input, Rows(row_bins, lengths, take), math.prod(whole)), bins)
