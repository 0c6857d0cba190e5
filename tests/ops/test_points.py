"""Neighbours, groups, and boxes in space: against loops, in float64; gradients; edges; bad input."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck

from mm2pl import ops
from mm2pl.errors import ArgumentError
from mm2pl.ops import boxes3d, neighbours
from tests.ops import point_loops
from tests.ops.test_ops import F64, random, same


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.fixture(params=[2**21, 7], ids=["whole", "chunks"])
def _chunks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (neighbours, boxes3d):
        monkeypatch.setattr(module, "CHUNK", request.param)


def cloud(batch: int, count: int) -> Tensor:
    """Return points of a coarse grid: many are equally far from each other, some are the same."""
    return torch.randint(0, 4, (batch, count, 3)).double() / 2


XYZ, CENTERS = (2, 20), (2, 6)


@pytest.mark.usefixtures("_chunks")
@pytest.mark.parametrize(
    ("most", "number", "least"), [(1.0, 4, 0.0), (1.5, 3, 0.75), (0.1, 2, 0.0), (9.0, 30, 0.5)]
)
def test_ball_query(most: float, number: int, least: float) -> None:
    xyz, centers = cloud(*XYZ), cloud(*CENTERS)
    centers[0, 0] = 50  # near none
    ours = ops.ball_query(xyz, centers, most, number, least)
    assert ours.dtype == torch.int32
    assert torch.equal(ours, point_loops.ball_query(xyz, centers, most, number, least))
    counts = torch.tensor([20, 20]), torch.tensor([6, 6])
    if least == 0:
        stacked = ops.stack_ball_query(
            xyz.flatten(0, 1), counts[0], centers.flatten(0, 1), counts[1], most, number
        )
        assert stacked[0].tolist() == [-1] + [0] * (number - 1)
        assert torch.equal(stacked[1:].clamp(min=0), ours.flatten(0, 1)[1:])


def test_stacked_samples_of_different_sizes() -> None:
    xyz, centers = torch.rand(7, 3, **F64), torch.rand(5, 3, **F64)
    counts, around = torch.tensor([3, 0, 4]), torch.tensor([2, 1, 2])
    ours = ops.stack_ball_query(xyz, counts, centers, around, 2.0, 3)
    assert ours[2].tolist() == [-1, 0, 0]
    for rows, own, where in ((slice(0, 2), xyz[:3], 0), (slice(3, 5), xyz[3:], 1)):
        wanted = ops.ball_query(own[None], centers[None, rows], 2.0, 3)[0]
        assert torch.equal(ours[rows], wanted), where
    assert ops.stack_ball_query(xyz, counts, centers[:0], around * 0, 2.0, 3).shape == (0, 3)


@pytest.mark.parametrize("number", [1, 5, 25])
def test_furthest_points(number: int) -> None:
    xyz = cloud(*XYZ)
    distances = (xyz[:, :, None] - xyz[:, None]).square().sum(3)
    wanted = point_loops.furthest_point_sample(distances, number)
    assert torch.equal(ops.furthest_point_sample(xyz, number), wanted)
    skewed = torch.rand(2, 20, 20, **F64)  # not of one direction
    wanted = point_loops.furthest_point_sample(skewed, number)
    assert torch.equal(ops.furthest_point_sample_with_dist(skewed, number), wanted)
    assert ops.furthest_point_sample(xyz[:0], number).shape == (0, number)


@pytest.mark.usefixtures("_chunks")
@pytest.mark.parametrize("k", [1, 5, 20, 23])
def test_knn(k: int) -> None:
    xyz, centers = cloud(*XYZ), cloud(*CENTERS)
    index, distance = ops.knn(xyz, centers, k)
    wanted, squared = point_loops.nearest(xyz, centers, k)
    assert torch.equal(index, wanted)
    assert torch.equal(distance, squared.clamp(max=1e10))


@pytest.mark.usefixtures("_chunks")
@pytest.mark.parametrize("count", [2, 3, 20])
def test_three_nn(count: int) -> None:
    target, source = cloud(*CENTERS), cloud(2, count)
    distance, index = ops.three_nn(target, source)
    wanted, squared = point_loops.nearest(source, target, 3)
    assert torch.equal(index, wanted)
    assert torch.equal(distance, squared.sqrt())


def test_points_that_are_no_number() -> None:
    xyz = torch.tensor([[[math.nan, 0, 0], [1, 0, 0], [3, 0, 0]]])
    assert ops.knn(xyz, torch.zeros(1, 1, 3), 3)[0].tolist() == [[[1, 2, 0]]]
    assert ops.ball_query(xyz, torch.zeros(1, 1, 3), 5.0, 3).tolist() == [[[1, 2, 1]]]
    assert ops.three_nn(torch.zeros(1, 1, 3), xyz)[0].tolist() == [[[1, 3, math.inf]]]


def test_groups() -> None:
    features, index = random(2, 3, 5), torch.randint(0, 5, (2, 4, 3), dtype=torch.int32)
    run = lambda x: ops.group_points(x, index)  # noqa: E731
    assert same(run(features), point_loops.group_points, features, index)
    assert gradcheck(run, features, fast_mode=True)
    assert torch.equal(ops.gather_points(features, index[..., 0]), run(features)[..., 0])
    assert ops.group_points(features, index[:, :0]).shape == (2, 3, 0, 3)


def test_stacked_groups() -> None:
    features, counts = random(7, 3), torch.tensor([3, 4])
    index, own = torch.tensor([[0, 2], [3, -1], [1, 3], [0, 0], [4, 2]]), torch.tensor([2, 3])
    run = lambda x: ops.stack_group_points(x, counts, index, own)  # noqa: E731
    out = run(features)
    rows = torch.tensor([[0, 2], [0, 0], [4, 6], [3, 3], [0, 5]])
    wanted = features[rows].transpose(1, 2).clone()
    wanted[1], wanted[4, :, 0] = 0, 0  # outside of their samples
    assert torch.equal(out, wanted)
    assert gradcheck(run, features, fast_mode=True)
    assert ops.stack_group_points(features[:0], counts * 0, index, own).shape == (5, 3, 2)


def test_gradients_of_stacked_groups_are_summed_in_float32() -> None:
    features, all_ = torch.zeros(2, 1).half().requires_grad_(), torch.tensor([64])
    index = torch.zeros(64, 64, dtype=torch.int)
    ops.stack_group_points(features, torch.tensor([2]), index, all_).sum().backward()
    assert features.grad is not None
    assert features.grad.flatten().tolist() == [4096, 0]  # in float16 2048 + 1 is 2048


def test_three_interpolate() -> None:
    given = random(2, 3, 5), random(2, 4, 3)
    index = torch.randint(0, 5, (2, 4, 3))
    run = lambda x, w: ops.three_interpolate(x, index, w)  # noqa: E731
    assert same(run(*given), point_loops.three_interpolate, given[0], index, given[1])
    assert gradcheck(run, given, fast_mode=True)
    assert ops.three_interpolate(given[0], index[:, :0], given[1][:, :0]).shape == (2, 3, 0)
    by_name = ops.three_interpolate(indices=index, features=given[0], weight=given[1])
    assert torch.equal(by_name, run(*given))  # and is not of the indices' type


def test_assign_score_withk() -> None:
    given = random(2, 4, 3, 2), random(2, 5, 2, 6), random(2, 5, 2, 6)
    index = torch.randint(0, 5, (2, 4, 3))
    index[0, 0, 1], index[1, 2, 2] = 5, -1
    run = lambda s, p, c: ops.assign_score_withk(s, p, c, index)  # noqa: E731
    assert same(run(*given), point_loops.assign_score_withk, *given, index)
    assert gradcheck(run, given, fast_mode=True)


def boxes_and_points() -> tuple[Tensor, Tensor]:
    boxes = torch.rand(2, 4, 7, **F64) * 2
    boxes[..., 3:6] += 1
    boxes[..., 6] = 6 * torch.rand(2, 4, **F64) - 3
    points = torch.rand(2, 60, 3, **F64) * 4 - 0.5
    boxes[0, 3] = torch.tensor([9, 9, 9, 1, 1, 1, 0.0])  # without a point
    boxes[1, 0] = torch.tensor([0, 0, 0, 2, 2, 1, 0.0])
    corners = [[0, 0, 0], [0, 0, 1], [1, 0, 0.5], [0, -1, 0.5], [0.99, 0.99, 1.01]]
    points[1, :5] = torch.tensor(corners)  # bottom and top are inside, sides are not
    return points, boxes


@pytest.mark.usefixtures("_chunks")
def test_points_in_boxes() -> None:
    points, boxes = boxes_and_points()
    inside = ops.points_in_boxes_all(points, boxes)
    assert torch.equal(inside, point_loops.points_in_boxes_all(points, boxes))
    assert inside[1, :5, 0].tolist() == [1, 1, 0, 0, 0]
    part = ops.points_in_boxes_part(points, boxes)
    first = [[row.index(1) if 1 in row else -1 for row in rows] for rows in inside.tolist()]
    assert part.tolist() == first
    assert ops.points_in_boxes_part(points, boxes[:, :0]).unique().tolist() == [-1]
    assert ops.points_in_boxes_all(points[:, :0], boxes).shape == (2, 0, 4)


@pytest.mark.parametrize("mode", ["max", "avg"])
@pytest.mark.parametrize(("size", "most"), [((2, 3, 1), 128), ((2, 2, 2), 3)])
def test_roiaware_pool3d(size: tuple[int, int, int], most: int, mode: str) -> None:
    points, boxes = boxes_and_points()
    features = random(60, 3)
    run = lambda x: ops.roiaware_pool3d(boxes[0], points[0], x, size, most, mode)  # noqa: E731
    out = run(features)
    loop = point_loops.roiaware_pool3d
    assert same(out, loop, boxes[0], points[0], features, size, most, mode)
    assert out.any()
    assert gradcheck(run, features, fast_mode=True)
    assert ops.roiaware_pool3d(boxes[0, :0], points[0], features, 2).shape == (0, 2, 2, 2, 3)
    assert not ops.roiaware_pool3d(boxes[0], points[0, :0], features[:0], 2).any()


@pytest.mark.parametrize("number", [1, 4, 40])
def test_roipoint_pool3d(number: int) -> None:
    points, boxes = boxes_and_points()
    features = random(2, 60, 3)
    out, empty = ops.roipoint_pool3d(points, features, boxes, number)
    wanted, none = point_loops.roipoint_pool3d(points, features.detach(), boxes, number)
    assert torch.equal(out, wanted)
    assert torch.equal(empty, none)
    assert empty.any()
    run = lambda x: ops.roipoint_pool3d(points, x, boxes, number)[0]  # noqa: E731
    assert gradcheck(run, features, fast_mode=True)
    nothing, empty = ops.roipoint_pool3d(points[:, :0], features[:, :0], boxes, number)
    assert not nothing.any()
    assert empty.all()


TURNED = torch.tensor(
    [
        [0, 0, 0, 4, 2, 1, 0.0],
        [0, 0, 5, 2, 4, 1, 0.0],  # across the first one, above it
        [2, 0, 0, 4, 2, 1, math.pi],
        [0, 0, 0, 2, 2, 1, math.pi / 4],
        [9, 9, 0, 1, 1, 1, 0.3],
    ],
    **F64,
)


def test_boxes_from_above() -> None:
    areas = ops.boxes_overlap_bev(TURNED, TURNED)
    octagon = 8 * math.sqrt(2) - 8  # of two squares
    assert areas[0].tolist() == pytest.approx([8, 4, 4, 4 - 2 * (math.sqrt(2) - 1) ** 2, 0])
    square = torch.tensor([[0, 0, 0, 2, 2, 1, 0.0]], **F64)
    assert ops.boxes_overlap_bev(square, TURNED[3:4]).item() == pytest.approx(octagon)
    assert ops.boxes_overlap_bev(TURNED[:0], TURNED).shape == (0, 5)
    moved = random(3, 7, positive=True)
    with torch.no_grad():
        moved[:, 3:5] += 1
    fixed = TURNED[[0, 3]]
    run = lambda x: ops.boxes_overlap_bev(x, fixed)  # noqa: E731
    assert gradcheck(run, moved, fast_mode=True)


@pytest.mark.parametrize("name", ["nms3d", "nms3d_normal"])
@pytest.mark.parametrize("threshold", [-0.5, 0.0, 0.3, 0.7])
def test_nms3d(name: str, threshold: float) -> None:
    boxes, scores = torch.rand(40, 7, **F64) * 4, torch.rand(40, **F64)
    areas = boxes[:, 3] * boxes[:, 4]
    flat = boxes.clone()
    if name == "nms3d_normal":
        flat[:, 6] = 0
    shared = ops.boxes_overlap_bev(flat, flat)
    ious = shared / (areas[:, None] + areas - shared)
    kept: list[int] = []
    for k in scores.argsort(descending=True).tolist():
        if not any(ious[k, other] > threshold for other in kept):
            kept.append(k)
    assert getattr(ops, name)(boxes, scores, threshold).tolist() == kept
    assert getattr(ops, name)(boxes[:0], scores[:0], threshold).tolist() == []


CALLS: dict[str, Callable[[Tensor], Any]] = {
    "boxes_overlap_bev": lambda x: ops.boxes_overlap_bev(x[0, :4].repeat(1, 3)[:, :7], x[1, :, :7]),
    "gather_points": lambda x: ops.gather_points(x, torch.zeros(2, 3).long()),
    "three_interpolate": lambda x: ops.three_interpolate(
        x, torch.zeros(2, 4, 3).long(), x[..., :3]
    ),
    "assign_score_withk": lambda x: ops.assign_score_withk(
        x[:, None], x[:, :, None], x[:, :, None] * 2, torch.zeros(2, 1, 4).long()
    ),
    "roiaware_pool3d": lambda x: ops.roiaware_pool3d(x[0], x[1, :, :3], x[1], 2),
    "roipoint_pool3d": lambda x: ops.roipoint_pool3d(x[..., :3], x, x, 4)[0],
    "three_nn": lambda x: ops.three_nn(x[..., :3], x[..., 3:6])[0],
}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_half_is_computed_in_float32_also_under_autocast(name: str, kind: torch.dtype) -> None:
    input = torch.rand(2, 4, 7).to(kind) + 0.5
    input = input[..., :1].expand(2, 4, 1) if name == "assign_score_withk" else input
    with torch.autocast("cpu", dtype=torch.bfloat16):
        ours, whole = CALLS[name](input), CALLS[name](input.float())
    assert ours.dtype == kind
    assert whole.dtype == torch.float32
    assert torch.equal(whole, CALLS[name](input.float()))


P, C, I2 = torch.zeros(2, 5, 3), torch.zeros(2, 4, 5), torch.zeros(2, 3, dtype=torch.int)
COUNT, F2 = torch.tensor([5, 5]), torch.zeros(10, 4)
BOX = torch.zeros(2, 1, 7)
BAD: list[tuple[str, tuple[Any, ...], str]] = [
    ("ball_query", (P, P[:1], 1.0, 2), r"ball_query: center_xyz is of shape \(1, 5, 3\)"),
    ("ball_query", (P[..., :2], P, 1.0, 2), r"xyz is of shape \(2, 5, 2\)"),
    ("ball_query", (P, P, 1.0, 0), "sample_num is 0"),
    ("ball_query", (P, P, 1.0, 2, 1.0), "min_radius is 1.0 → it must be less than max_radius, 1.0"),
    ("stack_ball_query", (P[0], COUNT, P[1], COUNT, 1.0, 2), r"xyz_batch_cnt is \[5, 5\] → .* 5"),
    ("stack_ball_query", (P[0], COUNT[:1], P[1], COUNT * 0 + 0, 1.0, 2), "center_xyz_batch_cnt"),
    (
        "stack_ball_query",
        (P[0], COUNT.float(), P[1], COUNT, 1.0, 2),
        "xyz_batch_cnt is torch.float",
    ),
    ("furthest_point_sample", (P[..., :2], 2), r"points is of shape \(2, 5, 2\)"),
    ("furthest_point_sample", (P, -1), "num_points is -1"),
    ("furthest_point_sample", (P[:, :0], 2), "the set is of no points"),
    ("furthest_point_sample_with_dist", (P, 2), r"distances is of shape .*\(B, N, 5\)"),
    ("knn", (P, P, 0), "knn: k is 0"),
    ("knn", (P, P.long(), 2), "center_xyz is torch.int64"),
    ("three_nn", (P, P[:1]), r"three_nn: target is of shape \(2, 5, 3\) → .*\(1, M, 3\)"),
    ("gather_points", (C, I2 + 5), "indices is from 5 to 5 → it must be from 0 to 4"),
    ("gather_points", (C, I2.float()), r"indices is torch.float32 \(2, 3\)"),
    ("group_points", (C, I2), r"indices is torch.int32 \(2, 3\) → .*\(2, M, S\)"),
    ("group_points", (C[0], I2), r"features is of shape \(4, 5\)"),
    ("stack_group_points", (F2, COUNT, I2, COUNT), r"indices_batch_cnt is \[5, 5\] → .* 2"),
    ("stack_group_points", (F2, COUNT, I2, I2[0, :1] + 2), "of 1 samples → it must be of 2"),
    ("three_interpolate", (C, I2[:, None] - 1, P[:, :1]), "indices is from -1 to -1"),
    ("three_interpolate", (C, I2[:, None], P), r"weight is of shape \(2, 5, 3\) → .*\(2, 1, 3\)"),
    ("assign_score_withk", (C[..., None], C[..., None], C, I2), "center_features is of shape"),
    (
        "assign_score_withk",
        (torch.zeros(2, 3, 1, 5), C[..., None], C[..., None], I2),
        r"knn_idx is torch.int32 \(2, 3\) → .*\(2, 3, 1\)",
    ),
    ("points_in_boxes_all", (P, BOX[:1]), r"boxes is of shape \(1, 1, 7\) → .*\(2, N, 7\)"),
    ("points_in_boxes_part", (P, BOX[..., :6]), r"boxes is of shape \(2, 1, 6\)"),
    ("boxes_overlap_bev", (BOX[0], BOX), r"boxes2 is of shape \(2, 1, 7\)"),
    ("nms3d", (BOX[0], C[0], 0.5), r"scores is of shape \(4, 5\) → .*\(1\)"),
    ("nms3d_normal", (BOX[0, :, :5], C[0, 0, :1], 0.5), r"boxes is of shape \(1, 5\)"),
    ("roiaware_pool3d", (BOX[0], P[0], C[0], 2), r"pts_feature is of shape \(4, 5\) → .*\(5, C\)"),
    ("roiaware_pool3d", (BOX[0], P[0], P[0], 0), "out_size is 0"),
    ("roiaware_pool3d", (BOX[0], P[0], P[0], 2, 1), "max_pts_per_voxel is 1 → .* at least 2"),
    ("roiaware_pool3d", (BOX[0], P[0], P[0], 2, 9, "min"), "mode is 'min' → it must be max or avg"),
    ("roipoint_pool3d", (P, C, BOX), r"point_features is of shape \(2, 4, 5\) → .*\(2, 5, C\)"),
    ("roipoint_pool3d", (P, P, BOX, 0), "num_sampled_points is 0"),
]


@pytest.mark.parametrize(("name", "arguments", "message"), BAD)
def test_bad_input(name: str, arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        getattr(ops, name)(*arguments)
