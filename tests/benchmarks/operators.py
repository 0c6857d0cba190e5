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


def roi_align(ext: Any) -> Work:
    """Bench 512 regions × 256 channels of a map of 1/8."""
    input, rois = torch.randn(2, 256, 100, 168), boxes(512)
    rois = torch.cat([(torch.arange(512) % 2)[:, None].float(), rois], 1)
    output, buffer = torch.zeros(512, 256, 7, 7), torch.zeros_like(input)
    grad, none = torch.randn_like(output), torch.zeros(0)
    settings = {"aligned_height": 7, "aligned_width": 7, "spatial_scale": 1 / 8}
    settings |= {"sampling_ratio": 0, "pool_mode": 1, "aligned": True}

    def work() -> None:
        ext.roi_align_forward(input, rois, output, none, none, **settings)
        ext.roi_align_backward(grad, rois, none, none, buffer, **settings)

    return work


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
    upright = boxes(1000)
    centre, size = (upright[:, :2] + upright[:, 2:]) / 2, upright[:, 2:] - upright[:, :2]
    turned = torch.cat([centre, size, torch.rand(1000, 1)], 1)
    scores, none = torch.rand(1000), torch.zeros(0)
    return lambda: ext.nms_rotated(turned, scores, none, turned, none, 0.5, False)


SCENARIOS: dict[str, tuple[str, Bench]] = {
    "roi_align": ("RoIAlign, 512 regions × 256 channels, forward and backward", roi_align),
    "dcn": ("DCNv2, 2 × 64 × 64 × 64, forward and backward", modulated_deform_conv),
    "nms_2000": ("NMS, 2,000 boxes", nms(2000, 1)),
    "nms_20000": ("NMS, 20,000 boxes", nms(20_000, 1)),
    "nms_20000_80": ("NMS, 20,000 boxes of 80 classes", nms(20_000, 80)),
    "nms_rotated": ("Rotated NMS, 1,000 boxes", nms_rotated),
    **operators_3d.SCENARIOS,
}
"""Option → title and what makes a turn."""

OTHERS = {
    name.replace(" ", "_"): (f"{name}, forward and backward where there is one", call)
    for name, (call, _) in oracle.CALLS.items()
    if name not in ("roi_align", "modulated_deform_conv", "nms", "nms_rotated")
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
    theirs = None if name in operators_3d.WITHOUT_CPU else compiled()
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
