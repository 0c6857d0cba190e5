"""Voxels: against loops; gradients; edges; bad input."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck

from mm2pl import ops
from mm2pl.errors import ArgumentError
from mm2pl.ops.ext import FUNCTIONS
from tests.ops import point_loops
from tests.ops.test_ops import F64, random

SIZES, LIMITS = (0.5, 0.25, 1.0), (0.0, -1.0, 0.0, 2.0, 1.0, 3.0)


def points() -> Tensor:
    """Return points within, on the border of cells, outside, and of no number; x, y, z and a feature."""
    torch.manual_seed(0)
    given = torch.rand(60, 4) * 4 - 1
    given[:30] = (given[:30] * 4).round() / 4
    given[3, 1], given[4, 0], given[5, 2] = math.nan, math.inf, 1e30
    given[40:50] = given[20:30]
    return given


def test_dynamic_voxelize() -> None:
    cells = ops.dynamic_voxelize(points(), SIZES, LIMITS)
    assert cells.dtype == torch.int32
    assert cells.tolist() == point_loops.dynamic_voxelize(points(), SIZES, LIMITS)
    assert ops.dynamic_voxelize(points()[:0], SIZES, LIMITS).shape == (0, 3)


@pytest.mark.parametrize(("most", "voxels"), [(35, 20000), (2, 100), (1, 5), (3, 1)])
@pytest.mark.parametrize("kind", [torch.float32, torch.float64, torch.float16])
def test_hard_voxelize(most: int, voxels: int, kind: torch.dtype) -> None:
    given = points().to(kind)
    found, coors, counts = ops.hard_voxelize(given, SIZES, LIMITS, most, voxels)
    cells, rows = point_loops.hard_voxelize(given.float(), SIZES, LIMITS, most, voxels)
    assert coors.tolist() == cells
    assert counts.tolist() == [len(each) for each in rows]
    for voxel, each in zip(found, rows, strict=True):
        assert torch.equal(voxel[: len(each)], given[each])
        assert not voxel[len(each) :].any()
    empty = ops.hard_voxelize(given[:0], SIZES, LIMITS, most, voxels)
    assert [tuple(each.shape) for each in empty] == [(0, most, 4), (0, 3), (0,)]


def test_voxels_have_the_gradients_of_points() -> None:
    given = points()[6:].double().requires_grad_()
    found = ops.hard_voxelize(given, SIZES, LIMITS, 2, 9)[0]
    found.sum().backward()
    wanted = torch.zeros_like(given)
    for rows in point_loops.hard_voxelize(given.detach(), SIZES, LIMITS, 2, 9)[1]:
        wanted[rows] = 1
    assert given.grad is not None
    assert torch.equal(given.grad, wanted)


def test_the_calls_of_voxels() -> None:
    given, room = points(), (9, 2)
    cells = torch.zeros(60, 3, dtype=torch.int32)
    settings = torch.tensor(SIZES), torch.tensor(LIMITS)
    FUNCTIONS["dynamic_voxelize_forward"](given, *settings, cells, NDim=3)
    assert torch.equal(cells, ops.dynamic_voxelize(given, SIZES, LIMITS))
    for most in ((2, 9), (-1, -1), (1, 5)):
        limits = [limit if each == -1 else each for limit, each in zip((2, 9), most, strict=True)]
        wanted = ops.hard_voxelize(given, SIZES, LIMITS, *limits)
        buffers = torch.zeros(*room, 4), torch.zeros(9, 3).int(), torch.zeros(9).int()
        number = torch.zeros((), dtype=torch.long)
        FUNCTIONS["hard_voxelize_forward"](
            given,
            *settings,
            *buffers,
            number,
            max_points=most[0],
            max_voxels=most[1],
            NDim=3,
            deterministic=True,
        )
        assert number.item() == len(wanted[0])
        assert torch.equal(buffers[0][: len(wanted[0]), : limits[0]], wanted[0])
        assert not buffers[0][:, limits[0] :].any()
        for buffer, each in zip(buffers[1:], wanted[1:], strict=True):
            assert torch.equal(buffer[: len(each)], each)


COORS = torch.tensor(
    [[1, 0, 2], [0, 0, 2], [1, 0, 2], [-1, 0, 0], [0, 3, -2], [1, 0, 2], [0, 0, 1]]
)


@pytest.mark.parametrize("how", ["sum", "mean", "max"])
def test_dynamic_scatter(how: str) -> None:
    torch.manual_seed(0)
    feats = random(7, 3)
    values, voxels, of, counts = ops.dynamic_scatter(feats, COORS.int(), how)
    wanted, cells = point_loops.dynamic_scatter(feats.detach(), COORS, how)
    assert torch.allclose(values, wanted, rtol=0, atol=1e-12)
    assert torch.equal(voxels, cells.int())
    assert of.tolist() == [2, 1, 2, -1, -1, 2, 0]
    assert counts.tolist() == [1, 1, 3]
    run = lambda x: ops.dynamic_scatter(x, COORS, how)[0]  # noqa: E731
    assert gradcheck(run, feats, fast_mode=True)
    given = FUNCTIONS["dynamic_point_to_voxel_forward"](feats.detach(), COORS.int(), how)
    assert torch.equal(given[0], values)
    grad, buffer = torch.randn_like(values), torch.ones_like(feats)
    FUNCTIONS["dynamic_point_to_voxel_backward"](
        buffer, grad, feats.detach(), *given[:1], *given[2:], how
    )
    assert torch.allclose(buffer, torch.autograd.grad(values, feats, grad)[0], atol=1e-12)
    empty = ops.dynamic_scatter(feats[:0], COORS[:0], how)
    assert [tuple(each.shape) for each in empty] == [(0, 3), (0, 3), (0,), (0,)]
    assert len(ops.dynamic_scatter(feats[3:5], COORS[3:5], how)[0]) == 0


def test_the_first_of_equals_has_the_gradient() -> None:
    feats = torch.tensor([[1.0], [2.0], [2.0], [0.0]], requires_grad=True)
    ops.dynamic_scatter(feats, torch.zeros(4, 3).int())[0].sum().backward()
    assert feats.grad is not None
    assert feats.grad.flatten().tolist() == [0, 1, 0, 0]


def test_voxels_of_more_cells_than_an_integer_counts() -> None:
    far = torch.tensor([[2**31] * 3, [0, 0, 1], [2**31] * 3, [-1, 0, 0], [2**31, 0, 2**31]])
    sums, coors, voxel, count = ops.dynamic_scatter(torch.arange(5.0)[:, None], far, "sum")
    assert coors.tolist() == far[[1, 4, 0]].tolist()
    assert sums[:, 0].tolist() == [1, 4, 2]
    assert (voxel.tolist(), count.tolist()) == ([2, 0, 2, -1, 1], [1, 1, 2])


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_half_is_computed_in_float32(kind: torch.dtype) -> None:
    feats = torch.full((3000, 1), 1.0 / 3).to(kind)
    value = ops.dynamic_scatter(feats, torch.zeros(3000, 3).int(), "sum")[0]
    assert value.dtype == kind
    assert value.item() == pytest.approx(3000 * feats[0].item(), rel=4e-3)


X, NONE = torch.zeros(2, 3, **F64), torch.zeros(2, 3)
BAD: list[tuple[str, tuple[Any, ...], str]] = [
    ("dynamic_voxelize", (X[0], SIZES, LIMITS), r"points is of shape \(3,\)"),
    ("dynamic_voxelize", (X[:, :2], SIZES, LIMITS), "points is of width 2 → .* at least 3 wide"),
    ("dynamic_voxelize", (X, SIZES[:2], LIMITS), r"voxel_size is \[0.5, 0.25\] → .* three numbers"),
    ("dynamic_voxelize", (X, None, LIMITS), "voxel_size is None → .* a sequence"),
    ("dynamic_voxelize", (X, (1, 0, 1), LIMITS), "voxel_size is .* greater than 0"),
    ("dynamic_voxelize", (X, SIZES, SIZES), "point_cloud_range is .* six numbers"),
    ("dynamic_voxelize", (X, SIZES, LIMITS[::-1]), "point_cloud_range is .* then greater ones"),
    ("hard_voxelize", (X, SIZES, LIMITS, 0, 5), "max_points is 0"),
    ("hard_voxelize", (X, SIZES, LIMITS, 5, 0), "max_voxels is 0"),
    ("dynamic_scatter", (X, X), r"coors is torch.float64 \(2, 3\) → .* integer"),
    ("dynamic_scatter", (X, COORS), r"coors is torch.int64 \(7, 3\) → .*\(2, D\)"),
    ("dynamic_scatter", (X, COORS[:2, :0]), "coors is without a column"),
    (
        "dynamic_scatter",
        (X, COORS[:2], "min"),
        "reduce_type is 'min' → it must be sum, mean or max",
    ),
]


@pytest.mark.parametrize(("name", "arguments", "message"), BAD)
def test_bad_input(name: str, arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        getattr(ops, name)(*arguments)


def test_bad_calls() -> None:
    buffers = torch.zeros(9, 2, 3, **F64), torch.zeros(9, 3).int(), torch.zeros(9).int()
    given = (X, torch.tensor(SIZES), torch.tensor(LIMITS), *buffers, torch.zeros(()).long())
    call = FUNCTIONS["hard_voxelize_forward"]
    with pytest.raises(ArgumentError, match="max_points is 3 → it must be at most 2"):
        call(*given, 3, 9, 3, True)
    with pytest.raises(ArgumentError, match="max_voxels is 10 → it must be at most 9"):
        call(*given, 2, 10, 3, True)
    with pytest.raises(ArgumentError, match="NDim is 2 → it must be 3"):
        call(*given, 2, 9, 2, True)
