"""Every function of ``mmcv._ext`` that runs refuses tensors of a wrong kind, shape or device, and says which."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from mm2pl.errors import ArgumentError
from mm2pl.ops.ext import FUNCTIONS
from mm2pl.ops.ext_arguments import TENSORS

KINDS = {"": torch.float32, "int": torch.int64, "bool": torch.bool}
CASES = [
    (name, entry.argument)
    for name, entries in TENSORS.items()
    for entry in entries
    if entry.argument != "*"
]
OF_BOTH = ["nms", "nms_match", "contour_expand", "pixel_group"]
"""These are functions of ``mm2pl.ops`` themselves, and have bad input in the tests of those."""


def names_of_sizes(name: str) -> list[str]:
    return [size for entry in TENSORS[name] for size in entry.shape]


def refused(name: str, argument: str, change: Callable[[Tensor], Any]) -> str:
    """Call a function with tensors that fit, all free sizes and settings 1, but for one; return what it says."""
    parameters = inspect.signature(FUNCTIONS[name]).parameters.values()
    given = {each.name: 1 for each in parameters if each.kind is not each.VAR_KEYWORD}
    places = dict(zip(list(given), TENSORS[name], strict=False))
    sizes = re.findall(r"[a-z]\w*_\w*|k[HW]", " ".join(names_of_sizes(name)))
    settings: dict[str, Any] = dict.fromkeys(sizes, 1) if len(parameters) > len(given) else {}
    for key, entry in places.items():
        shape = [math.prod(map(int, re.findall(r"\d+", size))) for size in entry.shape]
        tensor = torch.ones(shape, dtype=KINDS[entry.kind])
        settings[key] = change(tensor) if entry.argument == argument else tensor
    with pytest.raises(ArgumentError) as caught:
        FUNCTIONS[name](**{**given, **settings})
    return str(caught.value)


def other_kind(tensor: Tensor) -> Tensor:
    return tensor.long() if tensor.is_floating_point() else tensor.float()


@pytest.mark.parametrize(("name", "argument"), CASES)
def test_an_argument_that_does_not_fit(name: str, argument: str) -> None:
    begin = f"{name}: {argument} is "
    assert refused(name, argument, lambda x: x.tolist()).startswith(f"{begin}list → it must be a")
    assert refused(name, argument, lambda x: x[None]).startswith(f"{begin}of shape (1, ")
    assert refused(name, argument, other_kind).startswith(f"{begin}torch.")
    if sum(entry.argument != "*" for entry in TENSORS[name]) > 1:
        assert "one for all" in refused(name, argument, lambda x: x.to("meta"))


@pytest.mark.parametrize(
    ("name", "argument"),
    [
        (name, entry.argument)
        for name, entries in TENSORS.items()
        for entry in entries
        if entry.shape and entry.shape[-1].isdigit()
    ],
)
def test_rows_of_a_wrong_width(name: str, argument: str) -> None:
    message = refused(name, argument, lambda x: torch.cat([x, x[..., :1]], -1))
    assert message.startswith(f"{name}: {argument} is of shape ")


@pytest.mark.parametrize(
    ("name", "argument"),
    [
        (name, entry.argument)
        for name, entries in TENSORS.items()
        for entry in entries
        if entry.shape and names_of_sizes(name).count(entry.shape[0]) > 1
    ],
)
def test_tensors_of_other_sizes_than_each_other(name: str, argument: str) -> None:
    message = refused(name, argument, lambda x: torch.cat([x, x]))
    assert re.match(rf"{name}: \w+ is of shape ", message)


SETTINGS: list[tuple[str, dict[str, Any], str]] = [
    ("bbox_overlaps", {"mode": 2}, "bbox_overlaps: mode is 2 → it must be 0"),
    ("bbox_overlaps", {"offset": 2}, "bbox_overlaps: offset is 2"),
    ("bbox_overlaps", {"ious": torch.zeros(2, 2)}, r"ious is of shape \(2, 2\) → .* \(3, 2\)"),
    ("bbox_overlaps", {"ious": torch.zeros(3, 2).int()}, "ious is torch.int32 → .* floating-point"),
    ("bbox_overlaps", {"ious": torch.zeros(3, 2, device="meta")}, "the device is .*meta of ious"),
    ("bbox_overlaps", {"aligned": True}, "bboxes2 is of 2 rows → it must be of 3, as bboxes1"),
]
BOXES: dict[str, Any] = {
    "bboxes1": torch.ones(3, 4),
    "bboxes2": torch.ones(2, 4),
    "ious": torch.zeros(3, 2),
}
BOXES |= {"mode": 0, "aligned": False, "offset": 0}


@pytest.mark.parametrize(("name", "given", "message"), SETTINGS)
def test_settings(name: str, given: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        FUNCTIONS[name](**{**BOXES, **given})


def test_places_outside_a_masked_map() -> None:
    y = x = torch.tensor([0, 4])
    size = {"kernel_h": 3, "kernel_w": 3, "pad_h": 0, "pad_w": 0}
    with pytest.raises(ArgumentError, match="mask_h_idx is from 0 to 4 → it must be from 0 to 2"):
        FUNCTIONS["masked_im2col_forward"](torch.ones(1, 1, 5, 5), y, x, torch.zeros(9, 2), **size)
    size = {"height": 5, "width": 4, "channels": 1}
    with pytest.raises(ArgumentError, match="mask_w_idx is from 0 to 4 → it must be from 0 to 3"):
        FUNCTIONS["masked_col2im_forward"](torch.ones(1, 2), y, x, torch.ones(1, 1, 5, 4), **size)


def test_the_table_is_whole() -> None:
    without = {"get_compiler_version", "get_compiling_cuda_version"}
    assert {*TENSORS, *OF_BOTH, *without} == {*FUNCTIONS}
