"""Regions of a feature map as bins of samples: what RoIAlign and its relatives have in common."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from mm2pl.ops.arguments import require, require_tensors, values_are_known
from mm2pl.ops.gather import clamped, corners_of, gather, zero

LIMIT = 1 << 24
"""Entries of the tensors that are made at a time where the boxes decide how many samples there are: 200 MB or so."""


def check_regions(operator: str, input: Tensor, rois: Tensor, width: int) -> None:
    """Check a feature map and regions, ``(N, width)``, whose first column is the image."""
    require_tensors(operator, input=(input, ("B", "C", "H", "W")), rois=(rois, ("N", width)))
    if len(rois) and values_are_known():
        first, last = int(rois[:, 0].min()), int(rois[:, 0].max())
        fits = first >= 0 and last < len(input)
        given = f"rois for images {first} to {last}"
        require(fits, operator, "rois[:, 0]", given, f"in 0 to {len(input) - 1}")


def table_of(input: Tensor) -> Tensor:
    """Return a feature map as rows of channels: ``(B, C, H, W)`` → ``(B * H * W, C)``."""
    return input.permute(0, 2, 3, 1).flatten(0, 2)


def alike(counts: Tensor) -> Iterator[tuple[list[int], Tensor]]:
    """Yield each pair of numbers in ``(N, 2)``, and which rows have it."""
    for each in torch.unique(counts, dim=0):
        yield each.tolist(), (counts == each).all(1).nonzero()[:, 0]


class Grid(NamedTuple):
    """Regions with equally many samples per bin, each axis in a dimension of its own.

    Attributes:
        chosen: Which regions, ``(n,)``.
        bin_y: Where bins begin in the region, in cells: ``(n, bins of y, 1, 1, 1)``.
        bin_x: ``(n, 1, bins of x, 1, 1)``.
        in_y: Where a bin is sampled: ``(n, 1, 1, samples of y, 1)``.
        in_x: ``(n, 1, 1, 1, samples of x)``.
        samples: Of a bin, in all pieces together.
    """

    chosen: Tensor
    bin_y: Tensor
    bin_x: Tensor
    in_y: Tensor
    in_x: Tensor
    samples: int

    def pieces(self, entries: int) -> Iterator[list[Grid]]:
        """Yield some of the regions at a time, in one piece, or one region in pieces of its rows of samples.

        Args:
            entries: Of each sample.
        """
        row = self.bin_y.shape[1] * self.bin_x.shape[2] * self.in_x.shape[4] * entries
        regions = max(LIMIT // max(row * self.in_y.shape[3], 1), 1)
        rows = max(LIMIT // max(row, 1), 1)
        for some in zip(*(each.split(regions) for each in self[:5]), strict=True):
            chosen, bin_y, bin_x, in_y, in_x = some
            parts = in_y.split(rows, 3) if len(chosen) == 1 else [in_y]
            yield [Grid(chosen, bin_y, bin_x, part, in_x, self.samples) for part in parts]


def grids(size: Tensor, bins: tuple[int, int], sampling_ratio: int) -> Iterator[Grid]:
    """Cut regions into grids.

    Args:
        size: Of each region in cells, ``(N, 2)``: y and x.
        bins: Of y and x.
        sampling_ratio: Samples per bin along each axis; 0 takes one for each cell that a bin covers.
    """
    if sampling_ratio > 0:
        # Nothing is read of the values here, so that the operator can be compiled.
        everyone = torch.arange(len(size), device=size.device)
        groups = iter([([sampling_ratio] * 2, everyone)] if len(size) else [])
    else:
        groups = alike(
            (size / size.new_tensor(bins)).ceil().clamp(min=0).nan_to_num(0, 0, 0).long()
        )
    for each, chosen in groups:
        parts = []
        for axis, (bins_, samples) in enumerate(zip(bins, each, strict=True)):
            one = size[chosen, axis, None] / bins_
            # In MMCV's order of operations: near the border of a cell the last digit decides.
            parts.append(torch.arange(bins_, device=size.device) * one)
            sample = torch.arange(samples, device=size.device) + 0.5
            parts.append(sample * one / max(samples, 1))
        yield Grid(
            chosen,
            parts[0][:, :, None, None, None],
            parts[2][:, None, :, None, None],
            parts[1][:, None, None, :, None],
            parts[3][:, None, None, None, :],
            each[0] * each[1],
        )


class Taken(NamedTuple):
    """Cells that each bin of some regions takes, equally many.

    Attributes:
        chosen: Which regions, ``(n,)``.
        rows: Of the table, ``(n, *bins, K)``.
        weight: Of each, as ``rows``.
    """

    chosen: Tensor
    rows: Tensor
    weight: Tensor


def sums(input: Tensor, taken: Sequence[Taken], regions: int, bins: tuple[int, int]) -> Tensor:
    """Return the weighted sum of each bin: ``(regions, C, *bins)``."""
    if not taken:
        return input.new_zeros(regions, input.shape[1], *bins) + zero(input)
    lengths = [torch.full_like(part.chosen, part.rows.shape[-1]) for part in taken]
    length = torch.cat(lengths).repeat_interleave(bins[0] * bins[1])
    # In one call: the gradient of the whole map is made once, not once for each part.
    total = gather(
        table_of(input),
        torch.cat([part.rows.flatten() for part in taken]),
        torch.cat([part.weight.flatten() for part in taken]),
        length.cumsum(0) - length,
    )
    order = torch.cat([part.chosen for part in taken]).argsort()
    return total.view(regions, *bins, input.shape[1])[order].permute(0, 3, 1, 2).contiguous()


def bilinear(images: Tensor, y: Tensor, x: Tensor, shape: torch.Size) -> tuple[Tensor, Tensor]:
    """Return the rows of the table around points and their weights: ``(…, 4)`` each.

    Args:
        images: Of the points, as ``y`` or to be broadcast.
        y: In cells.
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
    place: Callable[[Grid], tuple[Tensor, Tensor]],
) -> Tensor:
    """Return the mean of each bin's samples, wherever ``place`` puts them: ``(N, C, *bins)``.

    Args:
        input: ``(B, C, H, W)``.
        images: Of the regions, ``(N,)``.
        size: Of the regions in cells, ``(N, 2)``.
        bins: Of y and x.
        sampling_ratio: As in :func:`grids`.
        place: Returns y and x of all samples of a grid, as they are or to be broadcast:
            ``(n, *bins, samples of y, samples of x)``.
    """
    whole = list(grids(size, bins, sampling_ratio))
    taking = functools.partial(_taken, images=images, place=place, shape=input.shape)
    # With a fixed ratio the output bounds the samples, and a graph knows no number of regions.
    if sampling_ratio > 0 or _entries(whole, bins) <= LIMIT:
        return sums(input, [taking(grid) for grid in whole], len(images), bins)
    found, chosen = [], []
    for grid in whole:
        for pieces in grid.pieces(entries=4):
            chosen.append(pieces[0].chosen)
            found.append(_summed(input, pieces, bins, taking))
    return torch.cat(found)[torch.cat(chosen).argsort()]


def _entries(whole: Sequence[Grid], bins: tuple[int, int]) -> int:
    return sum(len(grid.chosen) * grid.samples * bins[0] * bins[1] * 4 for grid in whole)


def _summed(
    input: Tensor, pieces: Sequence[Grid], bins: tuple[int, int], taking: Callable[[Grid], Taken]
) -> Tensor:
    """Return the means of one grid's pieces. What they take is not kept, but made again for the gradient."""

    def run(input: Tensor, piece: Grid) -> Tensor:
        taken = taking(piece)
        own = torch.arange(len(taken.chosen), device=input.device)
        return sums(input, [taken._replace(chosen=own)], len(own), bins)

    def kept(piece: Grid) -> Tensor:
        summed: Tensor = checkpoint(
            run, input, piece, use_reentrant=False, preserve_rng_state=False
        )
        return summed

    return functools.reduce(torch.add, map(kept, pieces))


def _taken(
    grid: Grid,
    images: Tensor,
    place: Callable[[Grid], tuple[Tensor, Tensor]],
    shape: torch.Size,
) -> Taken:
    y, x = torch.broadcast_tensors(*place(grid))
    own = images[grid.chosen].long().view(-1, 1, 1, 1, 1)
    index, weight = bilinear(own, y, x, shape)
    return Taken(grid.chosen, index.flatten(3), weight.flatten(3) / max(grid.samples, 1))
