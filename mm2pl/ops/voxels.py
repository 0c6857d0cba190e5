"""Points and the cells of a grid that they lie in: voxels of raw points, and features by voxel."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from numbers import Real

import torch
from torch import Tensor

from mm2pl.ops.arguments import full_precision, of_kinds, require, require_tensors
from mm2pl.ops.indices import first_of_greatest, place_in_group, require_indices

Numbers = Sequence[float] | Tensor


@of_kinds
def dynamic_voxelize(points: Tensor, voxel_size: Numbers, point_cloud_range: Numbers) -> Tensor:
    """Return the voxel that each point lies in.

    Args:
        points: ``(N, D)``, D ≥ 3: x, y, z and features.
        voxel_size: Along x, y, z; greater than 0.
        point_cloud_range: Least x, y, z, then greatest.

    Returns:
        Tensor: ``(N, 3)``, int32: place along z, y, x; -1 for a point outside of the range.

    Raises:
        ArgumentError: Shapes, types or values do not fit.
    """
    return _cells("dynamic_voxelize", points, voxel_size, point_cloud_range)[0]


def _cells(name: str, points: Tensor, size: Numbers, range_: Numbers) -> tuple[Tensor, list[int]]:
    """Return voxels of points, and how many of them lie along z, y, x."""
    require_tensors(name, points=(points, ("N", "D")))
    require(points.shape[1] >= 3, name, "points", f"of width {points.shape[1]}", "at least 3 wide")
    # In float32, as MMCV takes both; the grid is computed from these.
    sizes = _numbers(name, "voxel_size", size)
    limits = _numbers(name, "point_cloud_range", range_)
    fits = sizes.shape == (3,) and bool((sizes > 0).all())
    require(fits, name, "voxel_size", str(sizes.tolist()), "three numbers greater than 0")
    fits = limits.shape == (6,) and bool((limits[3:] > limits[:3]).all())
    accepted = "six numbers: least x, y, z, then greater ones"
    require(fits, name, "point_cloud_range", str(limits.tolist()), accepted)
    grid = ((limits[3:] - limits[:3]) / sizes + 0.5).floor()
    x = points[:, :3].detach()
    x = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
    cell = ((x - limits[:3].to(x)) / sizes.to(x)).floor()
    # Compared before it is an integer: NaN and far points have none.
    inside = ((cell >= 0) & (cell < grid.to(cell))).all(1, keepdim=True)
    cells = torch.where(inside, cell, -1).flip(1).int()
    return cells, [int(each) for each in grid.flip(0)]


def _numbers(name: str, argument: str, value: Numbers) -> Tensor:
    several = isinstance(value, Iterable)
    numbers = (
        value.flatten().tolist() if isinstance(value, Tensor) else [*value] if several else [None]
    )
    fits = all(isinstance(each, Real) for each in numbers)
    require(fits, name, argument, repr(value), "numbers, in a tensor or a sequence")
    return torch.as_tensor(value, dtype=torch.float32)


@of_kinds
def hard_voxelize(
    points: Tensor,
    voxel_size: Numbers,
    point_cloud_range: Numbers,
    max_points: int,
    max_voxels: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the points of each voxel, in their order, with voxels in the order of their first points.

    Args:
        points: ``(N, D)``, D ≥ 3: x, y, z and features.
        voxel_size: Along x, y, z; greater than 0.
        point_cloud_range: Least x, y, z, then greatest.
        max_points: Later points of a voxel are dropped.
        max_voxels: Later voxels are dropped.

    Returns:
        tuple: Points ``(V, max_points, D)``, filled up with 0; voxels ``(V, 3)``, int32, as z, y, x; numbers of
        points ``(V,)``, int32.

    Raises:
        ArgumentError: Shapes, types or values do not fit.
    """
    name = "hard_voxelize"
    for argument, value in (("max_points", max_points), ("max_voxels", max_voxels)):
        require(value >= 1, name, argument, repr(value), "an integer of at least 1")
    cells, grid = _cells(name, points, voxel_size, point_cloud_range)
    index = (cells[:, 0] >= 0).nonzero()[:, 0]
    z, y, x = cells[index].long().T
    place, order = place_in_group((z * grid[1] + y) * grid[2] + x)
    first = place == 0
    # Numbered by their first points: of each sorted run, which number its first point has.
    number = (first.cumsum(0) - 1)[order[first[order]]][first[order].cumsum(0) - 1]
    voxel = torch.empty_like(number).index_copy(0, order, number)
    kept = (voxel < max_voxels) & (place < max_points)
    coors = cells[index[first]][:max_voxels]
    counts = torch.bincount(voxel[kept], minlength=len(coors))
    voxels = points.new_zeros(len(coors), max_points, points.shape[1])
    voxels = voxels.index_put((voxel[kept], place[kept]), points[index[kept]])
    return voxels, coors, counts.int()


@of_kinds
@full_precision
def dynamic_scatter(
    feats: Tensor, coors: Tensor, reduce_type: str = "max"
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the sum, mean or maximum of the features in each voxel.

    Args:
        feats: ``(N, C)``.
        coors: The voxel of each row, ``(N, D)``, integers; one with a negative number is left out.
        reduce_type: ``sum``, ``mean`` or ``max``; the gradient of a maximum goes to the first of equals.

    Returns:
        tuple: Features ``(V, C)``; voxels ``(V, D)``, in ascending order; the voxel of each row, ``(N,)``, int32,
        -1 for none; the number of rows of each voxel, ``(V,)``, int32.

    Raises:
        ArgumentError: Shapes, types or values do not fit.
    """
    name = "dynamic_scatter"
    require_tensors(name, feats=(feats, ("N", "C")))
    require_indices(name, "coors", coors, (len(feats), "D"))
    require(coors.shape[1] > 0, name, "coors", "without a column", "at least 1 wide")
    require(reduce_type in REDUCE, name, "reduce_type", repr(reduce_type), "sum, mean or max")
    inside = (coors >= 0).all(1)
    index = inside.nonzero()[:, 0]
    rows = coors[index].long()
    found, group, count = _equal_rows(rows)
    voxel = torch.full((len(feats),), -1, dtype=torch.int32, device=feats.device)
    voxel = voxel.index_copy(0, index, group.int())
    if reduce_type == "max":
        kept = feats[index]
        values = kept.gather(0, first_of_greatest(kept, group, len(found)))
    else:
        values = feats.new_zeros(len(found), feats.shape[1]).index_add(0, group, feats[index])
        if reduce_type == "mean":
            values = values / count[:, None]
    return values, found.to(coors.dtype), voxel, count.int()


def _equal_rows(rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the different rows, ascending; which of them each row is; and how many there are of each."""
    sizes = (rows.amax(0) + 1).tolist() if len(rows) else [1] * rows.shape[1]
    if math.prod(sizes) > torch.iinfo(torch.int64).max:
        return torch.unique(rows, dim=0, return_inverse=True, return_counts=True)
    # One number for each row: sorting those takes a fraction of the time.
    key = rows.new_zeros(len(rows))
    for column, size in zip(rows.T, sizes, strict=True):
        key = key * size + column
    found, group, count = torch.unique(key, return_inverse=True, return_counts=True)
    columns = []
    for size in sizes[::-1]:
        columns.append(found % size)
        found = found // size
    return torch.stack(columns[::-1], 1), group, count


REDUCE = ("sum", "mean", "max")
