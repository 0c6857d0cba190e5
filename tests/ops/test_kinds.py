"""Operators for generation and in space: each argument of another kind, on another device, and strided otherwise."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from mm2pl import ops
from mm2pl.errors import ArgumentError
from tests.ops import calls

GENERATOR = torch.Generator().manual_seed(0)
CLOUD = (torch.tensor(calls.SIZES), torch.tensor(calls.LIMITS))
ONE = torch.tensor([1, 1])
PAIRS = (calls.PAIRS, calls.NUMBERS, len(calls.OUT))


def rand(*shape: int) -> Tensor:
    return torch.rand(shape, generator=GENERATOR)


GIVEN: dict[str, tuple[Any, ...]] = {
    "assign_score_withk": (
        rand(1, 2, 4, 3),
        rand(1, 5, 3, 4),
        rand(1, 5, 3, 4),
        calls.NEIGHBOURS,
    ),
    "ball_query": (rand(1, 6, 3), rand(1, 2, 3), 0.6, 3, 0.1),
    "bias_act": (rand(2, 3, 4), rand(3), 1, "swish", 0.2, 1.5, 0.9),
    "boxes_overlap_bev": (rand(3, 7) + 1, rand(2, 7) + 1),
    "correlation": (rand(1, 4, 6, 7), rand(1, 4, 6, 7), 3, 1, 1, 1, 1, 2),
    "dynamic_scatter": (rand(5, 3), calls.VOXELS, "mean"),
    "dynamic_voxelize": (rand(5, 4), *CLOUD),
    "filtered_lrelu": (rand(1, 4, 6, 7), rand(4), rand(4), rand(4), 2, 2, 3, 1.4, 0.2, 1.0),
    "furthest_point_sample": (rand(1, 6, 3), 3),
    "furthest_point_sample_with_dist": (rand(1, 6, 6), 3),
    "fused_bias_leakyrelu": (rand(2, 3, 4) - 0.5, rand(3), 0.2, 1.4),
    "gather_points": (rand(1, 3, 5), calls.THREE[:, 0]),
    "group_points": (rand(1, 3, 5), calls.THREE),
    "hard_voxelize": (rand(5, 4), *CLOUD, 2, 9),
    "indice_conv": (rand(4, 2), rand(3, 3, 2, 3), *PAIRS),
    "indice_maxpool": (rand(4, 2), *PAIRS),
    "indice_pairs": (calls.CELLS, *calls.GRID),
    "knn": (rand(1, 6, 3), rand(1, 2, 3), 3),
    "nms3d": (rand(3, 7), rand(3), 0.5),
    "nms3d_normal": (rand(3, 7), rand(3), 0.5),
    "points_in_boxes_all": (rand(1, 5, 3), rand(1, 4, 7)),
    "points_in_boxes_part": (rand(1, 5, 3), rand(1, 4, 7)),
    "roiaware_pool3d": (rand(4, 7) + 1, rand(5, 3) + 1.25, rand(5, 6), 2),
    "roipoint_pool3d": (rand(1, 5, 3) + 1.25, rand(1, 5, 6), rand(1, 4, 7) + 1, 3),
    "stack_ball_query": (rand(5, 3), calls.COUNTS, rand(5, 3), calls.COUNTS, 0.6, 3),
    "stack_group_points": (rand(5, 3), calls.COUNTS, calls.NEIGHBOURS[0], ONE),
    "three_interpolate": (rand(1, 3, 5), calls.THREE, rand(1, 2, 3)),
    "three_nn": (rand(1, 6, 3), rand(1, 4, 3)),
    "upfirdn2d": (rand(1, 4, 6, 7), rand(4), 2, 1, 2, False, 2.0),
}
NUMBERS = {"voxel_size", "point_cloud_range"}
"""They are numbers, in any kind of sequence."""
MORE = {"filter", "filter_up", "filter_down", "filters", "padding"}
"""They may have one axis more, or four sides."""


def wrong(argument: str, value: object) -> Iterator[object]:
    """Yield what an argument must not be."""
    if isinstance(value, Tensor):
        yield from ("a", value.to(torch.complex64))
        yield from () if argument in MORE else (value[None],)
        if argument not in NUMBERS:
            yield value.tolist()
            yield value.long() if value.is_floating_point() else value.float()
    elif not isinstance(value, bool):
        yield from ("a", {}, [1, 2, 3, 4, 5])


def results(found: Any) -> list[Tensor]:
    return [*found] if isinstance(found, tuple) else [found]


def test_each_operator_is_asked() -> None:
    assert GIVEN.keys() == calls.CALLS.keys()


@pytest.mark.parametrize("name", GIVEN)
def test_another_kind_is_refused(name: str) -> None:
    operator, given = getattr(ops, name), GIVEN[name]
    for place, argument in enumerate([*inspect.signature(operator).parameters][: len(given)]):
        for value in wrong(argument, given[place]):
            with pytest.raises(ArgumentError, match=r"^\w+(\[.*\])?: .* → "):
                operator(*given[:place], value, *given[place + 1 :])


@pytest.mark.parametrize("name", GIVEN.keys() - {"dynamic_voxelize", "hard_voxelize"})
def test_another_device_is_refused(name: str) -> None:
    operator, given = getattr(ops, name), GIVEN[name]
    tensors = [k for k, value in enumerate(given) if isinstance(value, Tensor)]
    for place in (
        tensors if len(tensors) > 1 and name not in ("dynamic_voxelize", "hard_voxelize") else []
    ):
        with pytest.raises(ArgumentError, match=r"the device is .*meta"):
            operator(*given[:place], given[place].to("meta"), *given[place + 1 :])


@pytest.mark.parametrize("name", GIVEN)
def test_strides_do_not_matter(name: str) -> None:
    operator, given = getattr(ops, name), GIVEN[name]
    wanted = results(operator(*given))
    # Callers ask for a `view` of it, such as EDVR of MMagic 1.2.0 of a deformable convolution's.
    assert all(each.is_contiguous() for each in wanted)
    for place, value in enumerate(given):
        if isinstance(value, Tensor):
            for axis in range(value.dim()):
                strided = value.transpose(0, axis).repeat_interleave(2, -1)[..., ::2]
                strided = strided.transpose(0, axis)
                found = results(operator(*given[:place], strided, *given[place + 1 :]))
                for ours, theirs in zip(found, wanted, strict=True):
                    assert torch.allclose(ours, theirs, rtol=1e-6, atol=1e-6)
