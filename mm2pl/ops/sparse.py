"""Convolution and pooling of sparse tensors: features ``(N, C)`` of cells ``(N, 1 + D)``, a sample and a place."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Integral
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd import Function

from mm2pl.ops.arguments import full_precision, of_kinds, require, require_one, require_tensors
from mm2pl.ops.indices import require_indices

Sizes = Sequence[int]


@of_kinds
def indice_pairs(
    indices: Tensor,
    batch_size: int,
    spatial_shape: Sizes,
    out_shape: Sizes,
    kernel_size: Sizes,
    stride: Sizes,
    padding: Sizes,
    dilation: Sizes,
    subm: bool = False,
    transpose: bool = False,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return which cell of the input is taken for which cell of the output, by the place in the kernel.

    Args:
        indices: Cells of the input, ``(N, 1 + D)``, integers: the sample, and the place along each axis.
        batch_size: Number of samples.
        spatial_shape: Size of the input, D integers, as all that follow.
        out_shape: Size of the output.
        kernel_size: K is their product.
        stride: At least 1.
        padding: At least 0.
        dilation: At least 1.
        subm: Whether the output has the cells of the input, the kernel around each: ``stride`` and ``padding`` are
            not looked at.
        transpose: Whether the convolution is transposed.

    Returns:
        tuple: Cells of the output, int32, ascending, or those of the input if ``subm``; pairs ``(K, 2, N)``, int32,
        rows of the input and of the output, filled up with -1; numbers of pairs ``(K,)``, int32.

    Raises:
        ArgumentError: Shapes, types or values do not fit.
    """
    name = "get_indice_pairs"
    require_indices(name, "indices", indices, ("N", "1 + D"))
    axes = indices.shape[1] - 1
    settings = {"spatial_shape": spatial_shape, "out_shape": out_shape, "kernel_size": kernel_size}
    settings |= {"stride": stride, "padding": padding, "dilation": dilation}
    for argument, value in settings.items():
        least = 0 if argument == "padding" else 1
        several = isinstance(value, Sequence) or getattr(value, "ndim", 0) == 1
        whole = (
            several
            and len(value) == axes
            and all(isinstance(v, Integral) and v >= least for v in value)
        )
        require(whole, name, argument, repr(value), f"{axes} integers of at least {least}")
    for k, size in enumerate((int(batch_size), *spatial_shape)):
        require_indices(name, f"indices[:, {k}]", indices[:, k], ("N",), size)
    if subm:
        # MMCV 2.1.0 pads by half of the kernel without its dilation: the kernel is not around the cell.
        accepted = "1 for each axis of a submanifold convolution"
        require(all(step == 1 for step in dilation), name, "dilation", repr(dilation), accepted)
        stride, padding = [1] * axes, [size // 2 for size in kernel_size]
    cells = indices.long()
    where, fits = _reached(
        cells[:, 1:], out_shape, kernel_size, stride, padding, dilation, transpose and not subm
    )
    keys = _key(cells[:, 0], where, out_shape)  # (K, N)
    if subm:
        sorted_, order = _key(cells[:, 0], cells[:, 1:], out_shape).sort(stable=True)
        at = torch.searchsorted(sorted_, keys).clamp(max=max(len(cells) - 1, 0))
        fits = fits & (sorted_[at] == keys) if len(cells) else fits
        return (indices, *_packed(fits, order[at] if len(cells) else at))
    found, inverse = keys[fits].unique(return_inverse=True)
    out = torch.zeros_like(keys).masked_scatter(fits, inverse)
    columns = []
    for size in out_shape[::-1]:
        columns.append(found % size)
        found = found // size
    return (torch.stack([found, *columns[::-1]], 1).int(), *_packed(fits, out))


def _reached(
    places: Tensor,
    out_shape: Sizes,
    kernel_size: Sizes,
    stride: Sizes,
    padding: Sizes,
    dilation: Sizes,
    transpose: bool,
) -> tuple[Tensor, Tensor]:
    """Return the place of the output by the place in the kernel, ``(K, N, D)``, and whether there is one."""
    steps = torch.cartesian_prod(*(torch.arange(size) for size in kernel_size))
    moves, strides, pads, limits = (
        torch.as_tensor(each).to(places)
        for each in (
            steps.view(-1, len(kernel_size)) * torch.tensor(dilation),
            stride,
            padding,
            out_shape,
        )
    )
    if transpose:
        where = places * strides - pads + moves[:, None]
        fits = torch.ones_like(where, dtype=torch.bool)
    else:
        where = places + pads - moves[:, None]
        fits = where % strides == 0
        where = where.div(strides, rounding_mode="floor")
    return where, (fits & (where >= 0) & (where < limits)).all(2)


def _key(sample: Tensor, where: Tensor, shape: Sizes) -> Tensor:
    """Return one number for each cell, ascending by sample and place."""
    key = sample.expand(where.shape[:-1])
    for column, size in zip(where.unbind(-1), shape, strict=True):
        key = key * size + column
    return key


def _packed(fits: Tensor, out: Tensor) -> tuple[Tensor, Tensor]:
    """Return pairs that are there before all others, and their numbers."""
    count = fits.sum(1)
    place = torch.where(fits, fits.cumsum(1) - 1, fits.shape[1])
    row = torch.arange(fits.shape[1], device=fits.device).expand_as(out)
    pairs = out.new_full((len(fits), 2, fits.shape[1] + 1), -1)
    pairs = pairs.scatter(2, place[:, None].expand(-1, 2, -1), torch.stack([row, out], 1))
    return pairs[..., :-1].int(), count.int()


class Pairs(NamedTuple):
    """Rows that are taken and rows that they are added to, by the place in the kernel.

    Attributes:
        taken: ``(n,)``, int64, for each of K places.
        added: As ``taken``.
        rows: Number of those that they are added to.
    """

    taken: list[Tensor]
    added: list[Tensor]
    rows: int

    def turned(self, rows: int) -> Pairs:
        """Return pairs for the other direction."""
        return Pairs(self.added, self.taken, rows)


def pairs_of(
    name: str, pairs: Tensor, numbers: Tensor, count: int, features: Tensor, inverse: bool
) -> Pairs:
    """Return pairs as lists.

    Raises:
        ArgumentError: They do not fit each other or the features.
    """
    require_indices(name, "indice_pairs", pairs, ("K", 2, "N"))
    require_indices(name, "indice_pair_num", numbers, (len(pairs),), pairs.shape[2] + 1)
    sides = [
        [side[:n].long() for side, n in zip(pairs[:, i], numbers.tolist(), strict=True)]
        for i in (0, 1)
    ]
    taken, added = sides[::-1] if inverse else sides
    for rows, limit in ((taken, len(features)), (added, count)):
        if rows:
            require_indices(name, "indice_pairs", torch.cat(rows), ("N",), limit)
    return Pairs(taken, added, count)


@of_kinds
@full_precision
def indice_conv(
    features: Tensor,
    filters: Tensor,
    indice_pairs: Tensor,
    indice_pair_num: Tensor,
    num_activate_out: int,
    inverse: bool = False,
) -> Tensor:
    """Return the convolution of a sparse tensor.

    Args:
        features: ``(N, C)``.
        filters: ``(*kernel_size, C, out)``.
        indice_pairs: From :func:`indice_pairs`, ``(K, 2, N)``.
        indice_pair_num: Numbers of pairs, ``(K,)``, integers.
        num_activate_out: Rows M of the output.
        inverse: Whether features are those of the output of the convolution that the pairs are of.

    Returns:
        Tensor: ``(M, out)``.

    Raises:
        ArgumentError: Shapes, types or values do not fit.
    """
    name = "indice_conv"
    given = (features, ("N", "C"))
    require_tensors(name, features=given)
    shape: tuple[int | str, ...] = (*("k",) * (filters.dim() - 2), features.shape[1], "out")
    require_tensors(name, features=given, filters=(filters, shape))
    require_one(name, "dtype", features=features, filters=filters)
    volume = math.prod(filters.shape[:-2])
    given_, accepted = f"of {len(indice_pairs)} places in the kernel", f"of the filters' {volume}"
    require(len(indice_pairs) == volume, name, "indice_pairs", given_, accepted)
    pairs = pairs_of(name, indice_pairs, indice_pair_num, num_activate_out, features, inverse)
    result: Tensor = _Conv.apply(features, filters.reshape(volume, *filters.shape[-2:]), pairs)
    return result


def _to_features(pairs: Pairs, features: Tensor, filters: Tensor, grad: Tensor) -> Tensor:
    """Return the gradient of the features: the convolution with the pairs the other way round."""
    back: Tensor = _Conv.apply(grad, filters.transpose(1, 2), pairs.turned(len(features)))
    return back


class _Conv(Function):
    """A convolution keeps its input only, and not the rows that are taken for each place in the kernel."""

    @staticmethod
    def forward(ctx: Any, features: Tensor, filters: Tensor, pairs: Pairs) -> Tensor:
        ctx.save_for_backward(features, filters)
        ctx.pairs = pairs
        out = features.new_zeros(pairs.rows, filters.shape[2])
        for taken, added, filter in zip(pairs.taken, pairs.added, filters, strict=True):
            if len(taken):
                out.index_add_(0, added, features[taken] @ filter)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        features, filters = ctx.saved_tensors
        to_features, to_filters = None, None
        if ctx.needs_input_grad[0]:
            to_features = _to_features(ctx.pairs, features, filters, grad)
        if ctx.needs_input_grad[1]:
            to_filters = _Products.apply(features, grad, ctx.pairs)
        return to_features, to_filters, None


class _Products(Function):
    """``out[k] = features[taken[k]]ᵀ @ grad[added[k]]``."""

    @staticmethod
    def forward(ctx: Any, features: Tensor, grad: Tensor, pairs: Pairs) -> Tensor:
        ctx.save_for_backward(features, grad)
        ctx.pairs = pairs
        each = zip(pairs.taken, pairs.added, strict=True)
        return torch.stack([features[taken].T @ grad[added] for taken, added in each])

    @staticmethod
    def backward(ctx: Any, filters: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        features, grad = ctx.saved_tensors
        to_features, to_grad = None, None
        if ctx.needs_input_grad[0]:
            to_features = _to_features(ctx.pairs, features, filters, grad)
        if ctx.needs_input_grad[1]:
            to_grad = _Conv.apply(features, filters, ctx.pairs)
        return to_features, to_grad, None


@of_kinds
@full_precision
def indice_maxpool(
    features: Tensor, indice_pairs: Tensor, indice_pair_num: Tensor, num_activate_out: int
) -> Tensor:
    """Return the greatest features of the cells that each cell of the output takes, but at least 0, as MMCV does.

    The gradient goes to all that are equal to the greatest.

    Args:
        features: ``(N, C)``.
        indice_pairs: From :func:`indice_pairs`, ``(K, 2, N)``.
        indice_pair_num: Numbers of pairs, ``(K,)``, integers.
        num_activate_out: Rows M of the output.

    Returns:
        Tensor: ``(M, C)``.

    Raises:
        ArgumentError: Shapes, types or values do not fit.
    """
    name = "indice_maxpool"
    require_tensors(name, features=(features, ("N", "C")))
    pairs = pairs_of(name, indice_pairs, indice_pair_num, num_activate_out, features, False)
    result: Tensor = _Max.apply(features, pairs)
    return result


class _Max(Function):
    @staticmethod
    def forward(ctx: Any, features: Tensor, pairs: Pairs) -> Tensor:
        out = features.new_zeros(pairs.rows, features.shape[1])
        for taken, added in zip(pairs.taken, pairs.added, strict=True):
            # No cell of the output is twice in one place of the kernel.
            out[added] = out[added].maximum(features[taken])
        ctx.save_for_backward(features, out)
        ctx.pairs = pairs
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        features, out = ctx.saved_tensors
        return gradient_of_greatest(features.detach(), out.detach(), grad, ctx.pairs), None


def gradient_of_greatest(features: Tensor, out: Tensor, grad: Tensor, pairs: Pairs) -> Tensor:
    """Give each feature the gradients of the cells whose greatest it equals."""
    total = torch.zeros_like(features)
    for taken, added in zip(pairs.taken, pairs.added, strict=True):
        total = total.index_add(0, taken, grad[added] * (features[taken] == out[added]))
    return total
