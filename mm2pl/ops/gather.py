"""Weighted sums of rows of a table: what every operator that samples a feature map comes down to."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd import Function
from torch.nn import functional


class Bags(NamedTuple):
    """Which rows of a table each sum takes.

    Attributes:
        takes: Rows, ``(M, K)``, int64: K for each of M sums.
        rows: Number of rows of the table.
    """

    takes: Tensor
    rows: int

    def transposed(self) -> tuple[Tensor, Tensor]:
        """Return for each row of the table the entries that take it: their order, and where each row's begin."""
        flat = self.takes.reshape(-1)
        # A stable sort adds up gradients in one order, so that a run can be repeated to the last bit.
        order = flat.argsort(stable=True)
        counts = torch.bincount(flat, minlength=self.rows)
        return order, functional.pad(counts.cumsum(0), (1, 0))[:-1]


def gather(table: Tensor, index: Tensor, weight: Tensor) -> Tensor:
    """Return ``out[m] = sum_k weight[m, k] * table[index[m, k]]``.

    It is differentiable in table and weight, any number of times. Neither direction makes a tensor of ``(M, K, C)``.

    Args:
        table: ``(R, C)``, float32 or float64.
        index: ``(M, K)``, int64.
        weight: ``(M, K)``, of the table's dtype.

    Returns:
        Tensor: ``(M, C)``.
    """
    if not index.numel():
        return table.new_zeros(len(index), table.shape[1]) + 0 * (table.sum() + weight.sum())
    return _Gather.apply(table, weight, Bags(index, len(table)))


def _sums(table: Tensor, index: Tensor, weight: Tensor) -> Tensor:
    return functional.embedding_bag(index, table, mode="sum", per_sample_weights=weight)


class _Gather(Function):
    """``gather``: linear in both of its arguments."""

    @staticmethod
    def forward(ctx: Any, table: Tensor, weight: Tensor, bags: Bags) -> Tensor:
        ctx.save_for_backward(table, weight)
        ctx.bags = bags
        return _sums(table.contiguous(), bags.takes, weight.contiguous())

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        table, weight = ctx.saved_tensors
        to_table = _Scatter.apply(grad, weight, ctx.bags) if ctx.needs_input_grad[0] else None
        to_weight = _Dots.apply(table, grad, ctx.bags) if ctx.needs_input_grad[1] else None
        return to_table, to_weight, None


class _Scatter(Function):
    """``out[r] = sum over entries (m, k) that take row r of weight[m, k] * sums[m]``."""

    @staticmethod
    def forward(ctx: Any, sums: Tensor, weight: Tensor, bags: Bags) -> Tensor:
        ctx.save_for_backward(sums, weight)
        ctx.bags = bags
        order, begins = bags.transposed()
        sources = order.div(bags.takes.shape[1], rounding_mode="floor")
        return functional.embedding_bag(
            sources,
            sums.contiguous(),
            begins,
            mode="sum",
            per_sample_weights=weight.reshape(-1)[order],
        )

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        sums, weight = ctx.saved_tensors
        to_sums = _Gather.apply(grad, weight, ctx.bags) if ctx.needs_input_grad[0] else None
        to_weight = _Dots.apply(grad, sums, ctx.bags) if ctx.needs_input_grad[1] else None
        return to_sums, to_weight, None


class _Dots(Function):
    """``out[m, k] = table[index[m, k]] · sums[m]``."""

    @staticmethod
    def forward(ctx: Any, table: Tensor, sums: Tensor, bags: Bags) -> Tensor:
        ctx.save_for_backward(table, sums)
        ctx.bags = bags
        # One column of the index at a time: K is small, M × K × C is not.
        columns = [(table[column] * sums).sum(1) for column in bags.takes.unbind(1)]
        return torch.stack(columns, 1)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        table, sums = ctx.saved_tensors
        to_table = _Scatter.apply(sums, grad, ctx.bags) if ctx.needs_input_grad[0] else None
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
    inside = (cells >= 0) & (cells <= size - 1)
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
