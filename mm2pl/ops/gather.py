"""Weighted sums of rows of a table: what every operator that samples a feature map comes down to."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd import Function
from torch.nn import functional


class Bags(NamedTuple):
    """Which rows of a table each sum takes: a sparse matrix by its rows, without its values.

    Attributes:
        takes: Rows of the table, ``(E,)``, int64, one sum's after the other's.
        begins: Where each of M sums begins in ``takes``, ``(M,)``.
        rows: Number of rows of the table.
    """

    takes: Tensor
    begins: Tensor
    rows: int

    def sums(self) -> Tensor:
        """Return the sum that each entry belongs to, ``(E,)``."""
        ends = functional.pad(self.begins[1:], (0, 1), value=len(self.takes))
        each = torch.arange(len(self.begins), device=self.takes.device)
        return torch.repeat_interleave(each, ends - self.begins)

    def transposed(self) -> tuple[Tensor, Bags]:
        """Return the matrix by its columns, and the entries in their order."""
        # A stable sort adds up gradients in one order, so that a run can be repeated to the last bit.
        order = self.takes.argsort(stable=True)
        counts = torch.bincount(self.takes, minlength=self.rows)
        return order, Bags(
            self.sums().index_select(0, order), counts.cumsum(0) - counts, len(self.begins)
        )


def gather(table: Tensor, index: Tensor, weight: Tensor, begins: Tensor | None = None) -> Tensor:
    """Return ``out[m] = sum_k weight[m, k] * table[index[m, k]]``.

    It is differentiable in table and weight, any number of times. Neither direction makes a tensor of ``(M, K, C)``.

    Args:
        table: ``(R, C)``, float32 or float64.
        index: ``(M, K)``, int64; or ``(E,)``, with ``begins``, for sums of different lengths.
        weight: Of the index's shape and the table's dtype.
        begins: Where each sum begins in ``index``, ``(M,)``.

    Returns:
        Tensor: ``(M, C)``.
    """
    if begins is None:
        begins = torch.arange(len(index), device=index.device) * index.shape[1]
    if not index.numel() or not table.numel():
        return table.new_zeros(len(begins), table.shape[1]) + zero(table, weight)
    return _Gather.apply(table, weight.reshape(-1), Bags(index.reshape(-1), begins, len(table)))


def zero(*tensors: Tensor) -> Tensor:
    """Return a 0 that has the tensors in its graph, so that their gradients are 0 and not None."""
    # The sum of an empty slice: 0 times the sum of all is NaN where one is infinite.
    return torch.stack([each.flatten()[:0].sum() for each in tensors]).sum()


class _Gather(Function):
    """``gather``: linear in both of its arguments."""

    @staticmethod
    def forward(ctx: Any, table: Tensor, weight: Tensor, bags: Bags) -> Tensor:
        ctx.save_for_backward(table, weight)
        ctx.bags = bags
        return functional.embedding_bag(
            bags.takes,
            table.contiguous(),
            bags.begins,
            mode="sum",
            per_sample_weights=weight.contiguous(),
        )

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        table, weight = ctx.saved_tensors
        to_table, to_weight = None, None
        if ctx.needs_input_grad[0]:
            to_table = _scatter(grad, weight, ctx.bags)
        if ctx.needs_input_grad[1]:
            to_weight = _Dots.apply(table, grad, ctx.bags)
        return to_table, to_weight, None


def _scatter(sums: Tensor, weight: Tensor, bags: Bags) -> Tensor:
    """Give each row of the table what the sums that take it have: ``gather`` with the matrix transposed."""
    order, turned = bags.transposed()
    return _Gather.apply(sums, weight.index_select(0, order), turned)


class _Dots(Function):
    """``out[e] = table[takes[e]] · sums[m]`` for each entry of a sum m."""

    @staticmethod
    def forward(ctx: Any, table: Tensor, sums: Tensor, bags: Bags) -> Tensor:
        ctx.save_for_backward(table, sums)
        ctx.bags = bags
        # What embedding_bag's own backward runs for its weights: a fifth of the time of any product
        # of gathered rows, and no memory. torch has no public name for it.
        dots: Tensor = torch.ops.aten._embedding_bag_per_sample_weights_backward(
            sums.contiguous(), table.contiguous(), bags.takes, bags.begins, bags.sums(), 0
        )
        return dots

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        table, sums = ctx.saved_tensors
        to_table = _scatter(sums, grad, ctx.bags) if ctx.needs_input_grad[0] else None
        to_sums = _Gather.apply(table, grad, ctx.bags) if ctx.needs_input_grad[1] else None
        return to_table, to_sums, None


class Corners(NamedTuple):
    """One axis of a bilinear sample: the two cells around each position, and their shares.

    Attributes:
        cells: ``(2, …)``, int64, clamped to the map.
        shares: ``(2, …)``; 0 for what lies outside.
    """

    cells: Tensor
    shares: Tensor


def padded(position: Tensor, size: Tensor | int) -> Corners:
    """Return the corners of positions in a map with zeros around it, as deformable convolution samples.

    Args:
        position: In cells; the centre of the first one is 0.
        size: Cells of the axis.
    """
    low = position.floor()
    share = position - low
    cells = torch.stack([low, low + 1])
    # At -1 exactly, where offsets of 0 begin next to a padding, MMCV's kernels have no gradient of the position.
    inside = (cells >= 0) & (cells <= size - 1) & (position > -1)
    shares = torch.stack([1 - share, share])
    last = torch.as_tensor(size - 1, device=position.device).to(position)
    # NaN, which a diverging offset gives, lies outside, as in MMCV's kernels.
    cells = torch.minimum(cells.clamp(min=0), last).nan_to_num(0).long()
    return Corners(cells, torch.where(inside, shares, torch.zeros_like(shares)))


def clamped(position: Tensor, size: int) -> Corners:
    """Return the corners of positions that are moved into the map by up to one cell, as RoIAlign samples."""
    inside = (position >= -1) & (position <= size)
    position = position.clamp(0, size - 1)
    low = position.floor()
    share = position - low
    cells = torch.stack([low, (low + 1).clamp(max=size - 1)]).nan_to_num(0).long()
    shares = torch.stack([1 - share, share])
    return Corners(cells, torch.where(inside, shares, torch.zeros_like(shares)))


def corners_of(rows: Corners, columns: Corners, width: Tensor | int) -> tuple[Tensor, Tensor]:
    """Return the four cells around each point as ``y * width + x``, and their weights: ``(…, 4)`` each."""
    cells = [y * width + x for y in rows.cells for x in columns.cells]
    weights = [y * x for y in rows.shares for x in columns.shares]
    return torch.stack(cells, -1), torch.stack(weights, -1)
