"""Features of points by their indices: groups, and weighted sums."""

from __future__ import annotations

import torch
from torch import Tensor

from mm2pl.ops.arguments import full_precision, of_kinds, require, require_one, require_tensors
from mm2pl.ops.gather import gather
from mm2pl.ops.indices import require_indices
from mm2pl.ops.neighbours import samples


@of_kinds
def gather_points(features: Tensor, indices: Tensor) -> Tensor:
    """Return features by index.

    Args:
        features: ``(B, C, N)``.
        indices: ``(B, M)``, integers from 0 to N - 1.

    Returns:
        Tensor: ``(B, C, M)``.

    Raises:
        ArgumentError: Shapes, types or values do not fit.
    """
    return _taken("gather_points", features, indices, ("M",))


@of_kinds
def group_points(features: Tensor, indices: Tensor) -> Tensor:
    """Return features by groups of indices.

    Args:
        features: ``(B, C, N)``.
        indices: ``(B, M, S)``: S integers from 0 to N - 1 in each group.

    Returns:
        Tensor: ``(B, C, M, S)``.

    Raises:
        ArgumentError: Shapes, types or values do not fit.
    """
    return _taken("group_points", features, indices, ("M", "S"))


def _taken(name: str, features: Tensor, indices: Tensor, shape: tuple[str, ...]) -> Tensor:
    require_tensors(name, features=(features, ("B", "C", "N")))
    batch, channels, count = features.shape
    require_indices(name, "indices", indices, (batch, *shape), count)
    index = indices.long().flatten(1)[:, None].expand(-1, channels, -1)
    return features.gather(2, index).view(batch, channels, *indices.shape[1:])


@of_kinds
@full_precision
def stack_group_points(
    features: Tensor, features_batch_cnt: Tensor, indices: Tensor, indices_batch_cnt: Tensor
) -> Tensor:
    """Return features by groups of indices, of samples one after the other.

    Args:
        features: Of all samples, ``(N, C)``.
        features_batch_cnt: How many rows of features each sample has, ``(B,)``, integers.
        indices: Places in the sample, ``(M, S)``, integers; one outside of it, as -1, has features of 0.
        indices_batch_cnt: How many rows of indices each sample has, ``(B,)``, integers.

    Returns:
        Tensor: ``(M, C, S)``.

    Raises:
        ArgumentError: Shapes, types or values do not fit.
    """
    name = "stack_group_points"
    require_tensors(name, features=(features, ("N", "C")))
    require_indices(name, "indices", indices, ("M", "S"))
    rows, inside = rows_of(name, features, features_batch_cnt, indices, indices_batch_cnt)
    if not len(features):
        return features.new_zeros(len(indices), features.shape[1], indices.shape[1])
    return torch.where(inside[..., None], features[rows], 0).transpose(1, 2).contiguous()


def rows_of(
    name: str, features: Tensor, feature_counts: Tensor, indices: Tensor, index_counts: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the rows of features that indices stand for, and which lie in their sample; the others have row 0."""
    given = len(samples(name, "features_batch_cnt", feature_counts, features))
    count = len(samples(name, "indices_batch_cnt", index_counts, indices))
    accepted = f"of {given}, as features_batch_cnt"
    require(count == given, name, "indices_batch_cnt", f"of {count} samples", accepted)
    sizes = feature_counts.long()
    begins = (sizes.cumsum(0) - sizes).repeat_interleave(index_counts.long())[:, None]
    inside = (indices >= 0) & (indices < sizes.repeat_interleave(index_counts.long())[:, None])
    return torch.where(inside, indices + begins, 0), inside


@of_kinds
@full_precision
def three_interpolate(features: Tensor, indices: Tensor, weight: Tensor) -> Tensor:
    """Return weighted sums of three features each.

    Args:
        features: ``(B, C, M)``.
        indices: ``(B, N, 3)``, integers.
        weight: ``(B, N, 3)``.

    Returns:
        Tensor: ``(B, C, N)``.

    Raises:
        ArgumentError: Shapes, types or values do not fit.
    """
    name = "three_interpolate"
    given = (features, ("B", "C", "M"))
    require_tensors(name, features=given)
    batch, channels, count = features.shape
    require_indices(name, "indices", indices, (batch, "N", 3), count)
    shape = (batch, indices.shape[1], 3)
    require_tensors(name, features=given, weight=(weight, shape))
    table = features.transpose(1, 2).reshape(batch * count, channels)
    begins = torch.arange(batch, device=features.device)[:, None, None] * count
    index = (indices + begins).view(-1, 3)
    sums = gather(table, index, weight.to(features.dtype).reshape(-1, 3))
    return sums.view(*indices.shape[:2], channels).transpose(1, 2).contiguous()


@of_kinds
@full_precision
def assign_score_withk(
    scores: Tensor, point_features: Tensor, center_features: Tensor, knn_idx: Tensor
) -> Tensor:
    """Return sums over M kernels of a score times the difference of a neighbour's features and the center's (PAConv).

    ``out[b, o, n, k] = Σ_m scores[b, n, k, m] * (point_features[b, knn_idx[b, n, k], m, o] -
    center_features[b, knn_idx[b, n, 0], m, o])``: the first neighbour is the center.

    Args:
        scores: ``(B, P, K, M)``.
        point_features: ``(B, N, M, O)``.
        center_features: ``(B, N, M, O)``.
        knn_idx: ``(B, P, K)``, integers; an index outside of 0 to N - 1 has a sum of 0.

    Returns:
        Tensor: ``(B, O, P, K)``.

    Raises:
        ArgumentError: Shapes or types do not fit.
    """
    name = "assign_score_withk"
    require_tensors(name, point_features=(point_features, ("B", "N", "M", "O")))
    batch, count, kernels, channels = shape = tuple(point_features.shape)
    require_tensors(
        name,
        point_features=(point_features, shape),
        center_features=(center_features, shape),
        scores=(scores, (batch, "P", "K", kernels)),
    )
    given = {"scores": scores, "center_features": center_features}
    require_one(name, "dtype", point_features=point_features, **given)
    require_indices(name, "knn_idx", knn_idx, tuple(scores.shape[:3]))
    index = knn_idx.long()
    center = index[..., :1].expand_as(index)
    inside = (index >= 0) & (index < count) & (center >= 0) & (center < count)
    weight = torch.where(inside[..., None], scores, 0).reshape(-1, kernels)
    begins = torch.arange(batch, device=index.device)[:, None, None] * count
    kernel = torch.arange(kernels, device=index.device)

    def sums(features: Tensor, at: Tensor) -> Tensor:
        rows = torch.where(inside, at + begins, 0).reshape(-1, 1) * kernels + kernel
        return gather(features.reshape(-1, channels), rows, weight)

    out = sums(point_features, index) - sums(center_features, center)
    return out.view(*index.shape, channels).permute(0, 3, 1, 2).contiguous()
