"""The functions of ``mmcv._ext``, called as ``mmcv/ops/*.py`` calls them, against the operators that they stand for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from mm2pl import ops
from mm2pl.errors import ArgumentError
from mm2pl.ops.ext import FUNCTIONS

F64 = {"dtype": torch.float64}
ROIS = torch.tensor([[0, 0, 0, 4.0, 5], [1, 1, 2, 6, 5.5], [1, 3, 3, 3, 3]], **F64)
LABELS = torch.tensor([0, 2, 1])
SHAPES = torch.tensor([[2, 3], [1, 2]])
BEGINS = torch.tensor([0, 6])
DCN = {"dW": 1, "dH": 1, "padW": 1, "padH": 1, "dilationW": 1, "dilationH": 1, "kW": 3, "kH": 3}
DCN |= {"group": 2, "deformable_group": 1, "im2col_step": 2}
DCN2 = {"stride_h": 1, "stride_w": 1, "pad_h": 1, "pad_w": 1, "dilation_h": 1, "dilation_w": 1}
DCN2 |= {"kernel_h": 3, "kernel_w": 3, "group": 2, "deformable_group": 1}
BINS = {"aligned_height": 3, "aligned_width": 2, "spatial_scale": 0.9, "sampling_ratio": 0}
CARAFE = {"kernel_size": 3, "group_size": 2, "scale_factor": 2}
PSA = {"num_": 1, "h_feature": 3, "w_feature": 4, "h_mask": 3, "w_mask": 5}
PSA |= {"half_h_mask": 1, "half_w_mask": 2}


class Case(NamedTuple):
    """An operator of ours and both of MMCV's calls.

    Attributes:
        shapes: Of the tensors that get a gradient.
        operator: Ours, of these tensors.
        forward: Writes the output, and returns what the backward call needs of it.
        backward: Writes the gradients into buffers.
    """

    shapes: list[tuple[int, ...]]
    operator: Callable[..., Tensor]
    forward: Callable[[list[Tensor], Tensor], Any]
    backward: Callable[[list[Tensor], Any, Tensor, list[Tensor]], Any]


def roi_align(mode: str) -> Case:
    number = {"max": 0, "avg": 1}[mode]

    def forward(inputs: list[Tensor], output: Tensor) -> list[Tensor]:
        places = [torch.zeros_like(output), torch.zeros_like(output)]
        FUNCTIONS["roi_align_forward"](
            *inputs, ROIS, output, *places, **BINS, pool_mode=number, aligned=True
        )
        return places

    def backward(inputs: Any, places: list[Tensor], grad: Tensor, buffers: list[Tensor]) -> None:
        FUNCTIONS["roi_align_backward"](
            grad, ROIS, *places, *buffers, **BINS, pool_mode=number, aligned=True
        )

    return Case(
        [(2, 3, 6, 7)],
        lambda x: ops.roi_align(x, ROIS, (3, 2), 0.9, 0, mode),
        forward,
        backward,
    )


def roi_pool() -> Case:
    bins = {"pooled_height": 3, "pooled_width": 2, "spatial_scale": 0.9}

    def forward(inputs: list[Tensor], output: Tensor) -> Tensor:
        argmax = torch.zeros_like(output, dtype=torch.int)
        FUNCTIONS["roi_pool_forward"](*inputs, ROIS, output, argmax, **bins)
        return argmax

    return Case(
        [(2, 3, 6, 7)],
        lambda x: ops.roi_pool(x, ROIS, (3, 2), 0.9),
        forward,
        lambda _, argmax, grad, buffers: FUNCTIONS["roi_pool_backward"](
            grad, ROIS, argmax, *buffers, **bins
        ),
    )


EMPTY = torch.zeros(0, **F64)


def deform_conv_backward(
    inputs: list[Tensor], _: object, grad: Tensor, buffers: list[Tensor]
) -> None:
    (x, offset, weight), (to_x, to_offset, to_weight) = inputs, buffers
    FUNCTIONS["deform_conv_backward_input"](x, offset, grad, to_x, to_offset, weight, EMPTY, **DCN)
    FUNCTIONS["deform_conv_backward_parameters"](
        x, offset, grad, to_weight, EMPTY, EMPTY, **DCN, scale=1
    )


def modulated_backward(
    inputs: list[Tensor], _: object, grad: Tensor, buffers: list[Tensor]
) -> None:
    x, offset, mask, weight, bias = inputs
    to_x, to_offset, to_mask, to_weight, to_bias = buffers
    given = (x, weight, bias, EMPTY, offset, mask, EMPTY)
    results = (to_x, to_weight, to_bias, to_offset, to_mask)
    FUNCTIONS["modulated_deform_conv_backward"](*given, *results, grad, **DCN2, with_bias=True)


def psa_mask(kind: int) -> Case:
    return Case(
        [(1, 15, 3, 4)],
        lambda x: ops.psa_mask(x, kind, (3, 5)),
        lambda inputs, output: FUNCTIONS["psamask_forward"](*inputs, output, psa_type=kind, **PSA),
        lambda _, __, grad, buffers: FUNCTIONS["psamask_backward"](
            grad, *buffers, psa_type=kind, **PSA
        ),
    )


def carafe_forward(inputs: list[Tensor], output: Tensor) -> Tensor:
    kept = torch.zeros_like(inputs[0])
    FUNCTIONS["carafe_forward"](*inputs, kept, EMPTY, EMPTY, output, **CARAFE)
    return kept


CASES = {
    "roi_align avg": roi_align("avg"),
    "roi_align max": roi_align("max"),
    "roi_pool": roi_pool(),
    "deform_conv": Case(
        [(2, 4, 4, 5), (2, 18, 4, 5), (4, 2, 3, 3)],
        lambda x, o, w: ops.deform_conv2d(x, o, w, padding=1, groups=2),
        lambda inputs, output: FUNCTIONS["deform_conv_forward"](
            inputs[0], inputs[2], inputs[1], output, EMPTY, EMPTY, **DCN
        ),
        deform_conv_backward,
    ),
    "modulated_deform_conv": Case(
        [(2, 4, 4, 5), (2, 18, 4, 5), (2, 9, 4, 5), (4, 2, 3, 3), (4,)],
        lambda x, o, m, w, b: ops.deform_conv2d(x, o, w, m, b, padding=1, groups=2),
        lambda inputs, output: FUNCTIONS["modulated_deform_conv_forward"](
            *(inputs[0], inputs[3], inputs[4], EMPTY, inputs[1], inputs[2], output, EMPTY),
            **DCN2,
            with_bias=True,
        ),
        modulated_backward,
    ),
    "ms_deform_attn": Case(
        [(1, 8, 2, 3), (1, 4, 2, 2, 3, 2), (1, 4, 2, 2, 3)],
        lambda v, p, w: ops.ms_deform_attn(v, SHAPES, p, w),
        lambda inputs, output: output.copy_(
            FUNCTIONS["ms_deform_attn_forward"](
                inputs[0], SHAPES, BEGINS, inputs[1], inputs[2], im2col_step=1
            )
        ),
        lambda inputs, _, grad, buffers: FUNCTIONS["ms_deform_attn_backward"](
            inputs[0], SHAPES, BEGINS, *inputs[1:], grad, *buffers, im2col_step=1
        ),
    ),
    "carafe": Case(
        [(1, 4, 3, 4), (1, 18, 6, 8)],
        lambda f, m: ops.carafe(f, m, **CARAFE),
        carafe_forward,
        lambda inputs, kept, grad, buffers: FUNCTIONS["carafe_backward"](
            grad, kept, inputs[1], *(EMPTY,) * 4, *buffers, **CARAFE
        ),
    ),
    "carafe_naive": Case(
        [(1, 4, 3, 4), (1, 18, 6, 8)],
        lambda f, m: ops.carafe(f, m, **CARAFE),
        lambda inputs, output: FUNCTIONS["carafe_naive_forward"](*inputs, output, **CARAFE),
        lambda inputs, _, grad, buffers: FUNCTIONS["carafe_naive_backward"](
            grad, *inputs, *buffers, **CARAFE
        ),
    ),
    "psamask collect": psa_mask(0),
    "psamask distribute": psa_mask(1),
}


@pytest.mark.parametrize("name", CASES)
def test_a_pair_of_calls(name: str) -> None:
    check(CASES[name])


def check(case: Case) -> None:
    """Compare both calls with the operator and its gradients."""
    torch.manual_seed(0)
    inputs = [torch.randn(shape, **F64) for shape in case.shapes]
    leaves = [each.clone().requires_grad_() for each in inputs]
    wanted = case.operator(*leaves)
    grad = torch.randn_like(wanted)
    output = torch.zeros_like(wanted)
    kept = case.forward(inputs, output)
    assert torch.allclose(output, wanted, rtol=0, atol=1e-12)
    buffers = [torch.zeros_like(each) for each in inputs]
    case.backward(inputs, kept, grad, buffers)
    for buffer, each in zip(buffers, torch.autograd.grad(wanted, leaves, grad), strict=True):
        assert torch.allclose(buffer, each, rtol=0, atol=1e-11)


@pytest.mark.parametrize("weight", [torch.tensor([2.0, 0.5, 3.0], **F64), EMPTY])
@pytest.mark.parametrize("kind", ["sigmoid", "softmax"])
def test_focal_losses(kind: str, weight: Tensor) -> None:
    torch.manual_seed(0)
    logits = torch.randn(3, 3, **F64, requires_grad=True)
    operator = {"sigmoid": ops.sigmoid_focal_loss, "softmax": ops.softmax_focal_loss}[kind]
    loss = operator(logits, LABELS, 1.5, 0.3, weight)
    loss.sum().backward()
    given = logits.detach() if kind == "sigmoid" else logits.detach().softmax(1)
    output, grad = torch.zeros_like(loss), torch.zeros_like(logits)
    power = {"gamma": 1.5, "alpha": 0.3}
    FUNCTIONS[f"{kind}_focal_loss_forward"](given, LABELS, weight, output, **power)
    buffer = [] if kind == "sigmoid" else [torch.zeros_like(loss)]
    FUNCTIONS[f"{kind}_focal_loss_backward"](given, LABELS, weight, *buffer, grad, **power)
    assert torch.allclose(output, loss, rtol=0, atol=1e-12)
    assert logits.grad is not None
    assert torch.allclose(grad, logits.grad, rtol=0, atol=1e-12)


@pytest.mark.parametrize("offset", [0, 1])
@pytest.mark.parametrize("aligned", [False, True])
@pytest.mark.parametrize(("mode", "wanted"), [(0, 1 / 7), (1, 1 / 4)])
def test_bbox_overlaps(mode: int, wanted: float, aligned: bool, offset: int) -> None:
    one, other = torch.tensor([[0.0, 0, 2, 2]]), torch.tensor([[1.0, 1, 3, 3]])
    one[:, 2:] -= offset
    other[:, 2:] -= offset
    ious = torch.zeros(1 if aligned else (1, 1))
    FUNCTIONS["bbox_overlaps"](one, other, ious, mode=mode, aligned=aligned, offset=offset)
    assert ious.flatten().tolist() == pytest.approx([wanted])


def test_bbox_overlaps_of_an_infinite_box() -> None:
    boxes, ious = torch.tensor([[0.0, 0, torch.inf, 2], [0, 0, 2, 2]]), torch.zeros(2, 2)
    FUNCTIONS["bbox_overlaps"](boxes, boxes, ious, mode=0, aligned=False, offset=0)
    assert ious.tolist() == [[0, 0], [0, 1]]  # as MMCV's CPU kernel, which ends sides at 2**31


def test_a_masked_convolution() -> None:
    torch.manual_seed(0)
    features, weight = torch.randn(1, 2, 5, 6), torch.randn(3, 2, 3, 3)
    mask = torch.rand(5, 6) > 0.5
    y, x = mask.nonzero(as_tuple=True)
    columns = torch.zeros(18, len(y))
    padding = {"kernel_h": 3, "kernel_w": 3, "pad_h": 1, "pad_w": 1}
    FUNCTIONS["masked_im2col_forward"](features, y, x, columns, **padding)
    output = torch.zeros(1, 3, 5, 6)
    size = {"height": 5, "width": 6, "channels": 3}
    FUNCTIONS["masked_col2im_forward"](weight.view(3, -1) @ columns, y, x, output, **size)
    wanted = functional.conv2d(features, weight, padding=1) * mask
    assert torch.allclose(output, wanted, atol=1e-5)


def test_suppression() -> None:
    boxes = torch.tensor([[0.0, 0, 2, 2], [0, 0, 2, 2], [5, 5, 6, 6]])
    scores, dets = torch.tensor([0.1, 0.3, 0.2]), torch.zeros(3, 5)
    kept = FUNCTIONS["nms"](boxes, scores, iou_threshold=0.5, offset=0)
    assert kept.tolist() == [1, 2]
    settings = {"iou_threshold": 0.5, "sigma": 0.5, "min_score": 0.01, "method": 0, "offset": 0}
    index = FUNCTIONS["softnms"](boxes, scores, dets, **settings)
    assert index.tolist() == [1, 2]
    assert torch.equal(dets[:2, 4], scores[[1, 2]])
    assert FUNCTIONS["nms_match"](torch.cat([boxes, scores[:, None]], 1), 0.5) == [[1, 0], [2]]


@pytest.mark.parametrize(("name", "width"), [("box_iou_rotated", 5), ("box_iou_quadri", 8)])
def test_columns_after_a_box_are_not_of_it(name: str, width: int) -> None:
    one, other = torch.rand(3, width), torch.rand(2, width)
    wanted, found = torch.zeros(6), torch.ones(6)
    FUNCTIONS[name](one, other, wanted, mode_flag=0, aligned=False)
    scored = torch.cat([one, torch.rand(3, 1)], 1)
    FUNCTIONS[name](scored, other, found, mode_flag=0, aligned=False)
    assert torch.equal(found, wanted)
    for buffer, given in ((found.int(), "torch.int32"), (found[1:], r"of shape \(5,\)")):
        with pytest.raises(ArgumentError, match=f"{name}: ious is {given} → "):
            FUNCTIONS[name](one, other, buffer, mode_flag=0, aligned=False)
    with pytest.raises(ArgumentError, match=f"{name}: boxes1 is of shape"):
        FUNCTIONS[name](one[:, 1:], other, found, mode_flag=0, aligned=False)
