"""`mmcv.ops` of mmcv-lite, for generation and in space: each function and layer runs, forward and backward."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from mm2pl import ops
from tests.ecosystem import test_operators

pytestmark = test_operators.pytestmark
mmcv_ops = test_operators.mmcv_ops
SIZES, LIMITS = [0.25, 0.25, 0.5], [0.0, 0, 0, 1, 1, 1]
COUNTS = torch.tensor([8, 8], dtype=torch.int)


def boxes(x: Tensor) -> Tensor:
    """Return boxes around some points, ``(2, 4, 7)``."""
    return torch.cat([x[:, :4, :3].detach() - 0.3, torch.full((2, 4, 3), 0.6), x[:, :4, :1]], 2)


def sparse(o: Any, x: Tensor, *layers: Callable[[Any], Any]) -> Tensor:
    """Run layers on a sparse tensor of cells (0, k, k % 4, k % 3) of two samples."""
    k = torch.arange(8)
    cells = [torch.stack([k * 0 + b, k, k % 4, k % 3], 1) for b in (0, 1)]
    tensor = o.SparseConvTensor(x.flatten(0, 1), torch.cat(cells).int(), [8, 4, 3], 2)
    for layer in layers:
        tensor = layer(tensor)
    result: Tensor = tensor.dense()
    return result


def rows(x: Tensor) -> Tensor:
    return x.transpose(1, 2).contiguous()


OF_POINTS: dict[str, Callable[[Any, Tensor], Tensor]] = {
    "assign_score_withk": lambda o, x: o.assign_score_withk(
        x[:, :2, :, None].expand(-1, -1, -1, 3),
        x[..., None].expand(-1, -1, -1, 3).transpose(2, 3),
        x[:, :, None].expand(-1, -1, 3, -1) * 2,
        torch.arange(20).view(1, 2, 10).expand(2, -1, -1)[..., :5] % 8,
    ),
    "dynamic_scatter, max": lambda o, x: o.DynamicScatter(SIZES, LIMITS, False)(
        x[0], torch.arange(24).view(8, 3).int() % 2
    )[0],
    "dynamic_scatter, mean": lambda o, x: o.DynamicScatter(SIZES, LIMITS, True)(
        x.flatten(0, 1), torch.cat([torch.arange(16)[:, None] // 8, torch.ones(16, 3)], 1).int()
    )[0],
    "gather_points": lambda o, x: o.gather_points(rows(x), torch.zeros(2, 3).int()),
    "grouping_operation": lambda o, x: o.grouping_operation(rows(x), torch.ones(2, 3, 2).int()),
    "grouping_operation, stacked": lambda o, x: o.grouping_operation(
        x.flatten(0, 1), torch.ones(4, 2).int(), COUNTS, COUNTS // 4
    ),
    "query_and_group": lambda o, x: o.QueryAndGroup(0.5, 4)(
        x[..., :3].contiguous(), x[:, :2, :3].contiguous(), rows(x)
    ),
    "query_and_group, knn": lambda o, x: o.QueryAndGroup(None, 4)(
        x[..., :3].contiguous(), x[:, :2, :3].contiguous(), rows(x)
    ),
    "roiaware_pool3d": lambda o, x: o.RoIAwarePool3d(2)(boxes(x)[0], x[0, :, :3].detach(), x[0]),
    "roiaware_pool3d, avg": lambda o, x: o.RoIAwarePool3d((2, 1, 2), mode="avg")(
        boxes(x)[0], x[0, :, :3].detach(), x[0]
    ),
    "three_interpolate": lambda o, x: o.three_interpolate(
        rows(x), o.three_nn(x[:, :3, :3].detach(), x[..., :3].detach())[1], torch.ones(2, 3, 3)
    ),
    "sparse_conv": lambda o, x: sparse(
        o,
        x,
        o.SubMConv3d(5, 6, 3, indice_key="a"),
        o.SubMConv3d(6, 6, 3, indice_key="a"),
        o.SparseConv3d(6, 4, 3, 2, 1, indice_key="b"),
        o.SparseInverseConv3d(4, 3, 3, "b"),
    ),
    "sparse_conv_transpose": lambda o, x: sparse(o, x, o.SparseConvTranspose3d(5, 2, 3, 2)),
    "sparse_max_pool": lambda o, x: sparse(o, x, o.SparseMaxPool3d(2, 2)),
}


@pytest.mark.parametrize("name", OF_POINTS)
def test_of_points(mmcv_ops: Any, name: str) -> None:
    torch.manual_seed(0)
    x = torch.rand(2, 8, 5, requires_grad=True)
    out = OF_POINTS[name](mmcv_ops, x)
    (grad,) = torch.autograd.grad(out.sum(), x)
    assert out.isfinite().all()
    assert grad.isfinite().all()
    assert grad.any()


OF_MAPS: dict[str, Callable[[Any, Tensor], Tensor]] = {
    "bias_act": lambda o, x: o.bias_act(x, x[0, :, 0, 0], act="lrelu", clamp=1),
    "correlation": lambda o, x: o.Correlation(3, 2, padding=1)(x, x),
    "filtered_lrelu": lambda o, x: o.filtered_lrelu(
        x, torch.ones(4), torch.ones(4), x[0, :, 0, 0], up=2, down=2, padding=[3, 3]
    ),
    "fused_bias_leakyrelu": lambda o, x: o.FusedBiasLeakyReLU(4)(x),
    "upfirdn2d": lambda o, x: o.upfirdn2d(x, torch.ones(4, 4), 2, 1, [2, 1], False, 4, False),
    "upsample2d": lambda o, x: o.upsample2d(x, torch.ones(4)),
    "filter2d": lambda o, x: o.filter2d(x, torch.ones(3)),
}


@pytest.mark.parametrize("name", OF_MAPS)
def test_of_maps(mmcv_ops: Any, name: str) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 4, 6, 7, requires_grad=True)
    out = OF_MAPS[name](mmcv_ops, x)
    (grad,) = torch.autograd.grad(out.square().sum(), x, create_graph=True)
    assert out.isfinite().all()
    assert grad.any()
    grad.square().sum().backward()  # a penalty on gradients, as StyleGAN2 has
    assert x.grad is not None
    assert x.grad.any()


@pytest.mark.filterwarnings("ignore:Since aten")  # MMCV's file, of torch 1.10 and later
def test_filters_are_those_of_the_files(mmcv_ops: Any) -> None:
    """Compare with what the files of MMCV have in plain PyTorch for a CPU."""
    torch.manual_seed(0)
    x, bias, filter = torch.randn(2, 4, 6, 7), torch.randn(4), torch.rand(4, 4)
    files = {name: sys.modules[f"mmcv.ops.{name}"] for name in ("upfirdn2d", "bias_act")}
    sides = {"up": 2, "padding": [2, 1, 2, 1], "gain": 4}
    theirs = files["upfirdn2d"]._upfirdn2d_ref(x, filter, **sides)
    assert torch.allclose(mmcv_ops.upfirdn2d(x, filter, **sides), theirs, rtol=1e-5, atol=1e-5)
    for act in files["bias_act"].activation_funcs:
        theirs = files["bias_act"]._bias_act_ref(x, bias, act=act, clamp=1)
        assert torch.allclose(mmcv_ops.bias_act(x, bias, act=act, clamp=1), theirs, atol=1e-6)


INDICES: dict[str, Callable[[Any, Tensor], Any]] = {
    "ball_query": lambda o, x: o.ball_query(0.0, 0.5, 4, x, x[:, :2].contiguous()),
    "ball_query, stacked": lambda o, x: o.ball_query(
        0.0, 0.5, 4, x.flatten(0, 1), x[:, :4].flatten(0, 1), COUNTS, COUNTS // 2
    ),
    "boxes_iou3d": lambda o, x: o.boxes_iou3d(boxes(x)[0], boxes(x)[1]),
    "furthest_point_sample": lambda o, x: o.furthest_point_sample(x, 3),
    "knn": lambda o, x: o.knn(3, rows(x), rows(x)[..., :2], True),
    "nms3d": lambda o, x: o.nms3d(boxes(x)[0], x[0, :4, 0].contiguous(), 0.3),
    "nms3d_normal": lambda o, x: o.nms3d_normal(boxes(x)[0], x[0, :4, 0].contiguous(), 0.3),
    "points_in_boxes_all": lambda o, x: o.points_in_boxes_all(x, boxes(x)),
    "points_in_boxes_cpu": lambda o, x: o.points_in_boxes_cpu(x, boxes(x)),
    "points_in_boxes_part": lambda o, x: o.points_in_boxes_part(x, boxes(x)),
    "points_sampler": lambda o, x: o.PointsSampler([3], ["FS"])(x, rows(x)),
    "roipoint_pool3d": lambda o, x: o.RoIPointPool3d(4)(x, x, boxes(x))[0],
    "voxelize": lambda o, x: o.Voxelization(SIZES, LIMITS, 3, 9)(x[0])[0],
    "voxelize, dynamic": lambda o, x: o.Voxelization(SIZES, LIMITS, -1)(x[0]),
}


@pytest.mark.parametrize("name", INDICES)
def test_of_indices(mmcv_ops: Any, name: str) -> None:
    torch.manual_seed(0)
    assert INDICES[name](mmcv_ops, torch.rand(2, 8, 3)).any()


def test_the_ways_are_one(mmcv_ops: Any) -> None:
    torch.manual_seed(0)
    x = torch.rand(2, 8, 3)
    inside = mmcv_ops.points_in_boxes_cpu(x, boxes(x))
    assert torch.equal(inside, mmcv_ops.points_in_boxes_all(x, boxes(x)))
    index = mmcv_ops.knn(3, x, x[:, :2].contiguous(), False)
    assert torch.equal(index, ops.knn(x, x[:, :2], 3)[0].transpose(1, 2))
