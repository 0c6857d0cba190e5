"""Rotated boxes, sets of points and groups of pixels, each against a loop written from its definition, in float64."""

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
from mm2pl.ops.rotated_boxes import corners_of_rotated, sort_vertices
from tests.ops import box_loops

F64 = {"dtype": torch.float64}


def turned(count: int, seed: int = 0) -> Tensor:
    """Return rotated boxes; some alike, some that share a side, one of no size."""
    generator = torch.Generator().manual_seed(seed)
    boxes = torch.rand(count, 5, generator=generator, **F64) * torch.tensor([9, 9, 5, 5, 7.0])
    if count > 8:
        boxes[1], boxes[2], boxes[3] = boxes[0], boxes[0], boxes[0]
        boxes[2, 4] += math.pi / 2
        along = torch.stack([boxes[0, 4].cos(), boxes[0, 4].sin()])
        boxes[3, :2] += along * boxes[0, 2]  # it only touches
        boxes[4, 2] = 0
    return boxes


def quads(count: int, seed: int = 0) -> Tensor:
    """Return convex quadrilaterals, in either direction."""
    generator = torch.Generator().manual_seed(seed)
    angles = (torch.rand(count, 4, generator=generator, **F64) + torch.arange(4)) * math.pi / 2
    radius = torch.rand(count, 1, 1, generator=generator, **F64) * 3 + 1
    centre = torch.rand(count, 1, 2, generator=generator, **F64) * 6
    corners = centre + radius * torch.stack([angles.cos(), angles.sin()], 2)
    corners[::2] = corners[::2].flip(1)
    return corners.flatten(1)


def sets(count: int) -> Tensor:
    generator = torch.Generator().manual_seed(7)
    points = torch.rand(count, 9, 2, generator=generator, **F64) * 5
    points[0, 5:] = points[0, :4]
    points[1] = points[1].round()  # many on one line
    return points.flatten(1)


@pytest.mark.parametrize("mode", ["iou", "iof"])
@pytest.mark.parametrize(
    ("operator", "make"), [(ops.box_iou_rotated, turned), (ops.box_iou_quadri, quads)]
)
def test_ious(operator: Any, make: Any, mode: str) -> None:
    one, other = make(12), make(12)[3:]
    wanted = box_loops.ious(one, other, mode)
    assert torch.allclose(operator(one, other, mode), wanted, rtol=0, atol=1e-9)
    pairs = operator(one[:9], other, mode, aligned=True)
    assert torch.allclose(pairs, wanted.diagonal(), rtol=0, atol=1e-9)
    assert operator(one[:0], other).shape == (0, 9)
    assert operator(one.float(), other.float()).dtype == torch.float32


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_sides_that_lie_on_each_other(share: float) -> None:
    one = turned(300)[9:]
    other = one.clone()
    other[:, :2] += share * one[:, 2:3] * torch.stack([one[:, 4].cos(), one[:, 4].sin()], 1)
    ious = ops.box_iou_rotated(one, other, aligned=True)
    wanted = torch.full_like(ious, (1 - share) / (1 + share))
    assert torch.allclose(ious, wanted, rtol=0, atol=1e-7)
    other[:, :2] = one[:, :2] + 1.5 * (other[:, :2] - one[:, :2]) / max(share, 1e-9)
    other[:, 2] *= 2  # a larger one, which touches where the share is not 0
    touching = ops.box_iou_rotated(one, other, aligned=True)
    assert share == 0 or float(touching.abs().max()) < 1e-7


@pytest.mark.parametrize("size", [(-2.0, 2.0), (2.0, -2.0), (0.0, 2.0)])
def test_a_box_of_a_negative_size_overlaps_nothing(size: tuple[float, float]) -> None:
    # As in MMCV 2.1.0: its area is less than 1e-14.
    boxes = torch.tensor([[0, 0, 2, 2, 0.3], [0, 0, *size, 0.3]])
    assert ops.box_iou_rotated(boxes, boxes)[0].tolist() == pytest.approx([1, 0])
    assert ops.nms_rotated(boxes, torch.tensor([0.5, 0.9]), 0.1).tolist() == [1, 0]


@pytest.mark.parametrize("line", [(0.0, 0.0), (1.0, 2.0)])
def test_points_on_a_line_overlap_nothing(line: tuple[float, float]) -> None:
    steps = torch.arange(9.0, dtype=torch.float64)[:, None] / 9
    points = (steps * torch.tensor(line) + 0.5).view(1, 18).requires_grad_()
    square = torch.tensor([[0.0, 0, 4, 0, 4, 4, 0, 4]], dtype=torch.float64)
    iou, giou = ops.convex_iou(points, square), ops.convex_giou(points, square)
    assert (iou.item(), giou.item()) == pytest.approx((0, 0))
    (iou + giou).sum().backward()
    assert points.grad is not None
    assert bool(points.grad.isfinite().all())


def test_ious_have_gradients() -> None:
    one, other = (turned(4, seed).requires_grad_() for seed in (1, 2))
    run = lambda a, b: ops.box_iou_rotated(a, b)  # noqa: E731
    assert gradcheck(run, (one, other), fast_mode=True)


@pytest.mark.parametrize("labelled", [False, True])
@pytest.mark.parametrize("threshold", [0.1, 0.6, 0.0])
@pytest.mark.parametrize("count", [0, 1, 60])
@pytest.mark.parametrize(("operator", "make"), [(ops.nms_rotated, turned), (ops.nms_quadri, quads)])
def test_suppression(
    operator: Any, make: Any, count: int, threshold: float, labelled: bool
) -> None:
    torch.manual_seed(0)
    boxes, scores = make(count), torch.rand(count, **F64)
    labels = torch.arange(count) % 3 if labelled else None
    kept = operator(boxes, scores, threshold, labels)
    same = labels.tolist() if labelled else [0] * count
    assert kept.dtype == torch.int64
    assert kept.tolist() == box_loops.nms(boxes, scores, threshold, same)


def test_suppression_over_many_blocks() -> None:
    torch.manual_seed(0)
    upright = torch.cat([torch.rand(900, 2) * 40, torch.rand(900, 2) * 9 + 1], 1)
    scores = torch.rand(900)
    corners = torch.cat(
        [upright[:, :2] - upright[:, 2:] / 2, upright[:, :2] + upright[:, 2:] / 2], 1
    )
    turned_ = torch.cat([upright, torch.zeros(900, 1)], 1)
    assert torch.equal(ops.nms_rotated(turned_, scores, 0.4), ops.nms(corners, scores, 0.4))


def test_convex_iou() -> None:
    points, polygons = sets(6), quads(5)
    ours = ops.convex_iou(points, polygons)
    assert torch.allclose(ours, box_loops.convex_iou(points, polygons), rtol=0, atol=1e-9)
    assert ops.convex_iou(points[:0], polygons).shape == (0, 5)
    assert ops.convex_iou(points, polygons[:0]).shape == (6, 0)


def test_convex_giou() -> None:
    points, polygons = sets(6), quads(6)
    ours = ops.convex_giou(points, polygons)
    assert torch.allclose(ours, box_loops.convex_giou(points, polygons), rtol=0, atol=1e-9)
    generic = points[2:].clone().requires_grad_()
    assert gradcheck(lambda p: ops.convex_giou(p, polygons[2:]), generic, fast_mode=True)
    output = torch.zeros(4, 19, **F64)
    FUNCTIONS["convex_giou"](points[2:], polygons[2:], output)
    grads = torch.autograd.grad(ops.convex_giou(generic, polygons[2:]).sum(), generic)[0]
    assert torch.equal(output, torch.cat([grads, ours[2:, None]], 1))


def test_min_area_polygons() -> None:
    points = sets(6)
    boxes = ops.min_area_polygons(points)
    for row, box in zip(points, boxes, strict=True):
        corners = [(x, y) for x, y in box.view(4, 2).tolist()]
        assert abs(box_loops.area(corners)) == pytest.approx(box_loops.smallest_area(row), rel=2e-3)
        assert box_loops.shared(box_loops.nine(row), corners) == pytest.approx(
            box_loops.area(box_loops.nine(row)), rel=1e-9
        )
    upright = torch.tensor([[0, 0, 4, 0, 4, 3, 0, 3, 1, 1, 2, 1, 2, 2, 1, 2, 3, 1.0]])
    assert ops.min_area_polygons(upright).tolist() == [[4, 0, 0, 0, 0, 3, 4, 3]]


def test_points_in_polygons() -> None:
    torch.manual_seed(0)
    points, polygons = torch.rand(40, 2, **F64) * 6, quads(5)
    ours = ops.points_in_polygons(points, polygons)
    assert torch.equal(ours, box_loops.points_in_polygons(points, polygons))
    square = torch.tensor([[0, 0, 2, 0, 2, 2, 0, 2.0]])
    # MMCV's walk from corner to corner ends where it meets the point.
    border = torch.tensor([[0, 0], [2, 2], [0, 1], [2, 1], [1, 0], [1, 2.0]])
    assert ops.points_in_polygons(border, square)[:, 0].tolist() == [0, 0, 0, 0, 0, 1]


def test_chamfer_distance() -> None:
    torch.manual_seed(0)
    one, other = (torch.rand(2, count, 2, **F64, requires_grad=True) for count in (5, 7))
    first, second, to_other, to_one = ops.chamfer_distance(one, other)
    for ours, index, wanted in (
        (first, to_other, box_loops.nearest(one, other)),
        (second, to_one, box_loops.nearest(other, one)),
    ):
        assert torch.allclose(ours, wanted[0], rtol=0, atol=1e-12)
        assert torch.equal(index, wanted[1])
    run = lambda a, b: ops.chamfer_distance(a, b)[:2]  # noqa: E731
    assert gradcheck(run, (one, other), fast_mode=True)
    grads = [torch.randn_like(first), torch.randn_like(second)]
    buffers = [torch.zeros_like(one), torch.zeros_like(other)]
    given = (one.detach(), other.detach(), to_other.int(), to_one.int())
    FUNCTIONS["chamfer_distance_backward"](*given, *grads, *buffers)
    wanted = torch.autograd.grad([first, second], [one, other], grads)
    for buffer, each in zip(buffers, wanted, strict=True):
        assert torch.allclose(buffer, each, rtol=0, atol=1e-12)


def test_nearest_of_many_points_in_parts() -> None:
    torch.manual_seed(0)
    one, other = torch.rand(1, 300, 2), torch.rand(1, 200, 2)
    assert torch.equal(ops.chamfer_distance(one, other)[2], box_loops.nearest(one, other)[1])


def intersection_by_order(one: Tensor, other: Tensor, points: Tensor, mask: Tensor) -> float:
    """Sum up over the border as ``mmcv.ops.diff_iou_rotated_2d`` does."""
    middle = (points * mask[:, None]).sum(0) / mask.sum()
    index = sort_vertices((points - middle)[None, None], mask[None, None])[0, 0]
    border = torch.where(mask[:, None], points, 0.0)[index]
    x, y = border.T
    return abs(float((x[:-1] * y[1:] - y[:-1] * x[1:]).sum())) / 2


@pytest.mark.parametrize(
    ("second", "wanted"),
    [
        ((0, 0, 4, 2, 0.0), 8.0),  # the same: each corner twice
        ((0, 0, 2, 4, math.pi / 2), 8.0),
        ((1, 1, 4, 2, 0.0), 3.0),
        ((0, 0, 2, 2, math.pi / 4), 4.0 - 2 * (math.sqrt(2) - 1) ** 2),
        ((9, 9, 1, 1, 0.0), 0.0),
    ],
)
def test_sorted_vertices_close_a_border(second: tuple[float, ...], wanted: float) -> None:
    boxes = torch.tensor([[0, 0, 4, 2, 0.0], second], **F64)
    one, other = corners_of_rotated(boxes)
    points, valid = [*one.tolist(), *other.tolist()], []
    for point, of in [*((p, other) for p in one), *((p, one) for p in other)]:
        sides = [
            box_loops.side(a, b, point.tolist())
            for a, b in zip(of.tolist(), of.roll(-1, 0).tolist(), strict=True)
        ]
        valid.append(min(sides) >= -1e-9)
    for a, b in zip(one.tolist(), one.roll(-1, 0).tolist(), strict=True):
        for c, d in zip(other.tolist(), other.roll(-1, 0).tolist(), strict=True):
            s, t = box_loops.side(c, d, a), box_loops.side(c, d, b)
            u, v = box_loops.side(a, b, c), box_loops.side(a, b, d)
            crosses = s * t < -1e-9 and u * v < -1e-9
            share = s / (s - t) if crosses else 0.0
            points.append(
                [p + (q - p) * share if crosses else 0.0 for p, q in zip(a, b, strict=True)]
            )
            valid.append(crosses)
    found = intersection_by_order(one, other, torch.tensor(points, **F64), torch.tensor(valid))
    assert found == pytest.approx(wanted, abs=1e-9)


def pixels(seed: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    label = torch.zeros(24, 31, dtype=torch.int)
    label[1:3, 1:4], label[6, 7:9], label[7, 1], label[20, 25] = 1, 2, 3, 1
    label[12, 20], label[18, 6] = 2, 3
    return {
        "score": torch.rand(24, 31, generator=generator),
        "mask": torch.rand(24, 31, generator=generator) > 0.2,
        "embedding": torch.rand(24, 31, 4, generator=generator),
        "kernel_label": label,
        "kernel_contour": (torch.rand(24, 31, generator=generator) > 0.3).to(torch.uint8),
    }


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("limit", [0.3, 0.7, 2.0])
def test_pixel_group(limit: float, seed: int) -> None:
    given = pixels(seed)
    ours = ops.pixel_group(**given, kernel_region_num=5, distance_threshold=limit)
    wanted = box_loops.pixel_group(*given.values(), 5, limit)
    assert [each[1:] for each in ours] == [each[1:] for each in wanted]
    assert [each[0] for each in ours] == pytest.approx([each[0] for each in wanted], abs=1e-6)


@pytest.mark.parametrize("kernels", [1, 3])
@pytest.mark.parametrize("least", [0, 2])
def test_contour_expand(least: int, kernels: int) -> None:
    masks = (torch.rand(3, 24, 31, generator=torch.Generator().manual_seed(1)) > 0.2).to(
        torch.uint8
    )
    label = pixels(0)["kernel_label"]
    if kernels == 1:
        masks = masks[:1]
        grown = torch.tensor(ops.contour_expand(masks, label, 0, 3))
        assert torch.equal(grown, label.long())
        return
    ours = ops.contour_expand(masks, label, least, 3)
    assert ours == box_loops.contour_expand(masks, label, least, 3)
    # A label whose columns lie one after the other in memory.
    assert ours == ops.contour_expand(masks, label.T.contiguous().T, least, 3)


BOXES, QUADS, SCORES, SETS = turned(3), quads(3), torch.rand(3, **F64), sets(3)
PIXELS = pixels(0)
BAD: list[tuple[str, tuple[Any, ...], str]] = [
    (
        "box_iou_rotated",
        (BOXES, QUADS),
        r"box_iou_rotated: boxes2 is of shape \(3, 8\) → .*\(M, 5\)",
    ),
    ("box_iou_rotated", (BOXES, BOXES, "giou"), "mode is 'giou' → it must be iou or iof"),
    (
        "box_iou_rotated",
        (BOXES, BOXES[:2], "iou", True),
        "boxes2 is of 2 rows → .* of 3, as boxes1",
    ),
    ("box_iou_quadri", (QUADS.long(), QUADS), "box_iou_quadri: boxes1 is torch.int64"),
    ("nms_rotated", (BOXES, SCORES[:2], 0.5), r"nms_rotated: scores is of shape \(2,\)"),
    ("nms_rotated", (BOXES, SCORES, 0.5, SCORES[:2]), r"labels is of shape \(2,\) → .* \(3,\)"),
    ("nms_rotated", (None, SCORES, 0.5), "nms_rotated: boxes is NoneType"),
    ("nms_rotated", (BOXES, SCORES, 0.5, SCORES.to("meta")), "device is .*meta of labels"),
    ("box_iou_rotated", (BOXES.to("meta"), BOXES.to("meta")), "boxes1 is on the device meta"),
    ("nms_quadri", (BOXES, SCORES, 0.5), r"nms_quadri: boxes is of shape \(3, 5\)"),
    ("convex_iou", (QUADS, QUADS), r"convex_iou: points is of shape .*\(N, 18\)"),
    ("convex_giou", (SETS, QUADS[:2]), r"convex_giou: polygons is of shape .*\(3, 8\)"),
    ("min_area_polygons", (QUADS,), "min_area_polygons: points is of shape"),
    ("points_in_polygons", (BOXES, QUADS), r"points_in_polygons: points is of shape .*\(N, 2\)"),
    ("chamfer_distance", (torch.zeros(1, 2, 2), torch.zeros(2, 2, 2)), r"points2 is .*\(1, M, 2\)"),
    ("chamfer_distance", (torch.zeros(1, 2, 2), torch.zeros(1, 0, 2)), "points2 is a set of no"),
    ("pixel_group", (*PIXELS.values(), 3, 0.5), "kernel_region_num is 3 → .* the last label, 3"),
    (
        "pixel_group",
        (*{**PIXELS, "score": SCORES}.values(), 4, 0.5),
        r"score is of shape \(3,\) → .* \(24, 31\)",
    ),
    ("contour_expand", (QUADS, BOXES, 1, 1), r"contour_expand: kernel_mask is of shape \(3, 8\)"),
    ("contour_expand", (PIXELS["mask"][None], PIXELS["score"], 1, 1), "kernel_label is float32"),
    ("contour_expand", (PIXELS["mask"][None], PIXELS["kernel_label"], 1, 2), "kernel_num is 2"),
]


@pytest.mark.parametrize(("name", "arguments", "message"), BAD)
def test_bad_input_has_one_message(name: str, arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        getattr(ops, name)(*arguments)


def test_vertices_of_a_wrong_shape() -> None:
    with pytest.raises(ArgumentError, match=r"sort_vertices: mask is torch.bool \(1, 1, 8\)"):
        sort_vertices(torch.zeros(1, 1, 8, 2), torch.ones(1, 1, 8, dtype=torch.bool))
