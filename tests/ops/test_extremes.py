"""What all operators have to stand: half precision, nothing at all, infinite values, boxes far larger than the map."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from mm2pl import ops
from mm2pl.ops import roi, sampling
from mm2pl.ops.ext import FUNCTIONS
from mm2pl.ops.gather import gather
from tests.ops import calls, loops, region_loops
from tests.ops.test_graphs import CALLS

HALVES = [torch.float16, torch.bfloat16]
BOXES = torch.tensor([[0.0, 0, 304, 304], [0, 0, 304, 300]])  # an area past float16's 65504
SCORES = torch.tensor([0.9, 0.5])


@pytest.mark.parametrize("kind", HALVES)
@pytest.mark.parametrize("name", CALLS)
def test_half_gives_what_float32_does(name: str, kind: torch.dtype) -> None:
    call, shape = CALLS[name]
    torch.manual_seed(0)
    # Numbers that stay exact where a call multiplies its input before the operator sees it.
    x = torch.randint(0, 8, shape).to(kind) / 8
    ours, wanted = call(x), call(x.float())
    rough = 2 * torch.finfo(kind).eps
    assert torch.allclose(ours.float(), wanted.float(), rtol=rough, atol=rough)


@pytest.mark.parametrize("kind", HALVES)
def test_boxes_whose_area_overflows_in_half(kind: torch.dtype) -> None:
    boxes, scores = BOXES.to(kind), SCORES.to(kind)
    dets, _ = ops.soft_nms(boxes, scores, 0.3, min_score=0)
    assert dets.dtype == kind
    assert dets[:, 4].tolist() == pytest.approx([0.9, 0.5 * 4 / 304], rel=0.01)
    assert ops.nms_match(torch.cat([boxes, scores[:, None]], 1), 0.5) == [[0, 1]]
    assert ops.nms(boxes, scores, 0.5).tolist() == [0]
    ious = torch.zeros(2, 2, dtype=kind)
    FUNCTIONS["bbox_overlaps"](boxes, boxes, ious, mode=0, aligned=False, offset=0)
    assert ious[0].tolist() == pytest.approx([1, 300 / 304], rel=0.01)
    square = torch.tensor([[0.0, 0, 304, 0, 304, 304, 0, 304]], dtype=kind)
    inside = ops.points_in_polygons(torch.tensor([[150.0, 300], [310, 300]], dtype=kind), square)
    assert inside.tolist() == [[1], [0]]


@pytest.mark.parametrize("kind", HALVES)
def test_pixels_in_half(kind: torch.dtype) -> None:
    label = torch.tensor([[1, 0, 2]])
    score, far = torch.ones(1, 3), torch.tensor([[[300.0], [301], [-300]]])  # squares overflow
    arguments = (label, torch.ones(1, 3), 3, 3.0)
    ours = ops.pixel_group(score.to(kind), score.to(kind), far.to(kind), *arguments)
    assert ours == ops.pixel_group(score, score, far.to(kind).float(), *arguments)
    assert ours[1][1] == 2
    assert ops.contour_expand(torch.ones(2, 1, 3).to(kind), label, 1, 2) == [[1, 1, 2]]


@pytest.mark.parametrize("kind", HALVES)
@pytest.mark.parametrize("name", ["roi_align", "roi_pool", "border_align"])
def test_the_maxima_of_the_extension_take_half(name: str, kind: torch.dtype) -> None:
    input, rois = torch.randn(1, 8, 6, 7).to(kind), torch.tensor([[0, 0, 1, 5, 4]]).to(kind)
    shape: tuple[int, ...] = (1, 8, 2, 2)
    settings: dict[str, Any] = {"spatial_scale": 1.0}
    if name == "border_align":
        rois, shape, settings = rois[None, :, 1:], (1, 2, 1, 4), {"pool_size": 3}
        places = [torch.zeros(shape, dtype=torch.int)]
        wanted = ops.border_align(input, rois, 3)
    elif name == "roi_pool":
        places = [torch.zeros(shape, dtype=torch.int)]
        settings |= {"pooled_height": 2, "pooled_width": 2}
        wanted = ops.roi_pool(input, rois, 2)
    else:
        places = [torch.zeros(shape, dtype=kind) for _ in "yx"]
        settings |= {"aligned_height": 2, "aligned_width": 2, "sampling_ratio": 2}
        settings |= {"pool_mode": 0, "aligned": True}
        wanted = ops.roi_align(input, rois, 2, 1.0, 2, "max")
    output, grad = torch.zeros(shape, dtype=kind), torch.zeros_like(input)
    FUNCTIONS[f"{name}_forward"](input, rois, output, *places, **settings)
    FUNCTIONS[f"{name}_backward"](torch.ones_like(output), rois, *places, grad, **settings)
    assert torch.equal(output, wanted)
    assert float(grad.float().sum()) == pytest.approx(output.numel(), rel=0.05)


Z, SHAPES = torch.zeros, torch.tensor([[2, 3]])
EMPTY: dict[str, tuple[Callable[[Tensor], Any], tuple[int, ...], tuple[int, ...]]] = {
    "active_rotated_filter": (
        lambda x: ops.active_rotated_filter(x, torch.ones(1, 1, 1, 1).int()),
        (0, 2, 1, 1, 1),
        (0, 2, 1, 1),
    ),
    "border_align, no boxes": (
        lambda x: ops.border_align(x, Z(2, 0, 4), 2),
        (2, 8, 4, 5),
        (2, 2, 0, 4),
    ),
    "border_align": (lambda x: ops.border_align(x, Z(0, 3, 4), 2), (0, 8, 4, 5), (0, 2, 3, 4)),
    "box_iou_quadri": (lambda x: ops.box_iou_quadri(x, Z(3, 8)), (0, 8), (0, 3)),
    "box_iou_rotated": (lambda x: ops.box_iou_rotated(x, Z(3, 5)), (0, 5), (0, 3)),
    "carafe": (lambda x: ops.carafe(x, Z(0, 9, 8, 10), 3, 1, 2), (0, 8, 4, 5), (0, 8, 8, 10)),
    "chamfer_distance": (lambda x: ops.chamfer_distance(x, Z(0, 3, 2))[0], (0, 4, 2), (0, 4)),
    "convex_giou": (lambda x: ops.convex_giou(x, Z(0, 8)), (0, 18), (0,)),
    "convex_iou": (lambda x: ops.convex_iou(x, Z(3, 8)), (0, 18), (0, 3)),
    "deform_conv2d": (
        lambda x: ops.deform_conv2d(
            x, Z(0, 36, 2, 3), Z(4, 4, 3, 3), Z(0, 18, 2, 3), groups=2, deform_groups=2
        ),
        (0, 8, 4, 5),
        (0, 4, 2, 3),
    ),
    "min_area_polygons": (ops.min_area_polygons, (0, 18), (0, 8)),
    "ms_deform_attn": (
        lambda x: ops.ms_deform_attn(x, SHAPES, Z(1, 0, 2, 1, 4, 2), Z(1, 0, 2, 1, 4)),
        (1, 6, 2, 3),
        (1, 0, 6),
    ),
    "nms": (lambda x: ops.nms(x, x[:, 0], 0.5), (0, 4), (0,)),
    "nms_quadri": (lambda x: ops.nms_quadri(x, x[:, 0], 0.5), (0, 8), (0,)),
    "nms_rotated": (lambda x: ops.nms_rotated(x, x[:, 0], 0.5), (0, 5), (0,)),
    "points_in_polygons": (lambda x: ops.points_in_polygons(x, Z(3, 8)), (0, 2), (0, 3)),
    "psa_mask": (lambda x: ops.psa_mask(x, 0, (2, 3)), (0, 6, 4, 5), (0, 20, 4, 5)),
    "rotated_feature_align": (
        lambda x: ops.rotated_feature_align(x, Z(0, 4, 5, 5), 1.0, 5),
        (0, 3, 4, 5),
        (0, 3, 4, 5),
    ),
    "sigmoid_focal_loss": (lambda x: ops.sigmoid_focal_loss(x, Z(0).long()), (0, 3), (0, 3)),
    "soft_nms": (lambda x: ops.soft_nms(x, x[:, 0], 0.5)[0], (0, 4), (0, 5)),
    "softmax_focal_loss": (lambda x: ops.softmax_focal_loss(x, Z(0).long()), (0, 3), (0,)),
    "tin_shift": (lambda x: ops.tin_shift(x, Z(0, 3).int()), (0, 4, 6, 3), (0, 4, 6, 3)),
}
REGIONS: dict[str, tuple[int, Callable[..., Tensor]]] = {
    "bezier_align": (17, ops.bezier_align),
    "deform_roi_pool": (5, lambda x, rois, size: ops.deform_roi_pool(x, rois, None, size)),
    "prroi_pool": (5, ops.prroi_pool),
    "riroi_align_rotated": (6, ops.riroi_align_rotated),
    "roi_align": (5, ops.roi_align),
    "roi_align, max": (5, lambda x, rois, size: ops.roi_align(x, rois, size, 1.0, 0, "max")),
    "roi_align_rotated": (6, ops.roi_align_rotated),
    "roi_pool": (5, ops.roi_pool),
}
EMPTY["carafe, no channels"] = (
    lambda x: ops.carafe(x, Z(1, 9, 8, 10), 3, 1, 2),
    (1, 0, 4, 5),
    (1, 0, 8, 10),
)
for _name, (_width, _run) in REGIONS.items():
    _call = lambda x, w=_width, run=_run: run(x, Z(0, w), 2)  # noqa: E731
    _two = lambda x, w=_width, run=_run: run(x, Z(2, w), 2)  # noqa: E731
    EMPTY[f"{_name}, no channels"] = (_two, (1, 0, 4, 5), (2, 0, 2, 2))
    EMPTY[_name] = (_call, (1, 8, 4, 5), (0, 8, 2, 2))
    EMPTY[f"{_name}, no images"] = (_call, (0, 8, 4, 5), (0, 8, 2, 2))
EMPTY |= calls.NOTHING
ON_HOST = {"contour_expand", "nms_match", "pixel_group"}


def test_each_operator_is_asked_for_nothing() -> None:
    assert {name.partition(",")[0] for name in EMPTY} | ON_HOST == set(ops.__all__)
    assert ops.nms_match(Z(0, 5), 0.5) == []
    assert ops.contour_expand(Z(2, 0, 5), Z(0, 5).int(), 1, 1) == []
    nothing = (Z(0, 5), Z(0, 5), Z(0, 5, 3), Z(0, 5).int(), Z(0, 5))
    assert ops.pixel_group(*nothing, 2, 1.0) == [[0.0, 0.0]] * 2


@pytest.mark.parametrize("name", EMPTY)
def test_nothing(name: str) -> None:
    call, given, wanted = EMPTY[name]
    input = torch.zeros(given, requires_grad=True)
    out = call(input)
    assert out.shape == wanted
    if out.requires_grad:
        out.sum().backward()
        assert input.grad is not None
        assert not input.grad.any()


@pytest.mark.parametrize("name", ["roi_align", "roi_pool", "deform_roi_pool", "prroi_pool"])
def test_an_infinite_cell_does_not_reach_bins_without_samples(name: str) -> None:
    input = torch.ones(1, 2, 4, 5)
    input[0, :, 0, 0] = torch.inf
    input.requires_grad_()
    corners = [9.0, 0, 9, 0] if name == "roi_pool" else [3.0, 3, 3, 3]
    rois = torch.tensor([[0, *corners]])
    out = REGIONS[name][1](input, rois, 2)
    assert torch.equal(out, torch.zeros(1, 2, 2, 2))
    assert torch.equal(REGIONS[name][1](input, rois[:0], 2), out[:0])


@pytest.mark.parametrize("ratio", [0, 2])
def test_a_cell_that_is_not_a_number_is_never_the_greatest(ratio: int) -> None:
    input = torch.arange(12.0).view(1, 1, 3, 4)
    input[0, 0, 0, 0] = torch.nan
    input.requires_grad_()
    out = ops.roi_align(input, torch.tensor([[0, 0, 0, 4.0, 3]]), 1, 1.0, ratio, "max")
    assert out.item() == (11 if ratio == 0 else 9.5)


def test_a_cell_that_no_sample_touches_is_not_read() -> None:
    input = torch.ones(1, 1, 1, 7)
    input[..., 2] = torch.nan
    assert ops.roi_align(input, torch.tensor([[0, 0.5, 0, 1.7, 1]]), 1, aligned=True).item() == 1


@pytest.mark.parametrize("name", ["prroi_pool", "roi_align"])
def test_a_box_far_larger_than_the_map(name: str) -> None:
    input, corners = torch.randn(1, 2, 8, 8, dtype=torch.float64), [-40.0, -30, 50, 45]
    rois = torch.tensor([[0, *corners]], dtype=torch.float64)
    if name == "prroi_pool":
        wanted = region_loops.prroi_pool(input, rois, (3, 2), 1.0)
        ours = ops.prroi_pool(input, rois, (3, 2))
    else:
        wanted = loops.roi_align(input, rois, (3, 2), 1.0, 0, "avg", True)
        ours = ops.roi_align(input, rois, (3, 2))
    assert torch.allclose(ours, wanted, rtol=0, atol=1e-12)
    # Sized by the box and not by the map, this took more than 30 GB.
    huge = REGIONS[name][1](input, rois * 1000, 2)
    assert huge.shape == (1, 2, 2, 2)
    assert bool(huge.isfinite().all())


SAMPLED = {
    "roi_align": (5, (3, 0.5, 0, "max")),
    "roi_align_rotated": (6, (3, 0.5, 0)),
    "riroi_align_rotated": (6, (3, 0.5, 0, 4)),
    "bezier_align": (17, (3, 0.5, 0)),
    "deform_roi_pool": (5, (None, 3, 0.5, 0)),
}


@pytest.mark.parametrize("limit", [1, 300])
@pytest.mark.parametrize("name", SAMPLED)
def test_pieces_of_few_samples_give_the_same(
    name: str, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    width, settings = SAMPLED[name]
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(2, 4, 9, 11, generator=generator, dtype=torch.float64, requires_grad=True)
    rois = torch.rand(7, width, generator=generator, dtype=torch.float64) * 20
    rois[:, 0] = torch.arange(7) % 2
    if width == 5:
        rois[:, 3:] += rois[:, 1:3]
    whole = getattr(ops, name)(x, rois, *settings)
    grad = torch.rand(whole.shape, generator=generator, dtype=torch.float64)
    (to_map,) = torch.autograd.grad(whole, x, grad)
    largest = 0

    def counting(table: Tensor, index: Tensor, *rest: Tensor) -> Tensor:
        nonlocal largest
        largest = max(largest, index.numel())
        return gather(table, index, *rest)

    monkeypatch.setattr(sampling, "LIMIT", limit)
    for module in (sampling, roi):
        monkeypatch.setattr(module, "gather", counting)
    pieces = getattr(ops, name)(x, rois, *settings)
    (again,) = torch.autograd.grad(pieces, x, grad)
    assert torch.allclose(pieces, whole, rtol=1e-12, atol=1e-12)
    assert torch.allclose(again, to_map, rtol=1e-12, atol=1e-12)
    # A row of a bin is in one piece: up to 4 samples of 4 cells.
    assert 0 < largest <= limit + 4 * 4


class Calls(TorchDispatchMode):
    """Count what torch is asked for."""

    count = 0

    def __torch_dispatch__(
        self, function: Any, types: Any, arguments: Any = (), named: Any = None
    ) -> Any:
        self.count += 1
        return function(*arguments, **(named or {}))


@pytest.mark.parametrize("name", [*SAMPLED, "prroi_pool"])
def test_regions_of_many_sizes_are_sampled_at_once(name: str) -> None:
    width, settings = SAMPLED.get(name, (5, (3, 0.5)))
    rois = torch.arange(40.0)[:, None] * torch.arange(width) ** 1.5 / width
    rois[:, 0] = 0
    counts = []
    for some in (rois[20:21], rois):  # of one size, and of 40
        with Calls() as calls_:
            getattr(ops, name)(torch.rand(1, 8, 9, 11), some, *settings)
        counts.append(calls_.count)
    assert counts[1] < counts[0] + 10  # what is contiguous is copied once less
