"""Operators of `mm2pl.ops`, forward and backward, next to compiled MMCV's where those are installed."""

from __future__ import annotations

import functools
import importlib
import importlib.util
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from mm2pl.ops.ext import FUNCTIONS
from tests.benchmarks import operators_3d
from tests.benchmarks.measure import Run, Sample, Scenario
from tests.benchmarks.parts import timed
from tests.ops import compiled as oracle

Work = Callable[[], Any]
Bench = Callable[[Any], Work]
"""Operators by MMCV's names → one turn."""


def boxes(count: int) -> Tensor:
    """Return boxes of 16 to 316 pixels in an image of 1333 × 800, most of them small."""
    generator = torch.Generator().manual_seed(0)
    corners = torch.rand(count, 2, generator=generator) * torch.tensor([1066.0, 640.0])
    sizes = torch.rand(count, 2, generator=generator) ** 2 * 300 + 16
    return torch.cat([corners, (corners + sizes).minimum(torch.tensor([1332.0, 799.0]))], 1)


def rotated(count: int) -> Tensor:
    """Return such boxes by centre, size and angle."""
    upright = boxes(count)
    centre, size = (upright[:, :2] + upright[:, 2:]) / 2, upright[:, 2:] - upright[:, :2]
    return torch.cat([centre, size, torch.rand(count, 1) * 3], 1)


def regions(
    name: str, make_boxes: Callable[[int], Tensor], places: list[torch.dtype], **settings: Any
) -> Bench:
    """Bench 512 regions × 256 channels of a map of 1/8, in 7 × 7 bins.

    Args:
        name: Of the operator.
        make_boxes: Returns so many.
        places: Types of the buffers in which the forward call notes where maxima are.
        **settings: Of both calls.
    """

    def make(ext: Any) -> Work:
        input, rois = torch.randn(2, 256, 100, 168), make_boxes(512)
        rois = torch.cat([(torch.arange(512) % 2)[:, None].float(), rois], 1)
        output, buffer = torch.zeros(512, 256, 7, 7), torch.zeros_like(input)
        noted = [torch.zeros_like(output, dtype=kind) for kind in places]
        grad, named = torch.randn_like(output), {"spatial_scale": 1 / 8, **settings}

        def work() -> None:
            getattr(ext, f"{name}_forward")(input, rois, output, *noted, **named)
            getattr(ext, f"{name}_backward")(grad, rois, *noted, buffer, **named)

        return work

    return make


def modulated_deform_conv(ext: Any) -> Work:
    """Bench 64 channels of 64 × 64 cells, two images."""
    input, offset = torch.randn(2, 64, 64, 64), torch.randn(2, 18, 64, 64)
    weight, mask, bias = torch.randn(64, 64, 3, 3), torch.rand(2, 9, 64, 64), torch.randn(64)
    output, grad = torch.zeros_like(input), torch.randn_like(input)
    buffers = [torch.zeros_like(each) for each in (input, weight, bias, offset, mask)]
    settings: dict[str, Any] = dict.fromkeys(("stride_h", "stride_w", "pad_h", "pad_w"), 1)
    settings |= dict.fromkeys(("dilation_h", "dilation_w", "group", "deformable_group"), 1)
    settings |= {"kernel_h": 3, "kernel_w": 3, "with_bias": True}

    def work() -> None:
        given = (input, weight, bias, torch.zeros(0), offset, mask)
        ext.modulated_deform_conv_forward(*given, output, torch.zeros(0), **settings)
        ext.modulated_deform_conv_backward(*given, torch.zeros(0), *buffers, grad, **settings)

    return work


def nms(count: int, classes: int) -> Bench:
    """Bench boxes whose classes are apart from each other, as `mmcv.ops.batched_nms` moves them."""

    def make(ext: Any) -> Work:
        own = (torch.arange(count) % classes)[:, None] * 1334.0
        given = boxes(count) + own, torch.rand(count)
        return lambda: ext.nms(*given, iou_threshold=0.5, offset=0)

    return make


def nms_rotated(ext: Any) -> Work:
    """Bench 1,000 rotated boxes."""
    turned, scores, none = rotated(1000), torch.rand(1000), torch.zeros(0)
    return lambda: ext.nms_rotated(turned, scores, none, turned, none, 0.5, False)


def box_iou_rotated(ext: Any) -> Work:
    """Bench 500 rotated boxes with 1,000 others."""
    one, other, ious = rotated(500), rotated(1000), torch.zeros(500 * 1000)
    return lambda: ext.box_iou_rotated(one, other, ious, mode_flag=0, aligned=False)


def softnms(count: int) -> Bench:
    """Bench boxes whose scores are lowered linearly."""

    def make(ext: Any) -> Work:
        given, dets = (boxes(count), torch.rand(count)), torch.zeros(count, 5)
        named = {"iou_threshold": 0.3, "sigma": 0.5, "min_score": 1e-3, "method": 1, "offset": 0}
        return lambda: ext.softnms(*given, dets, **named)

    return make


def psamask(ext: Any) -> Work:
    """Bench masks of 29 × 29 on 15 × 15 cells: the compiled kernel takes 8 s for four times as many of each."""
    input, output = torch.randn(2, 29 * 29, 15, 15), torch.zeros(2, 225, 15, 15)
    grad, buffer = torch.randn_like(output), torch.zeros_like(input)
    named = {"psa_type": 0, "num_": 2, "h_feature": 15, "w_feature": 15, "h_mask": 29}
    named |= {"w_mask": 29, "half_h_mask": 14, "half_w_mask": 14}

    def work() -> None:
        ext.psamask_forward(input, output, **named)
        ext.psamask_backward(grad, buffer, **named)

    return work


def carafe(ext: Any) -> Work:
    """Bench 256 channels of 50 × 84 cells, twice as large, kernels of 5 × 5."""
    features, masks = torch.randn(1, 256, 50, 84), torch.rand(1, 25, 100, 168)
    output, grad = torch.zeros(1, 256, 100, 168), torch.randn(1, 256, 100, 168)
    buffers = [torch.zeros_like(features), torch.zeros_like(masks)]
    named = {"kernel_size": 5, "group_size": 1, "scale_factor": 2}

    def work() -> None:
        ext.carafe_naive_forward(features, masks, output, **named)
        ext.carafe_naive_backward(grad, features, masks, *buffers, **named)

    return work


def ms_deform_attn(ext: Any) -> Work:
    """Bench 300 queries of 8 heads × 32 channels on four maps of an image of 1333 × 800, as in a decoder."""
    shapes = torch.tensor([[100, 167], [50, 84], [25, 42], [13, 21]])
    sizes = shapes.prod(1)
    value = torch.randn(2, int(sizes.sum()), 8, 32)
    locations, weights = torch.rand(2, 300, 8, 4, 4, 2), torch.rand(2, 300, 8, 4, 4)
    given = (value, shapes, sizes.cumsum(0) - sizes, locations, weights)
    buffers = [torch.zeros_like(each) for each in (value, locations, weights)]
    grad = torch.randn(2, 300, 256)

    def work() -> None:
        ext.ms_deform_attn_forward(*given, im2col_step=64)
        ext.ms_deform_attn_backward(*given, grad, *buffers, im2col_step=64)

    return work


def sigmoid_focal_loss(ext: Any) -> Work:
    """Bench 20,000 places × 80 classes."""
    logits, labels = torch.randn(20_000, 80), torch.randint(0, 81, (20_000,))
    output, grad, none = torch.zeros_like(logits), torch.zeros_like(logits), torch.zeros(0)

    def work() -> None:
        ext.sigmoid_focal_loss_forward(logits, labels, none, output, gamma=2.0, alpha=0.25)
        ext.sigmoid_focal_loss_backward(logits, labels, none, grad, gamma=2.0, alpha=0.25)

    return work


ALIGNED = {"aligned_height": 7, "aligned_width": 7, "aligned": True}
POOLED = {"pooled_height": 7, "pooled_width": 7}
TURNED = {**POOLED, "aligned": True, "clockwise": True}
SCENARIOS: dict[str, tuple[str, Bench]] = {
    "roi_align": (
        "RoIAlign, 512 regions × 256 channels",
        regions("roi_align", boxes, [torch.float32] * 2, sampling_ratio=0, pool_mode=1, **ALIGNED),
    ),
    "roi_pool": (
        "RoIPool, 512 regions × 256 channels",
        regions("roi_pool", boxes, [torch.int32], **POOLED),
    ),
    "roi_align_rotated": (
        "RoIAlignRotated, 512 regions × 256 channels, two samples a side",
        regions("roi_align_rotated", rotated, [], sampling_ratio=2, **TURNED),
    ),
    "roi_align_rotated_0": (
        "RoIAlignRotated, 512 regions × 256 channels, a sample for each cell",
        regions("roi_align_rotated", rotated, [], sampling_ratio=0, **TURNED),
    ),
    "dcn": ("DCNv2, 2 × 64 × 64 × 64", modulated_deform_conv),
    "ms_deform_attn": ("Multi-scale deformable attention, 300 queries", ms_deform_attn),
    "carafe": ("CARAFE, 256 channels of 50 × 84, twice as large", carafe),
    "psamask": ("PSAMask, 29 × 29 on 15 × 15", psamask),
    "sigmoid_focal_loss": ("Sigmoid focal loss, 20,000 × 80", sigmoid_focal_loss),
    "nms_2000": ("NMS, 2,000 boxes", nms(2000, 1)),
    "nms_2000_80": ("NMS, 2,000 boxes of 80 classes", nms(2000, 80)),
    "nms_20000": ("NMS, 20,000 boxes", nms(20_000, 1)),
    "nms_20000_80": ("NMS, 20,000 boxes of 80 classes", nms(20_000, 80)),
    "softnms": ("Soft-NMS, 500 boxes", softnms(500)),
    "softnms_2000": ("Soft-NMS, 2,000 boxes", softnms(2000)),
    "nms_rotated": ("Rotated NMS, 1,000 boxes", nms_rotated),
    "box_iou_rotated": ("IoU of 500 × 1,000 rotated boxes", box_iou_rotated),
    **operators_3d.SCENARIOS,
}
"""Option → title and what makes a turn: forward and backward, where there is one."""

ON_CUDA = ("roi_pool", "ms_deform_attn", "carafe", "sigmoid_focal_loss")
"""MMCV 2.1.0 has no kernel of these for a CPU, where ours stand alone."""

OTHERS = {
    name.replace(" ", "_"): (f"{name}, forward and backward where there is one", call)
    for name, (call, _) in oracle.CALLS.items()
    if name not in (*SCENARIOS, "modulated_deform_conv", "nms")
}
"""Option → title and call, of the operators that are compared with compiled MMCV's, at the sizes of that comparison."""


class Timed:
    """Functions of ``mmcv._ext`` whose times are added up: what the comparison does around them is not counted."""

    def __init__(self, table: Any) -> None:
        self.table = table
        self.sample = Sample(wall=0.0, cpu=0.0)

    def __getattr__(self, name: str) -> Work:
        function = getattr(self.table, name)

        def run(*args: Any, **kwargs: Any) -> Any:
            results: list[Any] = []
            one = timed(lambda: results.append(function(*args, **kwargs)), 1)
            wall, cpu = self.sample.wall + one.wall, self.sample.cpu + one.cpu
            self.sample = Sample(wall=wall, cpu=cpu)
            return results[0]

        return run


def compiled() -> Any:
    """Return compiled MMCV's functions, or None."""
    if importlib.util.find_spec("mmcv") is None:
        return None
    try:
        return importlib.import_module("mmcv._ext")
    except ImportError:  # mmcv-lite, or built for another torch
        return None


def scenario(name: str, quick: bool = False) -> Scenario:
    """Return the table of one operator: what the functions of ``mmcv._ext`` take, called as MMCV does."""
    if name in OTHERS:
        title, call = OTHERS[name]
        run: Callable[..., Sample] = functools.partial(of_calls, call)
    else:
        title, bench = SCENARIOS[name]
        run = functools.partial(measure, bench, times=1 if quick else 3)
    theirs = None if name in {*ON_CUDA, *operators_3d.WITHOUT_CPU} else compiled()
    tables = {"MMCV, compiled": theirs, "mm2pl": SimpleNamespace(**FUNCTIONS)}
    rows: dict[str, Run] = {
        label: functools.partial(run, table) for label, table in tables.items() if table is not None
    }
    return Scenario(title=title, unit="ms", scale=1e3, rows=rows)


def measure(bench: Bench, table: Any, times: int) -> Sample:
    """Return what one of ``times`` turns takes, without making its inputs."""
    torch.manual_seed(0)
    return timed(bench(table), times)


def of_calls(call: oracle.Call, table: Any) -> Sample:
    """Return what the functions of a table take in a call of the comparison with compiled MMCV."""
    functions = Timed(table)
    call(functions, oracle.Given(True, torch.float32))
    return functions.sample
