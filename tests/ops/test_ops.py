"""Each operator against a loop written from its definition, in float64; gradients; edges; bad input."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck
from torch.nn import functional

from mm2pl import ops
from mm2pl.errors import ArgumentError
from tests.ops import loops

F64 = {"dtype": torch.float64}


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def random(*shape: int, positive: bool = False) -> Tensor:
    return (torch.rand if positive else torch.randn)(*shape, **F64, requires_grad=True)


def same(ours: Tensor, loop: Callable[..., Tensor], *arguments: Any) -> bool:
    """Compare a result with that of a loop."""
    plain = [each.detach() if isinstance(each, Tensor) else each for each in arguments]
    theirs = loop(*plain)
    return ours.shape == theirs.shape and torch.allclose(ours, theirs, rtol=0, atol=1e-12)


ROIS = torch.tensor(
    # within, of the other image, past every border, of no size, far outside, of a line
    [
        [0, 0, 0, 4.0, 5],
        [1, 1, 2, 6, 5.5],
        [0, -2, -3, 9, 9],
        [1, 3, 3, 3, 3],
        [0, 50, 50, 60, 60],
        [1, 1, 2, 5, 2],
    ],
    **F64,
)


@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize("ratio", [0, 1, 3])
@pytest.mark.parametrize("mode", ["avg", "max"])
def test_roi_align(mode: str, ratio: int, aligned: bool) -> None:
    arguments = (ROIS, (3, 2), 0.9, ratio, mode, aligned)
    input = random(2, 3, 6, 7)
    assert same(ops.roi_align(input, *arguments), loops.roi_align, input, *arguments)
    assert gradcheck(lambda each: ops.roi_align(each, *arguments), input, fast_mode=True)


def test_roi_pool() -> None:
    input, malformed = random(2, 3, 6, 7), torch.tensor([[0, 5, 5, 1.0, 1]], **F64)
    arguments = (torch.cat([ROIS, malformed]), (3, 2), 0.9)
    assert same(ops.roi_pool(input, *arguments), loops.roi_pool, input, *arguments)
    assert gradcheck(lambda each: ops.roi_pool(each, *arguments), input, fast_mode=True)


@pytest.mark.parametrize(
    ("stride", "padding", "dilation", "groups", "deform_groups"),
    [(1, 1, 1, 1, 1), (2, 0, 1, 2, 1), (1, 2, 2, 1, 2), (2, 1, 1, 2, 4)],
)
def test_deform_conv2d(
    stride: int, padding: int, dilation: int, groups: int, deform_groups: int
) -> None:
    input, weight = random(1, 4, 4, 5), random(2, 4 // groups, 3, 3)
    size = [(n + 2 * padding - 2 * dilation - 1) // stride + 1 for n in (4, 5)]
    offset, mask = random(1, 18 * deform_groups, *size), random(1, 9 * deform_groups, *size)
    tensors = (input, offset, weight, mask, random(2))
    numbers = (stride, padding, dilation, groups, deform_groups)
    assert same(ops.deform_conv2d(*tensors, *numbers), loops.deform_conv2d, *tensors, *numbers)
    assert gradcheck(lambda *each: ops.deform_conv2d(*each, *numbers), tensors, fast_mode=True)


def test_without_offsets_it_is_a_convolution() -> None:
    input, weight, offset = random(2, 4, 5, 6), random(6, 2, 3, 3), torch.zeros(2, 18, 5, 6, **F64)
    ours = ops.deform_conv2d(input, offset, weight, padding=1, groups=2)
    assert same(ours, lambda i, w: functional.conv2d(i, w, padding=1, groups=2), input, weight)


def test_an_offset_that_is_no_number_samples_nothing() -> None:
    offset = torch.full((1, 2, 3, 3), float("nan"), **F64)
    out = ops.deform_conv2d(random(1, 1, 3, 3), offset, torch.ones(1, 1, 1, 1, **F64))
    assert torch.equal(out, torch.zeros_like(out))


def test_ms_deform_attn() -> None:
    shapes = torch.tensor([[6, 7], [3, 4]])
    value, weights = random(2, 54, 2, 3), random(2, 4, 2, 2, 3)
    places = (1.4 * random(2, 4, 2, 2, 3, 2, positive=True) - 0.2).detach().requires_grad_()
    ours = ops.ms_deform_attn(value, shapes, places, weights)
    assert same(ours, loops.ms_deform_attn, value, shapes, places, weights)
    run = lambda v, p, w: ops.ms_deform_attn(v, shapes, p, w)  # noqa: E731
    assert gradcheck(run, (value, places, weights), fast_mode=True)


def test_carafe() -> None:
    tensors, numbers = (random(2, 4, 3, 4), random(2, 18, 6, 8)), (3, 2, 2)
    assert same(ops.carafe(*tensors, *numbers), loops.carafe, *tensors, *numbers)
    assert gradcheck(lambda *each: ops.carafe(*each, *numbers), tensors, fast_mode=True)


@pytest.mark.parametrize("kind", [0, 1])
def test_psa_mask(kind: int) -> None:
    input, size = random(2, 15, 3, 4), (3, 5)
    assert same(ops.psa_mask(input, kind, size), loops.psa_mask, input, kind, size)
    assert gradcheck(lambda each: ops.psa_mask(each, kind, size), input, fast_mode=True)


def test_operators_can_be_differentiated_twice() -> None:
    tensors = (random(1, 2, 3, 3), random(1, 8, 2, 2), random(2, 2, 2, 2), random(1, 4, 2, 2))
    assert gradgradcheck(ops.deform_conv2d, tensors, fast_mode=True)
    assert gradgradcheck(
        lambda each: ops.roi_align(each, ROIS[:1], 2), random(1, 2, 4, 4), fast_mode=True
    )


# Losses


@pytest.mark.parametrize("weighted", [False, True])
def test_sigmoid_focal_loss(weighted: bool) -> None:
    logits, labels, gamma, alpha = random(5, 3), torch.tensor([0, 2, 3, 1, 7]), 1.5, 0.3
    weight = torch.tensor([2.0, 0.5, 3.0], **F64) if weighted else None
    chance = 1 / (1 + (-logits).exp())
    wanted = torch.where(
        labels[:, None] == torch.arange(3),
        -alpha * (1 - chance) ** gamma * chance.log(),
        -(1 - alpha) * chance**gamma * (1 - chance).log(),
    )
    rows = torch.tensor([2.0, 3.0, 1.0, 0.5, 1.0], **F64) if weighted else torch.ones(5, **F64)
    run = lambda each: ops.sigmoid_focal_loss(each, labels, gamma, alpha, weight)  # noqa: E731
    assert same(run(logits), lambda: (wanted * rows[:, None]).detach())
    assert gradcheck(run, logits, fast_mode=True)


def test_softmax_focal_loss() -> None:
    logits, labels, gamma, alpha = random(4, 3), torch.tensor([0, 2, -1, 1]), 1.5, 0.3
    chance = logits.softmax(1)[torch.arange(4), labels]
    wanted = -alpha * (1 - chance) ** gamma * chance.log() * (labels >= 0)
    run = lambda each: ops.softmax_focal_loss(each, labels, gamma, alpha)  # noqa: E731
    assert same(run(logits), lambda: wanted.detach())
    assert gradcheck(run, logits, fast_mode=True)


def test_a_saturated_logit_has_a_gradient() -> None:
    logits = torch.tensor([[-200.0]], requires_grad=True)
    loss = ops.sigmoid_focal_loss(logits, torch.tensor([0]))
    loss.sum().backward()
    assert loss.item() == pytest.approx(0.25 * 87.336544)  # cut off at float32's smallest
    assert logits.grad is not None
    assert logits.grad.item() == -0.25


# Suppression


def boxes_of(count: int, whole: bool = False) -> Tensor:
    corners = torch.rand(count, 2) * 20
    boxes = torch.cat([corners, corners + torch.rand(count, 2) * 20], 1)
    return boxes.round() if whole else boxes


@pytest.mark.parametrize("offset", [0, 1])
@pytest.mark.parametrize("count", [0, 1, 40, 700])
def test_nms(count: int, offset: int) -> None:
    boxes, scores = boxes_of(count), torch.rand(count)
    kept = ops.nms(boxes, scores, 0.45, offset)
    assert kept.dtype == torch.int64
    assert kept.tolist() == loops.nms(boxes.numpy().tolist(), scores, 0.45, offset)


def test_nms_of_boxes_that_lie_apart() -> None:
    boxes, scores = boxes_of(700) + torch.arange(700)[:, None] % 40 * 15, torch.rand(700)
    assert ops.nms(boxes, scores, 0.2).tolist() == loops.nms(boxes.numpy().tolist(), scores, 0.2, 0)


def test_nms_keeps_what_only_reaches_the_threshold() -> None:
    boxes, scores = torch.tensor([[0, 0, 2.0, 2], [0, 0, 2, 1]]), torch.tensor([0.9, 0.8])
    assert ops.nms(boxes, scores, 0.5).tolist() == [0, 1]
    assert ops.nms_match(torch.cat([boxes, scores[:, None]], 1), 0.5) == [[0, 1]]
    assert len(ops.soft_nms(boxes, scores, 0.5, method=0)[0]) == 1


@pytest.mark.parametrize("count", [0, 1, 60, 200])
def test_nms_match(count: int) -> None:
    dets = torch.cat([boxes_of(count), torch.rand(count, 1)], 1)
    assert ops.nms_match(dets, 0.4) == loops.nms_match(dets.tolist(), dets[:, 4], 0.4)


SOFT: dict[str, tuple[Callable[[Tensor], Tensor], float]] = {
    "distinct": (lambda scores: scores, 0.15),
    "equal": (lambda scores: scores.mul(20).round().div(20), 0.15),
    "none goes": (lambda scores: scores, 0.0),
    "negative": (lambda scores: scores - 0.5, -0.3),
    "not a number": (lambda scores: scores.where(scores > 0.2, torch.nan), 0.15),
}
"""Scores → others, and the least that stays."""


@pytest.mark.parametrize("method", [0, 1, 2])
@pytest.mark.parametrize("offset", [0, 1])
@pytest.mark.parametrize("kind", SOFT)
def test_soft_nms(kind: str, offset: int, method: int) -> None:
    change, least = SOFT[kind]
    boxes, scores = boxes_of(150).double(), change(torch.rand(150)).double()
    arguments = (0.3, 0.5, least, method, offset)
    dets, index = ops.soft_nms(boxes, scores, *arguments)
    wanted = loops.soft_nms(boxes.tolist(), scores.tolist(), *arguments)
    assert index.tolist() == [i for i, _ in wanted]
    assert dets[:, 4].tolist() == pytest.approx([x for _, x in wanted], abs=1e-12, nan_ok=True)
    assert torch.equal(dets[:, :4], boxes[index])


# Edges


CALLS: dict[str, Callable[[Tensor], Tensor]] = {
    "roi_align": lambda x: ops.roi_align(x, ROIS[:2].to(x), 2),
    "roi_pool": lambda x: ops.roi_pool(x, ROIS[:2].to(x), 2),
    "deform_conv2d": lambda x: ops.deform_conv2d(
        x, torch.full((2, 2, 6, 7), 0.5).to(x), torch.ones(3, 3, 1, 1).to(x)
    ),
    "carafe": lambda x: ops.carafe(x, torch.ones(2, 1, 6, 7).to(x), 1, 1, 1),
    "sigmoid_focal_loss": lambda x: ops.sigmoid_focal_loss(
        x.flatten(1), torch.zeros(2, dtype=torch.long)
    ),
}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_half_is_computed_in_float32_also_under_autocast(name: str, kind: torch.dtype) -> None:
    input = torch.randn(2, 3, 6, 7).to(kind)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        ours = CALLS[name](input)
        whole = CALLS[name](input.float())
    assert ours.dtype == kind
    assert whole.dtype == torch.float32
    assert torch.equal(ours, CALLS[name](input.float()).to(kind))


@pytest.mark.parametrize("name", CALLS)
def test_memory_layout_does_not_matter(name: str) -> None:
    input = torch.randn(2, 3, 6, 7)
    other = input.to(memory_format=torch.channels_last)
    assert torch.equal(CALLS[name](input), CALLS[name](other))


def test_memory_layout_of_a_convolution_does_not_matter() -> None:
    shapes = [(1, 4, 5, 5), (1, 18, 5, 5), (2, 4, 3, 3), (1, 9, 5, 5)]
    tensors = [torch.randn(shape, **F64) for shape in shapes]
    other = [each.to(memory_format=torch.channels_last) for each in tensors]
    ours, wanted = (ops.deform_conv2d(*each, padding=1) for each in (other, tensors))
    assert torch.allclose(ours, wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize("operator", [ops.roi_align, ops.roi_pool])
def test_no_regions(operator: Callable[..., Tensor]) -> None:
    input = random(1, 3, 4, 4)
    out = operator(input, torch.zeros(0, 5, **F64), (2, 2))
    out.sum().backward()
    assert out.shape == (0, 3, 2, 2)
    assert input.grad is not None
    assert not input.grad.any()


def test_offsets_of_zero_have_no_gradient_in_the_padding() -> None:
    # They are what every layer begins with. A value of MMCV 2.1.0's compiled operator: its kernels want > -1.
    input, weight = torch.ones(1, 1, 3, 3, **F64), torch.ones(1, 1, 3, 3, **F64)
    offset = torch.zeros(1, 18, 3, 3, **F64, requires_grad=True)
    ops.deform_conv2d(input, offset, weight, padding=1).sum().backward()
    assert offset.grad is not None
    upper = offset.grad[0, [0, 2, 4]]  # y of the kernel's first row
    assert not upper.any()
    lower = offset.grad[0, [12, 14, 16]]  # and of its last, where the next cell is outside
    assert lower[1].tolist() == [[0, 0, 0], [-1, -1, -1], [0, 0, 0]]


INPUT, OFFSET, WEIGHT = torch.zeros(1, 4, 5, 5), torch.zeros(1, 18, 3, 3), torch.zeros(2, 4, 3, 3)
BOXES, SCORES = torch.zeros(3, 4), torch.zeros(3)
BAD: list[tuple[Callable[..., Any], tuple[Any, ...], str]] = [
    (ops.nms, (torch.zeros(3, 5), SCORES, 0.5), r"nms: boxes is of shape \(3, 5\) → .*\(N, 4\)"),
    (ops.nms, (BOXES.long(), SCORES, 0.5), r"nms: boxes is torch.int64 → .*floating-point"),
    (ops.nms, (BOXES, SCORES[:2], 0.5), r"nms: scores is of shape \(2,\) → it must be \(3,\)"),
    (ops.nms, (BOXES, SCORES, 0.5, 2), "nms: offset is 2 → it must be 0 or 1"),
    (ops.soft_nms, (BOXES, SCORES, 0.5, 0.5, 0, 3), "softnms: method is 3"),
    (ops.nms_match, (BOXES, 0.5), r"nms_match: dets is of shape \(3, 4\)"),
    (ops.roi_align, (INPUT, torch.zeros(1, 4), 2), r"roi_align: rois is of shape \(1, 4\)"),
    (ops.roi_align, (INPUT, torch.tensor([[2.0, 0, 0, 1, 1]]), 2), r"rois\[:, 0\] is .* 2 to 2"),
    (ops.roi_align, (INPUT, torch.tensor([[0.0, 3, 0, 1, 1]]), 2), "x1 <= x2"),
    (ops.roi_align, (INPUT, torch.zeros(1, 5), 2, 1.0, 0, "sum"), "pool_mode is 'sum'"),
    (ops.roi_pool, (INPUT[0], torch.zeros(1, 5), 2), r"roi_pool: input is of shape \(4, 5, 5\)"),
    (ops.deform_conv2d, (INPUT, OFFSET[:, :9], WEIGHT), r"offset is of shape .*18, 3, 3"),
    (ops.deform_conv2d, (INPUT, OFFSET, WEIGHT[:, :2]), r"weight is of shape .*2, 4, 3, 3"),
    (ops.deform_conv2d, (INPUT, OFFSET, WEIGHT, None, None, 1, 0, 1, 3), "groups is 3"),
    (ops.deform_conv2d, (INPUT[..., :2], OFFSET, WEIGHT), "the kernel is larger than the input"),
    (ops.carafe, (INPUT, INPUT, 2, 1, 2), "carafe: kernel_size is 2 → it must be odd"),
    (ops.carafe, (INPUT, INPUT, 3, 1, 2), r"carafe: masks is of shape .*\(1, 9, 10, 10\)"),
    (ops.psa_mask, (INPUT, 0, (3, 3)), r"psa_mask: input is of shape"),
    (ops.psa_mask, (INPUT, 2, (2, 2)), "psa_type is 2"),
    (ops.sigmoid_focal_loss, (BOXES, SCORES), r"target is torch.float32 \(3,\) → .*int64 \(3,\)"),
    (ops.softmax_focal_loss, (BOXES, torch.full((3,), 4)), "past the classes"),
    (
        ops.ms_deform_attn,
        (
            torch.zeros(1, 5, 1, 1),
            torch.tensor([[2, 2]]),
            *map(torch.zeros, [(1, 1, 1, 1, 1, 2), (1, 1, 1, 1, 1)]),
        ),
        "spatial_shapes is of 4 cells → it must be of value's 5",
    ),
    (ops.roi_align, (INPUT, torch.zeros(1, 5), (0, 2)), r"output_size is \(0, 2\) → .* at least 1"),
    (ops.bezier_align, (INPUT, torch.zeros(1, 17), 2.5), "bezier_align: output_size is 2.5"),
    (ops.deform_conv2d, (INPUT, OFFSET, WEIGHT, None, None, 0), "deform_conv2d: stride is 0"),
    (ops.deform_conv2d, (INPUT, OFFSET, WEIGHT.double()), "the dtype is .*float64 of weight"),
    (ops.carafe, (INPUT, torch.zeros(1, 9, 10, 10, **F64), 3, 1, 2), "dtype is .* one for all"),
    (ops.border_align, (None, torch.zeros(1, 2, 4), 2), "border_align: input is NoneType"),
    (
        ops.tin_shift,
        (INPUT, torch.zeros(1, 1, device="meta").int()),
        "the device is .*meta of shift",
    ),
    (
        ops.roi_align,
        (INPUT.to("meta"), torch.zeros(1, 5), 2),
        "the device is meta of input, cpu of",
    ),
    (ops.sigmoid_focal_loss, (BOXES, SCORES.long(), 2.0, 0.25, [1.0]), "weight is list"),
    (ops.contour_expand, ([[1]], BOXES, 0, 1), "contour_expand: kernel_mask is list"),
    (ops.deform_conv2d, (INPUT, None, WEIGHT), "deform_conv2d: offset is NoneType"),
    (
        ops.nms,
        (BOXES.to("meta"), SCORES.to("meta"), 0.5),
        "boxes is on the device meta → .* values",
    ),
    (ops.contour_expand, (INPUT[0].to("meta"), BOXES, 0, 1), "kernel_mask is on the device meta"),
    (
        ops.roi_pool,
        (INPUT, torch.full((1, 5), torch.nan), 2),
        r"rois\[:, 0\] is .* nan to nan → .* 0",
    ),
    (
        ops.roi_align,
        (INPUT, torch.tensor([[0, torch.nan, 0, 1, 1]]), 2),
        "or without one → .* x1 <=",
    ),
    (ops.softmax_focal_loss, (BOXES[:, :0], SCORES.long()), "input is of no classes"),
    (ops.psa_mask, (INPUT, 0, (2,)), r"psa_mask: mask_size is \(2,\) → .* an integer, or two"),
    (
        ops.ms_deform_attn,
        (
            torch.zeros(1, 4, 1, 1),
            torch.tensor([[-2, -2]]),
            *map(torch.zeros, [(1, 1, 1, 1, 1, 2), (1, 1, 1, 1, 1)]),
        ),
        r"spatial_shapes is \[\[-2, -2\]\] → it must be of at least 1 cell",
    ),
    (
        ops.ms_deform_attn,
        (
            torch.zeros(1, 4, 1, 1),
            torch.tensor([[2, 2]]),
            *map(torch.zeros, [(1, 1, 1, 1, 3, 2), (1, 1, 1, 1, 2)]),
        ),
        r"attention_weights is of shape .*\(1, 1, 1, 1, 3\)",
    ),
]


@pytest.mark.parametrize(("operator", "arguments", "message"), BAD)
def test_bad_input_has_one_message(
    operator: Callable[..., Any], arguments: tuple[Any, ...], message: str
) -> None:
    with pytest.raises(ArgumentError, match=message):
        operator(*arguments)
