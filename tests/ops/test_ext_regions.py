"""Relatives of RoIAlign, shifts and SyncBN in ``mmcv._ext``, called as ``mmcv/ops/*.py`` calls them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from mm2pl import ops
from mm2pl.ops.ext import FUNCTIONS
from tests.ops.test_ext import F64, ROIS, Case, check
from tests.ops.test_regions import CURVES, TURNED, TURNS

SIZE = {"pooled_height": 3, "pooled_width": 2, "spatial_scale": 0.9}
ALIGNED = {"aligned_height": 3, "aligned_width": 2, "spatial_scale": 0.9}
BOXES = torch.rand(2, 6, 7, 5, generator=torch.Generator().manual_seed(0), **F64) * 6


def linear(
    name: str,
    shape: tuple[int, ...],
    second: Tensor,
    operator: Callable[[Tensor], Tensor],
    **settings: Any,
) -> Case:
    forward, backward = FUNCTIONS[f"{name}_forward"], FUNCTIONS[f"{name}_backward"]
    return Case(
        [shape],
        operator,
        lambda inputs, output: forward(*inputs, second, output, **settings),
        lambda _, __, grad, buffers: backward(grad, second, *buffers, **settings),
    )


def border_align_forward(inputs: list[Tensor], output: Tensor) -> Tensor:
    best = torch.zeros_like(output, dtype=torch.int)
    FUNCTIONS["border_align_forward"](*inputs, BOXES[:, 0, :, :4], output, best, pool_size=3)
    return best


def deform_roi_pool(moved: bool) -> Case:
    settings = {**SIZE, "sampling_ratio": 2, "gamma": 0.2}
    none = torch.zeros(0, **F64)

    def backward(inputs: list[Tensor], _: object, grad: Tensor, buffers: list[Tensor]) -> None:
        (input, offset), (to_input, to_offset) = (
            each if moved else [*each, none] for each in (inputs, buffers)
        )
        given = (grad, input, ROIS, offset, to_input, to_offset)
        FUNCTIONS["deform_roi_pool_backward"](*given, **settings)

    return Case(
        [(2, 3, 6, 7), (3, 2, 3, 2)][: 1 + moved],
        lambda x, offset=None: ops.deform_roi_pool(x, ROIS, offset, (3, 2), 0.9, 2, 0.2),
        lambda inputs, output: FUNCTIONS["deform_roi_pool_forward"](
            inputs[0], ROIS, inputs[1] if moved else none, output, **settings
        ),
        backward,
    )


CASES = {
    "active_rotated_filter": linear(
        "active_rotated_filter",
        (2, 3, 2, 3, 3),
        TURNS.int(),
        lambda x: ops.active_rotated_filter(x, TURNS),
    ),
    "bezier_align": linear(
        "bezier_align",
        (2, 3, 6, 7),
        CURVES,
        lambda x: ops.bezier_align(x, CURVES, (3, 2), 0.9, 2, False),
        **ALIGNED,
        sampling_ratio=2,
        aligned=False,
    ),
    "prroi_pool": linear(
        "prroi_pool", (2, 3, 6, 7), ROIS, lambda x: ops.prroi_pool(x, ROIS, (3, 2), 0.9), **SIZE
    ),
    "riroi_align_rotated": linear(
        "riroi_align_rotated",
        (2, 8, 6, 7),
        TURNED,
        lambda x: ops.riroi_align_rotated(x, TURNED, (3, 2), 0.9, 2, 4, True),
        **SIZE,
        num_samples=2,
        num_orientations=4,
        clockwise=True,
    ),
    "roi_align_rotated": linear(
        "roi_align_rotated",
        (2, 3, 6, 7),
        TURNED,
        lambda x: ops.roi_align_rotated(x, TURNED, (3, 2), 0.9, 0, True, True),
        **SIZE,
        sampling_ratio=0,
        aligned=True,
        clockwise=True,
    ),
    "rotated_feature_align": linear(
        "rotated_feature_align",
        (2, 3, 6, 7),
        BOXES,
        lambda x: ops.rotated_feature_align(x, BOXES, 0.5, 5),
        spatial_scale=0.5,
        points=5,
    ),
    "border_align": Case(
        [(2, 8, 6, 7)],
        lambda x: ops.border_align(x, BOXES[:, 0, :, :4], 3),
        border_align_forward,
        lambda _, best, grad, buffers: FUNCTIONS["border_align_backward"](
            grad, BOXES[:, 0, :, :4], best, *buffers, pool_size=3
        ),
    ),
    "deform_roi_pool": deform_roi_pool(True),
    "deform_roi_pool without offsets": deform_roi_pool(False),
}


@pytest.mark.parametrize("name", CASES)
def test_a_pair_of_calls(name: str) -> None:
    check(CASES[name])


def test_corners_of_precise_regions() -> None:
    torch.manual_seed(0)
    features, rois = torch.randn(2, 3, 6, 7, **F64), ROIS[:2].clone().requires_grad_()
    output = ops.prroi_pool(features, rois, (3, 2), 0.9)
    grad, buffer = torch.randn_like(output), torch.zeros_like(ROIS[:2])
    given = (output.detach(), grad, features, ROIS[:2], buffer)
    FUNCTIONS["prroi_pool_coor_backward"](*given, **SIZE)
    (wanted,) = torch.autograd.grad(output, rois, grad)
    assert torch.allclose(buffer, wanted, rtol=0, atol=1e-11)


def test_gradients_of_a_shift_go_later_as_in_mmcv() -> None:
    values, shift = torch.arange(4.0).view(1, 4, 1, 1) + 1, torch.tensor([[1]], dtype=torch.int)
    output, grad = torch.zeros_like(values), torch.zeros_like(values)
    FUNCTIONS["tin_shift_forward"](values, shift, output)
    FUNCTIONS["tin_shift_backward"](values, shift, grad)
    assert output.flatten().tolist() == grad.flatten().tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("tracked", [True, False])
def test_batch_norm_of_one_process(tracked: bool) -> None:
    torch.manual_seed(0)
    input, weight, bias = (torch.randn(each, requires_grad=True) for each in ((4, 3, 5), 3, 3))
    running = [torch.zeros(3), torch.ones(3)] if tracked else [None, None]
    ours = [each.clone() if each is not None else None for each in running]
    wanted = functional.batch_norm(input, *running, weight, bias, True, 0.3, 1e-3)
    mean, var, std = torch.zeros(3, 3)
    norm, output = torch.zeros(2, 4, 3, 5)
    with torch.no_grad():
        FUNCTIONS["sync_bn_forward_mean"](input, mean)
        FUNCTIONS["sync_bn_forward_var"](input, mean, var)
        given = (input, mean, var, weight, bias, *ours, norm, std, output)
        FUNCTIONS["sync_bn_forward_output"](*given, eps=1e-3, momentum=0.3, group_size=1)
    assert torch.allclose(output, wanted, atol=1e-5)
    if tracked:
        assert torch.allclose(torch.stack(ours), torch.stack(running), atol=1e-6)
    grad = torch.randn_like(output)
    to_weight, to_bias, to_input = torch.zeros(3), torch.zeros(3), torch.zeros_like(output)
    FUNCTIONS["sync_bn_backward_param"](grad, norm, to_weight, to_bias)
    FUNCTIONS["sync_bn_backward_data"](
        grad, weight.detach(), to_weight, to_bias, norm, std, to_input
    )
    found = torch.autograd.grad(wanted, [input, weight, bias], grad)
    for ours_, theirs in zip([to_input, to_weight, to_bias], found, strict=True):
        assert torch.allclose(ours_, theirs, atol=1e-4)
