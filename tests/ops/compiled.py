"""MMCV 2.1.0's compiled operators as oracle: ``python -m tests.ops.compiled`` where they are installed.

It compares ours with them, and writes what they return for small inputs to ``tests/data/ops/compiled.json``.
"""

from __future__ import annotations

import importlib
import json
import platform
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from mm2pl.ops.ext import FUNCTIONS

FILE = Path(__file__).parents[1] / "data" / "ops" / "compiled.json"
OURS = SimpleNamespace(**FUNCTIONS)
F64 = {"dtype": torch.float64}


class Given:
    """Inputs that are the same each time, of a size and a dtype.

    Args:
        large: Whether they are of a realistic size.
        kind: Of the floating-point ones.
    """

    def __init__(self, large: bool, kind: torch.dtype) -> None:
        self.large, self.kind = large, kind
        self.generator = torch.Generator().manual_seed(0)

    def rand(self, *shape: int) -> Tensor:
        return torch.rand(*shape, generator=self.generator, **F64).to(self.kind)

    def randn(self, *shape: int) -> Tensor:
        return torch.randn(*shape, generator=self.generator, **F64).to(self.kind)

    def size(self, small: int, large: int) -> int:
        return large if self.large else small

    def rois(self, width: int) -> Tensor:
        """Return an image, then boxes, rotated boxes or curves in a map of 4 × 5 or 64 × 80 cells."""
        rows = self.rand(self.size(3, 200), width) * self.size(5, 80)
        rows[:, 0] = (rows[:, 0] * 7).floor() % 2
        if width == 5:
            rows[:, 3:] += rows[:, 1:3]
        if width == 6:
            rows[:, 5] *= 0.6
        return rows

    def features(self, channels: int) -> Tensor:
        return self.randn(2, channels, self.size(4, 64), self.size(5, 80))

    def boxes(self, width: int, count: tuple[int, int] = (9, 3000)) -> Tensor:
        rows = self.rand(self.size(*count), width) * self.size(9, 150)
        if width == 4:
            rows[:, 2:] += rows[:, :2]
        if width == 5:
            rows[:, 4] *= 0.1
        return rows


Call = Callable[[Any, Given], list[Any]]


def regions(name: str, width: int, sizes: str, **settings: Any) -> Call:
    """Return both calls of an operator that is linear in its map."""

    def call(ext: Any, given: Given) -> list[Any]:
        input, rois = given.features(given.size(1, 256)), given.rois(width)
        output = input.new_zeros(len(rois), input.shape[1], 2, 3)
        places = [torch.zeros_like(output) for _ in range(2 if name == "roi_align" else 0)]
        named = {f"{sizes}_height": 2, f"{sizes}_width": 3, "spatial_scale": 0.75, **settings}
        getattr(ext, f"{name}_forward")(input, rois, output, *places, **named)
        grad, buffer = given.randn(*output.shape), torch.zeros_like(input)
        getattr(ext, f"{name}_backward")(grad, rois, *places, buffer, **named)
        return [output, buffer]

    return call


DCN = {"dW": 1, "dH": 1, "padW": 1, "padH": 1, "dilationW": 1, "dilationH": 1, "kW": 3, "kH": 3}
DCN |= {"group": 1, "deformable_group": 1, "im2col_step": 2}
DCN2 = {"stride_h": 1, "stride_w": 1, "pad_h": 1, "pad_w": 1, "dilation_h": 1, "dilation_w": 1}
DCN2 |= {"kernel_h": 3, "kernel_w": 3, "group": 1, "deformable_group": 1, "with_bias": True}


def convolution(given: Given, masked: bool) -> list[Tensor]:
    channels, size = given.size(1, 16), given.size(3, 32)
    shapes = [(2, channels, size, size), (2, 18, size, size), (channels, channels, 3, 3)]
    if masked:
        shapes += [(2, 9, size, size), (channels,)]
    return [given.randn(*shape) for shape in shapes]


def deform_conv(ext: Any, given: Given) -> list[Any]:
    input, offset, weight = convolution(given, False)
    none = input.new_zeros(0)
    output, grad = torch.zeros_like(input), given.randn(*input.shape)
    ext.deform_conv_forward(input, weight, offset, output, none, none.clone(), **DCN)
    buffers = [torch.zeros_like(each) for each in (input, offset, weight)]
    ext.deform_conv_backward_input(input, offset, grad, *buffers[:2], weight, none.clone(), **DCN)
    given_ = (input, offset, grad, buffers[2], none.clone(), none.clone())
    ext.deform_conv_backward_parameters(*given_, scale=1, **DCN)
    return [output, *buffers]


def modulated_deform_conv(ext: Any, given: Given) -> list[Any]:
    input, offset, weight, mask, bias = convolution(given, True)
    none = [input.new_zeros(0) for _ in range(4)]
    output, grad = torch.zeros_like(input), given.randn(*input.shape)
    first = (input, weight, bias, none[0], offset, mask)
    ext.modulated_deform_conv_forward(*first, output, none[1], **DCN2)
    buffers = [torch.zeros_like(each) for each in (input, weight, bias, offset, mask)]
    first = (input, weight, bias, none[2], offset, mask)
    ext.modulated_deform_conv_backward(*first, none[3], *buffers, grad, **DCN2)
    return [output, *buffers]


def rotated_feature_align(ext: Any, given: Given) -> list[Any]:
    input = given.features(given.size(1, 256))
    batch, _, height, width = input.shape
    boxes = given.rand(batch, height, width, 5) * height * 10
    output, grad, buffer = (
        torch.zeros_like(input),
        given.randn(*input.shape),
        torch.zeros_like(input),
    )
    named = {
        "spatial_scale": 0.125,
        "points": 1,
    }  # with 5 the compiled angle is float32 in float64 too
    ext.rotated_feature_align_forward(input, boxes, output, **named)
    ext.rotated_feature_align_backward(grad, boxes, buffer, **named)
    return [output, buffer]


def active_rotated_filter(ext: Any, given: Given) -> list[Any]:
    turns = [torch.randperm(18, generator=given.generator) + 1 for _ in range(2)]
    indices, input = torch.stack(turns, 1).view(2, 3, 3, 2).int(), given.randn(2, 1, 2, 3, 3)
    output, buffer = input.new_zeros(4, 2, 3, 3), torch.zeros_like(input)
    ext.active_rotated_filter_forward(input, indices, output)
    ext.active_rotated_filter_backward(given.randn(*output.shape), indices, buffer)
    return [output, buffer]


def bbox_overlaps(ext: Any, given: Given) -> list[Any]:
    one, other = given.boxes(4, (3, 300)), given.boxes(4, (4, 200))
    ious = one.new_zeros(len(one), len(other))
    ext.bbox_overlaps(one, other, ious, mode=0, aligned=False, offset=0)
    return [ious]


def overlaps(name: str, width: int) -> Call:
    def call(ext: Any, given: Given) -> list[Any]:
        one, other = shapes(given, width, (3, 100)), shapes(given, width, (4, 80))
        ious = one.new_zeros(len(one) * len(other))
        getattr(ext, name)(one, other, ious, mode_flag=0, aligned=False)
        return [ious]

    return call


def shapes(given: Given, width: int, count: tuple[int, int]) -> Tensor:
    """Return rotated boxes, as quadrilaterals if ``width`` is 8: where MMCV's kernel is right, they are rectangles."""
    boxes = given.boxes(5, count)
    if width == 5:
        return boxes
    corners = importlib.import_module("mm2pl.ops.rotated_boxes").corners_of_rotated(boxes.double())
    return corners.flatten(1).to(boxes)


def nms(ext: Any, given: Given) -> list[Any]:
    boxes = given.boxes(4)
    return [ext.nms(boxes, given.rand(len(boxes)), iou_threshold=0.4, offset=0)]


def softnms(ext: Any, given: Given) -> list[Any]:
    boxes = given.boxes(4, (9, 500))
    scores, dets = given.rand(len(boxes)), boxes.new_zeros(len(boxes), 5)
    named = {"iou_threshold": 0.3, "sigma": 0.5, "min_score": 0.05, "method": 1, "offset": 0}
    kept = ext.softnms(boxes, scores, dets, **named)
    return [kept, dets[: len(kept), 4]]


def nms_match(ext: Any, given: Given) -> list[Any]:
    boxes = given.boxes(4, (9, 500))
    dets = torch.cat([boxes, given.rand(len(boxes), 1)], 1)
    return [torch.tensor(group) for group in ext.nms_match(dets, iou_threshold=0.3)]


def rotated_suppression(name: str, width: int) -> Call:
    def call(ext: Any, given: Given) -> list[Any]:
        boxes = shapes(given, width, (9, 500))
        scores, none = given.rand(len(boxes)), boxes.new_zeros(0)
        middle = (none, boxes, none) if width == 5 else (none, boxes)
        return [getattr(ext, name)(boxes, scores, *middle, 0.3, False)]

    return call


def text(given: Given) -> dict[str, Tensor]:
    size = given.size(6, 60)
    label = torch.zeros(size, size, dtype=torch.int32)
    label[1, 1:3], label[4, 3:] = 1, 2
    mask = torch.rand(size, size, generator=given.generator) > 0.2
    return {"mask": mask, "label": label}


def pixel_group(ext: Any, given: Given) -> list[Any]:
    pixels = text(given)
    size = pixels["mask"].shape
    maps = (given.rand(*size), pixels["mask"], given.rand(*size, 4), pixels["label"])
    contour = torch.ones(size, dtype=torch.uint8)
    return [torch.tensor(each, **F64) for each in ext.pixel_group(*maps, contour, 3, 0.5)]


def contour_expand(ext: Any, given: Given) -> list[Any]:
    pixels = text(given)
    masks = torch.stack([pixels["mask"], pixels["mask"] & pixels["mask"].T]).to(torch.uint8)
    return [torch.tensor(ext.contour_expand(masks, pixels["label"], 2, 2))]


def psamask(ext: Any, given: Given) -> list[Any]:
    """Collect, then distribute."""
    rows, columns = given.size(3, 30), given.size(2, 24)
    mask = (2 * rows - 3, 2 * columns - 1)
    named = {"num_": 2, "h_feature": rows, "w_feature": columns, "h_mask": mask[0]}
    named |= {"w_mask": mask[1], "half_h_mask": mask[0] // 2, "half_w_mask": mask[1] // 2}
    input, results = given.randn(2, mask[0] * mask[1], rows, columns), []
    for kind in (0, 1):
        output, buffer = input.new_zeros(2, rows * columns, rows, columns), torch.zeros_like(input)
        ext.psamask_forward(input, output, psa_type=kind, **named)
        ext.psamask_backward(given.randn(*output.shape), buffer, psa_type=kind, **named)
        results += [output, buffer]
    return results


ALIGN = {"sampling_ratio": 0, "aligned": True}
BOTH = (torch.float64, torch.float32)
SINGLE = (torch.float32,)
CALLS: dict[str, tuple[Call, tuple[torch.dtype, ...]]] = {
    "roi_align": (regions("roi_align", 5, "aligned", **ALIGN, pool_mode=1), BOTH),
    "roi_align max": (regions("roi_align", 5, "aligned", **ALIGN, pool_mode=0), BOTH),
    "roi_align_rotated": (regions("roi_align_rotated", 6, "pooled", **ALIGN, clockwise=True), BOTH),
    "bezier_align": (regions("bezier_align", 17, "aligned", **ALIGN), BOTH),
    "rotated_feature_align": (rotated_feature_align, BOTH),
    "active_rotated_filter": (active_rotated_filter, BOTH),
    "deform_conv": (deform_conv, BOTH),
    "modulated_deform_conv": (modulated_deform_conv, BOTH),
    "psamask": (psamask, SINGLE),
    "bbox_overlaps": (bbox_overlaps, SINGLE),
    "box_iou_rotated": (overlaps("box_iou_rotated", 5), SINGLE),
    "box_iou_quadri": (overlaps("box_iou_quadri", 8), SINGLE),
    "nms": (nms, SINGLE),
    "softnms": (softnms, SINGLE),
    "nms_match": (nms_match, SINGLE),
    "nms_rotated": (rotated_suppression("nms_rotated", 5), BOTH),
    "nms_quadri": (rotated_suppression("nms_quadri", 8), BOTH),
    "pixel_group": (pixel_group, SINGLE),
    "contour_expand": (contour_expand, SINGLE),
}
"""Operators with a CPU kernel, and the dtypes it takes."""


def error(found: list[Tensor], wanted: list[Tensor]) -> float:
    """Return the greatest difference as a share of each tensor's maximum; infinite where integers differ."""
    greatest = 0.0 if len(found) == len(wanted) else float("inf")
    for one, other in zip(found, wanted, strict=False):
        if one.shape != other.shape or not (one.is_floating_point() or torch.equal(one, other)):
            return float("inf")
        if one.is_floating_point() and one.numel():
            scale = float(other.double().abs().max()) or 1.0
            greatest = max(greatest, float((one.double() - other.double()).abs().max()) / scale)
    return greatest


def table(ext: Any) -> Iterator[str]:
    """Compare ours with the compiled ones: exact in float64, as far from it in float32."""
    for name, (call, kinds) in CALLS.items():
        if torch.float64 in kinds:
            exact = [call(each, Given(True, torch.float64)) for each in (OURS, ext)]
            yield f"{name}: float64, difference {error(*exact):.1e}"
        single = [call(each, Given(True, torch.float32)) for each in (OURS, ext)]
        if torch.float64 in kinds and single[0][0].is_floating_point():
            # The same inputs, as float32 has them.
            wanted = call(ext, Rounded(True, torch.float64))
            ours, theirs = (error(each, wanted) for each in single)
            yield f"{name}: float32, error {ours:.1e}, theirs {theirs:.1e}"
        else:
            yield f"{name}: float32, difference {error(*single):.1e}"


class Rounded(Given):
    """Inputs in float64 with the values of float32."""

    def rand(self, *shape: int) -> Tensor:
        return super().rand(*shape).float().double()

    def randn(self, *shape: int) -> Tensor:
        return super().randn(*shape).float().double()


def golden(ext: Any) -> dict[str, list[list[float]]]:
    """Return what the small inputs give, flat, with 13 digits."""
    return {
        name: [
            [float(f"{x:.13g}") if isinstance(x, float) else x for x in each.flatten().tolist()]
            for each in call(ext, Given(False, kinds[0]))
        ]
        for name, (call, kinds) in CALLS.items()
    }


def main() -> None:
    """Print the comparison, and write the file."""
    ext = importlib.import_module("mmcv._ext")
    print(f"torch {torch.__version__}, Python {platform.python_version()}, one thread")
    torch.set_num_threads(1)
    for line in table(ext):
        print(line, flush=True)
    FILE.parent.mkdir(exist_ok=True)
    rows = [f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in golden(ext).items()]
    FILE.write_text("{\n" + ",\n".join(rows) + "\n}\n")


if __name__ == "__main__":
    main()
