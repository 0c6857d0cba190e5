"""Points and boxes in space as ``mmcv/ops/*.py`` calls ``mmcv._ext``, against the operators that they stand for."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from mm2pl import ops
from mm2pl.errors import ArgumentError
from mm2pl.ops.ext import FUNCTIONS
from tests.ops.test_ext import Case, check
from tests.ops.test_ops import F64
from tests.ops.test_points import boxes_and_points, cloud

INDEX = torch.tensor([[[0, 3], [1, 1], [4, 2]], [[2, 0], [3, 3], [1, 4]]], dtype=torch.int)
THREE = torch.tensor([[[0, 3, 1], [1, 1, 2]], [[4, 0, 2], [3, 3, 0]]], dtype=torch.int)
ROWS, OWN = torch.tensor([2, 3], dtype=torch.int), torch.tensor([1, 2], dtype=torch.int)
KNN = torch.tensor([[[0, 3, 1], [2, 9, 2]]])
WEIGHT = torch.rand(2, 2, 3, generator=torch.Generator().manual_seed(1), **F64)
GROUPS = {"b": 2, "c": 3, "n": 5, "npoints": 3}
STACK = {"b": 2, "c": 2, "m": 3, "nsample": 2}
SCORES = {"B": 1, "N0": 4, "N1": 2, "M": 2, "K": 3, "O": 5, "aggregate": 0}


def into(name: str, *rest: Any, **sizes: Any) -> Any:
    """Return a call that writes its output."""
    return lambda inputs, out: FUNCTIONS[f"{name}_forward"](*inputs, *rest, out, **sizes)


def back(name: str, *rest: Any, **sizes: Any) -> Any:
    """Return a call that adds to its buffers; of an operator that is linear in its input."""
    return lambda _, __, grad, buffers: FUNCTIONS[f"{name}_backward"](
        grad, *rest, *buffers, **sizes
    )


CASES = {
    "gather_points": Case(
        [(2, 3, 5)],
        lambda x: ops.gather_points(x, INDEX[..., 0]),
        into("gather_points", INDEX[..., 0], **GROUPS),
        back("gather_points", INDEX[..., 0], **GROUPS),
    ),
    "group_points": Case(
        [(2, 3, 5)],
        lambda x: ops.group_points(x, INDEX),
        into("group_points", INDEX, **GROUPS, nsample=2),
        back("group_points", INDEX, **GROUPS, nsample=2),
    ),
    "stack_group_points": Case(
        [(5, 2)],
        lambda x: ops.stack_group_points(x, ROWS, INDEX[0], OWN),
        into("stack_group_points", ROWS, INDEX[0], OWN, **STACK),
        back("stack_group_points", INDEX[0], OWN, ROWS, **STACK, n=5),
    ),
    "three_interpolate": Case(
        [(2, 3, 5)],
        lambda x: ops.three_interpolate(x, THREE, WEIGHT),
        into("three_interpolate", THREE, WEIGHT, b=2, c=3, m=5, n=2),
        back("three_interpolate", THREE, WEIGHT, b=2, c=3, n=2, m=5),
    ),
    "assign_score_withk": Case(
        [(1, 4, 2, 5), (1, 4, 2, 5), (1, 2, 3, 2)],
        lambda p, c, s: ops.assign_score_withk(s, p, c, KNN),
        into("assign_score_withk", KNN, **SCORES),
        lambda inputs, _, grad, buffers: FUNCTIONS["assign_score_withk_backward"](
            grad, *inputs, KNN, *buffers, **SCORES
        ),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_pair_of_calls(name: str) -> None:
    check(CASES[name])


@pytest.mark.parametrize("mode", ["max", "avg"])
def test_roiaware_pool3d(mode: str) -> None:
    points, boxes = (each[0] for each in boxes_and_points())
    number = {"max": 0, "avg": 1}[mode]
    argmax = torch.zeros(4, 2, 3, 1, 2, dtype=torch.int)
    table = torch.full((4, 2, 3, 1, 4), 9, dtype=torch.int)

    def forward(inputs: list[Tensor], output: Tensor) -> None:
        given = (boxes, points, *inputs, argmax, table, output)
        FUNCTIONS["roiaware_pool3d_forward"](*given, pool_method=number)

    def backward(_: Any, __: Any, grad: Tensor, buffers: list[Tensor]) -> None:
        FUNCTIONS["roiaware_pool3d_backward"](table, argmax, grad, *buffers, pool_method=number)

    run = lambda x: ops.roiaware_pool3d(boxes, points, x, (2, 3, 1), 4, mode)  # noqa: E731
    check(Case([(60, 2)], run, forward, backward))
    assert int(table[..., 0].max()) == 3
    assert not table[3].any()
    if mode == "max":
        assert (argmax[3] == -1).all()
    with pytest.raises(ArgumentError, match="pool_method is 2"):
        FUNCTIONS["roiaware_pool3d_backward"](table, argmax, argmax * 1.0, points[:, :2] * 0, 2)


def test_the_mean_of_a_cell_in_half() -> None:
    """A sum of 100 times 1,000 has no number in float16."""
    box, points = torch.tensor([[0, 0, -1, 2, 2, 2, 0]]).half(), torch.zeros(100, 3).half()
    features, out = torch.full((100, 1), 1000.0).half(), torch.zeros(1, 1, 1, 1, 1).half()
    places = torch.zeros(1, 1, 1, 1, 1).int(), torch.zeros(1, 1, 1, 1, 128).int()
    FUNCTIONS["roiaware_pool3d_forward"](box, points, features, *places, out, pool_method=1)
    assert out.item() == 1000


def test_roipoint_pool3d() -> None:
    points, boxes = boxes_and_points()
    features = torch.rand(2, 60, 2, **F64)
    pooled, empty = torch.ones(2, 4, 5, 5, **F64), torch.zeros(2, 4, dtype=torch.int)
    call = FUNCTIONS["roipoint_pool3d_forward"]
    call(points, boxes, features, pooled, empty)
    wanted = ops.roipoint_pool3d(points, features, boxes, 5)
    assert torch.equal(pooled, wanted[0])
    assert torch.equal(empty, wanted[1])
    with pytest.raises(ArgumentError, match=r"pooled_features is of shape \(2, 4, 5, 4\)"):
        call(points, boxes, features, pooled[..., :4], empty)


def test_points_in_boxes() -> None:
    points, boxes = boxes_and_points()
    wanted = ops.points_in_boxes_all(points, boxes)
    every, first = torch.zeros(2, 60, 4).int(), torch.zeros(2, 60).int()
    FUNCTIONS["points_in_boxes_all_forward"](boxes, points, every)
    FUNCTIONS["points_in_boxes_part_forward"](boxes, points, first)
    assert torch.equal(every, wanted)
    assert torch.equal(first, ops.points_in_boxes_part(points, boxes))
    one = torch.zeros(4, 60).int()
    FUNCTIONS["points_in_boxes_cpu_forward"](boxes[1], points[1], one)
    assert torch.equal(one, wanted[1].T)


@pytest.mark.parametrize("name", ["nms3d", "nms3d_normal"])
def test_nms3d(name: str) -> None:
    torch.manual_seed(0)
    boxes, scores = torch.rand(30, 7) * 4, torch.rand(30).sort(descending=True).values
    keep, number = torch.full((30,), -1), torch.zeros((), dtype=torch.long)
    FUNCTIONS[f"iou3d_{name}_forward"](boxes, keep, number, nms_overlap_thresh=0.3)
    wanted = getattr(ops, name)(boxes, scores, 0.3)
    assert keep[: int(number)].tolist() == wanted.tolist()
    assert 1 < int(number) < 30
    areas = torch.zeros(30, 30)
    FUNCTIONS["iou3d_boxes_overlap_bev_forward"](boxes, boxes, areas)
    assert torch.equal(areas, ops.boxes_overlap_bev(boxes, boxes))


def test_neighbours() -> None:
    torch.manual_seed(0)
    xyz, centers = cloud(2, 9), cloud(2, 4)
    index, distance = torch.zeros(2, 4, 3).int(), torch.zeros(2, 4, 3, **F64)
    sizes = {"b": 2, "n": 9, "m": 4}
    radius = {"min_radius": 0.2, "max_radius": 1.0}
    FUNCTIONS["ball_query_forward"](centers, xyz, index, **sizes, **radius, nsample=3)
    assert torch.equal(index, ops.ball_query(xyz, centers, 1.0, 3, 0.2))
    FUNCTIONS["knn_forward"](xyz, centers, index, distance, **sizes, nsample=3)
    nearest = ops.knn(xyz, centers, 3)
    assert torch.equal(index, nearest[0])
    assert torch.equal(distance, nearest[1])
    squared = torch.zeros_like(distance)
    FUNCTIONS["three_nn_forward"](centers, xyz, squared, index, b=2, n=4, m=9)
    assert torch.equal(index, nearest[0])
    assert torch.allclose(squared, nearest[1], rtol=1e-15, atol=0)
    given = centers.flatten(0, 1), ROWS * 0 + 4, xyz.flatten(0, 1), ROWS * 0 + 9
    stacked = index.flatten(0, 1)
    FUNCTIONS["stack_ball_query_forward"](*given, stacked, max_radius=1.0, nsample=3)
    assert torch.equal(stacked, ops.stack_ball_query(*given[2:], *given[:2], 1.0, 3))


def test_furthest_points() -> None:
    torch.manual_seed(0)
    xyz, index, nearest = torch.rand(2, 9, 3), torch.zeros(2, 4).int(), torch.full((2, 9), 1e10)
    sizes = {"b": 2, "n": 9, "m": 4}
    FUNCTIONS["furthest_point_sampling_forward"](xyz, nearest, index, **sizes)
    assert torch.equal(index, ops.furthest_point_sample(xyz, 4))
    between = torch.rand(2, 9, 9)
    FUNCTIONS["furthest_point_sampling_with_dist_forward"](between, nearest, index, **sizes)
    assert torch.equal(index, ops.furthest_point_sample_with_dist(between, 4))
