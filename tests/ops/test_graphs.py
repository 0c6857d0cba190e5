"""Which operators go into one graph, and which have second gradients: the table of mm2pl/ops/README.md, measured."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from mm2pl import ops
from mm2pl.ops.ext import FUNCTIONS
from tests.ops import calls

README = Path(__file__).parents[2] / "mm2pl" / "ops" / "README.md"
ROIS = torch.tensor([[0, 1, 1, 5, 4.0], [0, 2, 1, 6, 5]])
TURNED = torch.tensor([[0, 3, 3, 4, 2, 0.3]])
CURVES = torch.cat([torch.zeros(1, 1), torch.arange(16.0)[None] / 4], 1)
TURNS = torch.stack([torch.arange(72).roll(9 * k) for k in range(8)], 1).view(8, 3, 3, 8).int() + 1
SHAPES = torch.tensor([[2, 3], [1, 2]])
SQUARE = torch.tensor([[0.0, 0, 1, 0, 1, 1, 0, 1]])
MAP = (1, 8, 6, 7)
Call = tuple[Callable[[Tensor], Tensor], tuple[int, ...]]

CALLS: dict[str, Call] = {
    "active_rotated_filter": (lambda x: ops.active_rotated_filter(x, TURNS), (2, 2, 8, 3, 3)),
    "bezier_align": (lambda x: ops.bezier_align(x, CURVES, 2, 1.0, 2), MAP),
    "border_align": (lambda x: ops.border_align(x, ROIS[None, :, 1:], 3), MAP),
    "box_iou_quadri": (lambda x: ops.box_iou_quadri(x, SQUARE), (2, 8)),
    "box_iou_rotated": (lambda x: ops.box_iou_rotated(x * 3 + 1, TURNED[:, 1:]), (2, 5)),
    "carafe": (lambda x: ops.carafe(x, x.mean() * torch.ones(1, 9, 12, 14), 3, 1, 2), MAP),
    "chamfer_distance": (lambda x: ops.chamfer_distance(x, torch.ones(1, 3, 2))[0], (1, 4, 2)),
    "convex_giou": (lambda x: ops.convex_giou(x, SQUARE), (1, 18)),
    "convex_iou": (lambda x: ops.convex_iou(x, SQUARE), (1, 18)),
    "deform_conv2d": (
        lambda x: ops.deform_conv2d(
            x,
            x[:, :1].expand(1, 18, 6, 7),
            torch.ones(2, 8, 3, 3),
            x[:, :1].expand(1, 9, 6, 7),
            padding=1,
        ),
        MAP,
    ),
    "deform_roi_pool": (lambda x: ops.deform_roi_pool(x, ROIS, None, 2, 1.0, 2), MAP),
    "min_area_polygons": (ops.min_area_polygons, (1, 18)),
    "ms_deform_attn": (
        lambda x: ops.ms_deform_attn(
            x,
            SHAPES,
            x.mean() * torch.ones(1, 4, 2, 2, 3, 2),
            x.mean() * torch.ones(1, 4, 2, 2, 3),
        ),
        (1, 8, 2, 3),
    ),
    "nms": (lambda x: ops.nms(x, x[:, 0], 0.5), (3, 4)),
    "nms_match": (lambda x: torch.tensor(ops.nms_match(x, 0.0)), (3, 5)),
    "nms_quadri": (lambda x: ops.nms_quadri(x, x[:, 0], 0.5), (3, 8)),
    "nms_rotated": (lambda x: ops.nms_rotated(x, x[:, 0], 0.5), (3, 5)),
    "points_in_polygons": (lambda x: ops.points_in_polygons(x, SQUARE), (3, 2)),
    "prroi_pool": (lambda x: ops.prroi_pool(x, ROIS, 2), MAP),
    "psa_mask": (lambda x: ops.psa_mask(x, 0, (2, 4)), MAP),
    "riroi_align_rotated": (lambda x: ops.riroi_align_rotated(x, TURNED, 2, 1.0, 2), MAP),
    "roi_align": (lambda x: ops.roi_align(x, ROIS, 2, 1.0, 2), MAP),
    "roi_align, sampling_ratio=0": (lambda x: ops.roi_align(x, ROIS, 2, 1.0, 0), MAP),
    "roi_align_rotated": (lambda x: ops.roi_align_rotated(x, TURNED, 2, 1.0, 2), MAP),
    "roi_pool": (lambda x: ops.roi_pool(x, ROIS, 2), MAP),
    "rotated_feature_align": (
        lambda x: ops.rotated_feature_align(x, torch.ones(1, 6, 7, 5)),
        MAP,
    ),
    "sigmoid_focal_loss": (lambda x: ops.sigmoid_focal_loss(x, torch.tensor([0, 3])), (2, 3)),
    "soft_nms": (lambda x: ops.soft_nms(x, x[:, 0], 0.5)[0], (3, 4)),
    "softmax_focal_loss": (lambda x: ops.softmax_focal_loss(x, torch.tensor([0, 2])), (2, 3)),
    "tin_shift": (lambda x: ops.tin_shift(x, torch.ones(1, 2).int()), (1, 3, 4, 2)),
}
CALLS |= calls.CALLS
ON_HOST = {"contour_expand", "pixel_group"}
"""They take arrays of numbers and return lists."""
COLUMNS = ("compile", "export", "twice", "onnx")


class Module(torch.nn.Module):
    def __init__(self, call: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.call = call

    def forward(self, x: Tensor) -> Tensor:
        return self.call(x)


def compiles(call: Callable[[Tensor], Tensor], x: Tensor) -> bool:
    torch._dynamo.reset()
    return torch.equal(torch.compile(call, fullgraph=True, backend="eager")(x), call(x))


def exports(call: Callable[[Tensor], Tensor], x: Tensor) -> bool:
    return torch.equal(torch.export.export(Module(call), (x,)).module()(x), call(x))


def exports_to_onnx(call: Callable[[Tensor], Tensor], x: Tensor) -> bool:
    import onnxruntime

    file, wanted = io.BytesIO(), call(x)
    program = torch.onnx.export(Module(call), (x,), dynamo=True, verbose=False)
    assert program is not None
    program.save(file)
    session = onnxruntime.InferenceSession(file.getvalue())
    (found,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    return torch.allclose(torch.from_numpy(found), wanted, rtol=0, atol=1e-5)


def is_differentiated_twice(call: Callable[[Tensor], Tensor], x: Tensor) -> bool:
    x = x.clone().requires_grad_()
    (grad,) = torch.autograd.grad(call(x).square().sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(grad.square().sum(), x)
    return bool(second.any()) and bool(second.isfinite().all())


QUESTIONS = dict(
    zip(COLUMNS, (compiles, exports, is_differentiated_twice, exports_to_onnx), strict=True)
)


def answer(name: str, column: str) -> str:
    """Ask one question of one operator."""
    call, shape = CALLS[name]
    torch.manual_seed(0)
    try:
        return "yes" if QUESTIONS[column](call, torch.rand(shape)) else "no"
    except Exception:  # torch has many kinds for what it cannot trace
        return "no"


def table() -> dict[str, list[str]]:
    """Return operator → answers, as the README has them."""
    rows = re.findall(r"^\| `(\w+)`([^|]*)\|(.*)\|$", README.read_text(), re.MULTILINE)
    return {
        name + more.rstrip().replace("`", ""): [cell.strip() for cell in cells.split("|")]
        for name, more, cells in rows
    }


def test_every_operator_has_a_row() -> None:
    assert set(table()) == set(CALLS) | ON_HOST
    assert {name.partition(",")[0] for name in table()} == set(ops.__all__)


LONG = ("convex_giou", "convex_iou", "min_area_polygons")
"""Those whose graphs take 40 seconds to be made: `tox -e ecosystem` asks of them."""


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=pytest.mark.ecosystem) if n in LONG else n for n in CALLS],
)
def test_what_the_readme_says(name: str) -> None:
    assert [answer(name, column) for column in COLUMNS[:3]] == table()[name][:3]


@pytest.mark.ecosystem
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # the exporter's own
@pytest.mark.parametrize("name", CALLS)
def test_onnx_as_the_readme_says(name: str) -> None:
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    assert answer(name, "onnx") == table()[name][3]


class Node(torch.autograd.Function):
    """An operator as MMCV's files have them."""

    @staticmethod
    def symbolic(graph: Any, input: Any, rois: Any) -> Any:
        return graph.op("mmcv::OneNode", input, rois)

    @staticmethod
    def forward(ctx: Any, input: Tensor, rois: Tensor) -> Tensor:
        output = input.new_zeros(rois.shape[0], input.shape[1], 2, 2)
        settings = {"pooled_height": 2, "pooled_width": 2, "spatial_scale": 1.0}
        settings |= {"sampling_ratio": 0, "aligned": True, "clockwise": False}
        FUNCTIONS["roi_align_rotated_forward"](input, rois, output, **settings)
        return output


@pytest.mark.filterwarnings("ignore:.*torch.jit.trace:DeprecationWarning")
def test_a_trace_does_not_see_steps_of_a_node_of_mmcvs() -> None:
    seen = Module(lambda x: Node.apply(x, TURNED))
    steps = str(torch.jit.trace(seen, (torch.rand(MAP),), check_trace=False).inlined_graph)
    assert "^Node" in steps
    assert "aten::embedding_bag" not in steps


@pytest.mark.ecosystem
@pytest.mark.filterwarnings("ignore")
def test_a_node_of_mmcvs_stays_one_in_onnx() -> None:
    pytest.importorskip("onnx")
    file, seen = io.BytesIO(), Module(lambda x: Node.apply(x, TURNED))
    torch.onnx.export(seen, (torch.rand(MAP),), file, dynamo=False, custom_opsets={"mmcv": 1})
    assert b"OneNode" in file.getvalue()
