"""Which points lie near others: in a ball, the k nearest, and samples as far from each other as can be."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from mm2pl.ops.arguments import full_precision, of_kinds, require, require_tensors, widened
from mm2pl.ops.indices import first_true, require_indices

CHUNK = 2**21
"""Pairs of points whose distance is computed at a time."""
FAR = 1e10
"""Squared distance from which a point is none's neighbour, as in MMCV's kernels."""


def _by_chunks(
    centers: Tensor, points: Tensor, look: Callable[[Tensor], tuple[Tensor, ...]]
) -> tuple[Tensor, ...]:
    """Return what ``look`` makes of squared distances ``(B, m, N)``, some centers at a time."""
    points = widened(points.detach()).unbind(2)
    rows = max(CHUNK // max(points[0].numel(), 1), 1)
    found = []
    for part in widened(centers.detach()).split(rows, 1):
        x, y, z = (
            (one[:, :, None] - other[:, None]).square_()
            for one, other in zip(part.unbind(2), points, strict=True)
        )
        found.append(look(x.add_(y).add_(z)))
    return tuple(torch.cat(parts, 1) for parts in zip(*found, strict=True))


def _checked(name: str, first: tuple[str, Tensor], second: tuple[str, Tensor]) -> None:
    any_: tuple[int | str, ...] = ("B", "N", 3)
    require_tensors(name, **{second[0]: (second[1], any_)})
    shape = (len(second[1]), "M", 3)
    require_tensors(name, **{second[0]: (second[1], any_), first[0]: (first[1], shape)})


@of_kinds
def ball_query(
    xyz: Tensor, center_xyz: Tensor, max_radius: float, sample_num: int, min_radius: float = 0.0
) -> Tensor:
    """Return the first points within a distance of each center.

    Args:
        xyz: Points, ``(B, N, 3)``.
        center_xyz: ``(B, M, 3)``.
        max_radius: Points at this distance are outside.
        sample_num: Number S of points for each center, at least 1.
        min_radius: Nearer points are outside, but for the center itself.

    Returns:
        Tensor: ``(B, M, S)``, int32, in their order; the first one again where there are fewer, 0 if there is none.

    Raises:
        ArgumentError: Shapes, types or values do not fit.
    """
    name = "ball_query"
    _checked(name, ("center_xyz", center_xyz), ("xyz", xyz))
    require(sample_num >= 1, name, "sample_num", repr(sample_num), "an integer of at least 1")
    fits = min_radius < max_radius
    require(fits, name, "min_radius", repr(min_radius), f"less than max_radius, {max_radius!r}")
    count = xyz.shape[1]

    def look(distance: Tensor) -> tuple[Tensor]:
        near = (distance >= _squared(min_radius)) & (distance < _squared(max_radius))
        return (first_true(near | (distance == 0), sample_num),)

    if not center_xyz.numel():
        return torch.zeros(*center_xyz.shape[:2], sample_num, dtype=torch.int32, device=xyz.device)
    (found,) = _by_chunks(center_xyz, xyz, look)
    first = found[..., :1]
    found = torch.where(found == count, first, found)
    return torch.where(first == count, 0, found).int()


def _squared(radius: float) -> Tensor:
    # MMCV squares it in float32, for points in float64 too.
    return torch.tensor(radius, dtype=torch.float32).square()


@of_kinds
def stack_ball_query(
    xyz: Tensor,
    xyz_batch_cnt: Tensor,
    center_xyz: Tensor,
    center_xyz_batch_cnt: Tensor,
    max_radius: float,
    sample_num: int,
) -> Tensor:
    """Return the first points within a distance of each center, of samples one after the other.

    Args:
        xyz: Points of all samples, ``(N, 3)``.
        xyz_batch_cnt: How many points each sample has, ``(B,)``, integers.
        center_xyz: Centers of all samples, ``(M, 3)``.
        center_xyz_batch_cnt: How many centers each sample has, ``(B,)``, integers.
        max_radius: Points at this distance are outside.
        sample_num: Number S of points for each center, at least 1.

    Returns:
        Tensor: ``(M, S)``, int32: places in the sample, as in :func:`ball_query`; but where there is none, -1 and
        then 0.

    Raises:
        ArgumentError: Shapes, types or values do not fit.
    """
    name = "stack_ball_query"
    require_tensors(name, xyz=(xyz, ("N", 3)), center_xyz=(center_xyz, ("M", 3)))
    require(sample_num >= 1, name, "sample_num", repr(sample_num), "an integer of at least 1")
    points = samples(name, "xyz_batch_cnt", xyz_batch_cnt, xyz)
    centers = samples(name, "center_xyz_batch_cnt", center_xyz_batch_cnt, center_xyz)
    given, accepted = f"of {len(centers)} samples", f"of {len(points)}, as xyz_batch_cnt"
    require(len(points) == len(centers), name, "center_xyz_batch_cnt", given, accepted)

    def look(distance: Tensor) -> tuple[Tensor]:
        return (first_true(distance < _squared(max_radius), sample_num),)

    parts = [torch.zeros(0, sample_num, dtype=torch.int32, device=xyz.device)]
    for own, around in zip(points, centers, strict=True):
        if not len(around):
            continue
        found = _by_chunks(around[None], own[None], look)[0][0]
        first = found[:, :1]
        found = torch.where(found == len(own), first, found)
        none = -(torch.arange(sample_num, device=xyz.device) == 0).int()
        parts.append(torch.where(first == len(own), none, found.int()))
    return torch.cat(parts)


def samples(operator: str, argument: str, counts: Tensor, rows: Tensor) -> tuple[Tensor, ...]:
    """Return the rows of each sample.

    Raises:
        ArgumentError: The counts are not integers from 0 on that add up to the number of rows.
    """
    require_indices(operator, argument, counts, ("B",))
    sizes: list[int] = counts.tolist()
    fits = sum(sizes) == len(rows) and min(sizes, default=0) >= 0
    accepted = f"numbers of at least 0 that add up to {len(rows)}"
    require(fits, operator, argument, repr(sizes), accepted)
    return rows.split(sizes)


@of_kinds
def furthest_point_sample(points: Tensor, num_points: int) -> Tensor:
    """Return the first point, then again and again the one that is furthest from those.

    Args:
        points: ``(B, N, 3)``.
        num_points: Number M of samples.

    Returns:
        Tensor: ``(B, M)``, int32; of equals the first one.

    Raises:
        ArgumentError: Shapes, types or values do not fit.
    """
    name = "furthest_point_sample"
    require_tensors(name, points=(points, ("B", "N", 3)))
    sides = widened(points.detach()).permute(2, 0, 1).contiguous()

    def distance(last: Tensor) -> Tensor:
        x, y, z = (sides - sides.gather(2, last.expand(3, -1, 1))).square_()
        return x.add_(y).add_(z)

    return _furthest(name, points, num_points, distance)


@of_kinds
def furthest_point_sample_with_dist(distances: Tensor, num_points: int) -> Tensor:
    """Return samples by the distances between points; as :func:`furthest_point_sample`.

    Args:
        distances: ``(B, N, N)``: row i holds the distances from point i.
        num_points: Number M of samples.
    """
    name = "furthest_point_sample_with_dist"
    require_tensors(name, distances=(distances, ("B", "N", "N")))
    require_tensors(name, distances=(distances, ("B", "N", distances.shape[1])))
    given = widened(distances.detach())
    row = torch.arange(len(given), device=given.device)
    return _furthest(name, distances, num_points, lambda last: given[row, last[:, 0]])


def _furthest(
    name: str, points: Tensor, count: int, distance: Callable[[Tensor], Tensor]
) -> Tensor:
    batch, among = points.shape[:2]
    require(count >= 0, name, "num_points", repr(count), "an integer of at least 0")
    fits = among > 0 or not batch * count
    require(fits, name, "the set", "of no points", "one of at least one")
    found = torch.zeros(batch, count, dtype=torch.long, device=points.device)
    if not batch:
        return found.int()
    # From MMCV's file; a point that is further from all of them is at this distance.
    nearest = widened(points).new_full((batch, among), FAR)
    for k in range(1, count):
        nearest = torch.fmin(nearest, distance(found[:, k - 1 : k]))
        found[:, k] = nearest.argmax(1)
    return found.int()


@of_kinds
def knn(xyz: Tensor, center_xyz: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Return the k nearest points of each center.

    Args:
        xyz: Points, ``(B, N, 3)``.
        center_xyz: ``(B, M, 3)``.
        k: At least 1.

    Returns:
        tuple: Indices ``(B, M, k)``, int32, and squared distances, nearest first; of equals the first one. Where
        there are fewer than k, 0 and 1e10.

    Raises:
        ArgumentError: Shapes, types or values do not fit.
    """
    _checked("knn", ("center_xyz", center_xyz), ("xyz", xyz))
    require(k >= 1, "knn", "k", repr(k), "an integer of at least 1")
    index, distance = _nearest(center_xyz, xyz, int(k))
    none = ~(distance < FAR)
    return index.masked_fill(none, 0).int(), distance.masked_fill(none, FAR)


@of_kinds
@full_precision
def three_nn(target: Tensor, source: Tensor) -> tuple[Tensor, Tensor]:
    """Return the three nearest points of a source for each target.

    Args:
        target: ``(B, N, 3)``.
        source: ``(B, M, 3)``.

    Returns:
        tuple: Distances ``(B, N, 3)``, nearest first, and indices, int32; of equals the first one. Where there are
        fewer than three, infinite and 0.

    Raises:
        ArgumentError: Shapes, types or values do not fit.
    """
    _checked("three_nn", ("target", target), ("source", source))
    index, distance = _nearest(target, source, 3)
    return distance.sqrt(), index.masked_fill(distance.isinf(), 0).int()


def _nearest(centers: Tensor, points: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Return indices and squared distances of the nearest, infinite for none."""
    count = points.shape[1]
    fewer = min(k, count)

    def look(distance: Tensor) -> tuple[Tensor, Tensor]:
        distance = distance.nan_to_num(torch.inf, torch.inf)
        last = distance.kthvalue(fewer, 2, keepdim=True).values
        # All that are nearer, then as many of the equals as there is room for, the first ones.
        place = torch.arange(count, dtype=torch.int32, device=distance.device)
        rank = torch.where(distance < last, place - count, place)
        rank = rank.masked_fill(distance > last, 2 * count)
        index = rank.topk(fewer, 2, largest=False).values
        index = torch.where(index < 0, index + count, index).long().sort(2).values
        near, order = distance.gather(2, index).sort(dim=2, stable=True)
        return index.gather(2, order), near

    empty = widened(centers).new_full((*centers.shape[:2], k), torch.inf)
    if not fewer or not centers.numel():
        return torch.zeros_like(empty, dtype=torch.long), empty
    index, distance = _by_chunks(centers, points, look)
    index = torch.cat([index, index.new_zeros(*index.shape[:2], k - fewer)], 2)
    return index, torch.cat([distance, empty[..., fewer:]], 2)
