"""Relatives of RoIAlign, each against a loop written from its definition, in float64; gradients; edges; bad input."""

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
from tests.ops import region_loops
from tests.ops.test_ops import F64, ROIS, random, same

TURNED = torch.tensor(
    # within, of the other image and clockwise, past every border, of no size, far outside
    [
        [0, 3, 3, 4, 2, 0.3],
        [1, 2.5, 3, 5, 3, -1.2],
        [0, 3, 3, 12, 10, 2.5],
        [1, 3, 2, 0, 0, 0.1],
        [0, 50, 50, 4, 4, 3.0],
    ],
    **F64,
)
CURVES = torch.tensor(
    [
        [0, 1, 1, 2, 0.5, 4, 0.5, 5.5, 1.5, 5.2, 4, 4, 3.5, 2, 3.7, 0.8, 4.2],
        [1, -3, -2, 2, 1, 4, 1, 9, 2, 9, 8, 4, 7, 2, 7, -3, 9],
        [1] + [2.0] * 16,
    ],
    **F64,
)
TURNS = torch.stack(
    [torch.randperm(18, generator=torch.Generator().manual_seed(k)) for k in range(3)], 1
)
TURNS = (TURNS + 1).view(2, 3, 3, 3)
TABLE: dict[str, tuple[Callable[[], list[Any]], list[tuple[Any, ...]]]] = {
    "deform_roi_pool": (
        lambda: [random(2, 3, 6, 7), ROIS, random(len(ROIS), 2, 3, 2)],
        [((3, 2), 0.9, 0, 0.2), ((3, 2), 0.9, 2, 0.2)],
    ),
    "prroi_pool": (lambda: [random(2, 3, 6, 7), ROIS], [((3, 2), 0.9), ((1, 4), 0.3)]),
    "border_align": (lambda: [random(2, 8, 6, 7), ROIS[:, 1:].repeat(2, 1, 1)], [(1,), (5,)]),
    "tin_shift": (lambda: [random(2, 4, 6, 3), torch.tensor([[1, -2, 0], [9, 3, -1]])], [()]),
    "roi_align_rotated": (
        lambda: [random(2, 3, 6, 7), TURNED],
        [((3, 2), 0.9, ratio, aligned, aligned) for ratio in (0, 2) for aligned in (True, False)],
    ),
    "riroi_align_rotated": (
        lambda: [random(2, 8, 6, 7), TURNED],
        [((3, 2), 0.9, 0, 4, False), ((2, 2), 1.1, 2, 8, True)],
    ),
    "rotated_feature_align": (
        lambda: [random(2, 3, 4, 5), (9 * torch.rand(2, 4, 5, 5, **F64) - 1)],
        [(0.7, 1), (0.7, 5)],
    ),
    "bezier_align": (
        lambda: [random(2, 3, 6, 7), CURVES],
        [((3, 2), 0.9, ratio, aligned) for ratio in (0, 2) for aligned in (True, False)],
    ),
    "active_rotated_filter": (lambda: [random(2, 3, 2, 3, 3), TURNS], [()]),
}
CASES = [(name, settings) for name, (_, table) in TABLE.items() for settings in table]


@pytest.mark.parametrize(("name", "settings"), CASES, ids=lambda each: str(each))
def test_values_and_gradients(name: str, settings: tuple[Any, ...]) -> None:
    torch.manual_seed(0)
    tensors, operator = TABLE[name][0](), getattr(ops, name)
    ours = operator(*tensors, *settings)
    assert same(ours, getattr(region_loops, name), *tensors, *settings)
    leaves = [each for each in tensors if each.requires_grad]

    def run(*given: Tensor) -> Any:
        left = iter(given)
        return operator(
            *(next(left) if each.requires_grad else each for each in tensors), *settings
        )

    assert gradcheck(run, leaves, fast_mode=True)


def test_no_offset_moves_nothing() -> None:
    input, offset = random(2, 3, 6, 7), torch.zeros(len(ROIS), 2, 2, 2, **F64)
    without = ops.deform_roi_pool(input, ROIS, None, 2)
    assert torch.equal(without, ops.deform_roi_pool(input, ROIS, offset, 2))
    positive = ROIS[(ROIS[:, 3:] > ROIS[:, 1:3]).all(1)]
    wanted = ops.roi_align(input, positive, 2)
    assert torch.allclose(ops.deform_roi_pool(input, positive, None, 2), wanted, rtol=0, atol=1e-12)


def test_precise_regions_have_gradients() -> None:
    torch.manual_seed(0)
    rois = ROIS[:3].clone().requires_grad_()  # the others have kinks: no area, no cells
    run = lambda x, r: ops.prroi_pool(x, torch.cat([ROIS[:3, :1], r[:, 1:]], 1), 2, 0.9)  # noqa: E731
    assert gradcheck(run, (random(2, 3, 6, 7), rois), fast_mode=True)


def test_a_region_that_is_not_turned() -> None:
    input, turned = random(2, 3, 6, 7), torch.tensor([[1, 3, 3, 4, 2, 0.0]], **F64)
    plain = torch.tensor([[1, 1, 2, 5, 4]], **F64)
    wanted = ops.roi_align(input, plain, (3, 2))
    assert torch.allclose(ops.roi_align_rotated(input, turned, (3, 2)), wanted, rtol=0, atol=1e-12)
    turned[0, 5] = math.pi / 2
    quarter = ops.roi_align_rotated(input.transpose(2, 3), turned, (3, 2), clockwise=True)
    assert quarter.shape == wanted.shape


CALLS: dict[str, Callable[[Tensor], Tensor]] = {
    "deform_roi_pool": lambda x: ops.deform_roi_pool(x, ROIS[:2].to(x), None, 2),
    "prroi_pool": lambda x: ops.prroi_pool(x, ROIS[:2].to(x), 2),
    "border_align": lambda x: ops.border_align(x, ROIS[:2, None, 1:].to(x), 3),
    "roi_align_rotated": lambda x: ops.roi_align_rotated(x, TURNED.to(x), 2),
    "riroi_align_rotated": lambda x: ops.riroi_align_rotated(x, TURNED.to(x), 2),
    "rotated_feature_align": lambda x: ops.rotated_feature_align(x, torch.ones(2, 6, 7, 5).to(x)),
    "bezier_align": lambda x: ops.bezier_align(x, CURVES.to(x), 2),
}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_half_is_computed_in_float32_also_under_autocast(name: str, kind: torch.dtype) -> None:
    torch.manual_seed(0)
    input = torch.randn(2, 8, 6, 7).to(kind)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        ours, whole = CALLS[name](input), CALLS[name](input.float())
    assert ours.dtype == kind
    assert whole.dtype == torch.float32
    assert torch.equal(whole, CALLS[name](input.float()))


EMPTY: dict[str, tuple[tuple[int, ...], int]] = {
    "deform_roi_pool": ((0, 5), 3),
    "prroi_pool": ((0, 5), 3),
    "roi_align_rotated": ((0, 6), 3),
    "riroi_align_rotated": ((0, 6), 8),
    "bezier_align": ((0, 17), 3),
}


@pytest.mark.parametrize("name", EMPTY)
def test_no_regions(name: str) -> None:
    shape, channels = EMPTY[name]
    input = random(1, channels, 4, 4)
    more = (None,) if name == "deform_roi_pool" else ()
    out = getattr(ops, name)(input, torch.zeros(shape, **F64), *more, (2, 2))
    out.sum().backward()
    assert out.shape == (0, channels, 2, 2)
    assert input.grad is not None
    assert not input.grad.any()


INPUT, SHIFT = torch.zeros(1, 4, 5, 5), torch.zeros(1, 2, dtype=torch.int)
BAD: list[tuple[str, tuple[Any, ...], str]] = [
    ("deform_roi_pool", (INPUT, ROIS[:, :4], None, 2), r"deform_roi_pool: rois is of shape"),
    ("deform_roi_pool", (INPUT, ROIS[:1], INPUT, 2), r"offset is of shape .*\(1, 2, 2, 2\)"),
    ("prroi_pool", (INPUT, ROIS[1:2], 2), r"prroi_pool: rois\[:, 0\] is .* 1 to 1"),
    ("border_align", (INPUT[:, :3], INPUT[0, :1], 2), "border_align: boxes is of shape"),
    ("border_align", (INPUT[:, :3], INPUT[:, 0, :, :4], 2), "of 3 channels → .* a multiple of 4"),
    ("border_align", (INPUT, INPUT[:, 0, :, :4], 0), "pool_size is 0"),
    ("tin_shift", (INPUT, SHIFT.float()), r"shift is torch.float32 \(1, 2\)"),
    ("tin_shift", (INPUT[:, :, :3], SHIFT), "of 2 groups → .* a divisor of 3"),
    ("roi_align_rotated", (INPUT, ROIS, 2), r"rois is of shape \(6, 5\) → .*\(N, 6\)"),
    ("roi_align_rotated", (INPUT, -TURNED[:1], 2), "one of a negative size"),
    ("riroi_align_rotated", (INPUT, TURNED[:1], 2, 1.0, 0, 3), "num_orientations is 3"),
    ("rotated_feature_align", (INPUT, INPUT), r"boxes is of shape .*\(1, 5, 5, 5\)"),
    ("rotated_feature_align", (INPUT, torch.zeros(1, 5, 5, 5), 1.0, 4), "points is 4 → .* 1 or 5"),
    ("bezier_align", (INPUT, TURNED, 2), r"rois is of shape \(5, 6\) → .*\(N, 17\)"),
    ("active_rotated_filter", (INPUT, TURNS), "active_rotated_filter: input is of shape"),
    ("active_rotated_filter", (INPUT[None], TURNS), r"indices is torch.int64 .*\(4, 5, 5, rot"),
    ("active_rotated_filter", (torch.zeros(1, 1, 2, 3, 3), TURNS + 1), "one outside the filter"),
]


@pytest.mark.parametrize(("name", "arguments", "message"), BAD)
def test_bad_input_has_one_message(name: str, arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        getattr(ops, name)(*arguments)
