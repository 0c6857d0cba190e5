"""Tensors of indices: their check, the first few of a mask, and groups of rows that have one number."""

from __future__ import annotations

import torch
from torch import Tensor

from mm2pl.ops.arguments import require, values_are_known


def require_indices(
    operator: str,
    argument: str,
    index: Tensor,
    shape: tuple[int | str, ...],
    below: int | None = None,
) -> None:
    """Check a tensor of integers.

    Args:
        operator: Its name.
        argument: That of the tensor.
        index: The tensor.
        shape: Its shape: a number is that size, a name any.
        below: If given, each must be from 0 to one less than this. Not checked in a graph.

    Raises:
        ArgumentError: It is not such a tensor.
    """
    wanted = f"an integer tensor ({', '.join(map(str, shape))})"
    require(isinstance(index, Tensor), operator, argument, type(index).__name__, wanted)
    whole = not (index.is_floating_point() or index.is_complex() or index.dtype == torch.bool)
    fits = index.dim() == len(shape) and all(
        isinstance(size, str) or size == has for size, has in zip(shape, index.shape, strict=True)
    )
    require(whole and fits, operator, argument, f"{index.dtype} {tuple(index.shape)}", wanted)
    if below is not None and index.numel() and values_are_known(index):
        low, high = (int(each) for each in torch.aminmax(index))
        accepted = f"from 0 to {below - 1}"
        require(low >= 0 and high < below, operator, argument, f"from {low} to {high}", accepted)


def first_true(mask: Tensor, count: int) -> Tensor:
    """Return the first places of each row where a mask holds: ``(…, N)`` → ``(…, count)``, int64; N for none."""
    if not mask.numel():
        return torch.full((*mask.shape[:-1], count), mask.shape[-1], device=mask.device)
    so_far = mask.cumsum(-1, dtype=torch.int32)
    wanted = torch.arange(1, count + 1, dtype=torch.int32, device=mask.device)
    return torch.searchsorted(so_far, wanted.expand(*mask.shape[:-1], count).contiguous())


def place_in_group(group: Tensor) -> tuple[Tensor, Tensor]:
    """Return how many rows before each one have its number, ``(N,)``, and the order by number, in it by place."""
    order = group.argsort(stable=True)
    sorted_ = group[order]
    at = torch.arange(len(group), device=group.device)
    begins = torch.ones_like(at, dtype=torch.bool)
    begins[1:] = sorted_[1:] != sorted_[:-1]
    first = torch.where(begins, at, 0).cummax(0).values
    return torch.empty_like(at).index_copy(0, order, at - first), order


def first_of_greatest(values: Tensor, group: Tensor, groups: int) -> Tensor:
    """Return in which row each group has its greatest value, the first of equals.

    Args:
        values: ``(N, C)``.
        group: The group of each row, ``(N,)``, int64.
        groups: Number G of groups; each has a row.

    Returns:
        Tensor: ``(G, C)``, int64.
    """
    values = values.detach()
    index = group[:, None].expand_as(values)
    greatest = values.new_full((groups, values.shape[1]), -torch.inf)
    greatest = greatest.scatter_reduce(0, index, values, "amax")
    row = torch.arange(len(values), device=values.device)[:, None]
    row = torch.where(values == greatest[group], row, len(values))
    found = index.new_full(greatest.shape, len(values)).scatter_reduce(0, index, row, "amin")
    return found.clamp(max=max(len(values) - 1, 0))  # NaN equals nothing
