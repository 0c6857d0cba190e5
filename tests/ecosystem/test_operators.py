"""`mmcv.ops` as it is in mmcv-lite, on our operators: each function and layer runs, forward and backward."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from mm2pl.compat import alias_mmengine
from tests.processes import ROOT, torchrun

pytestmark = [
    pytest.mark.ecosystem,
    pytest.mark.skipif(importlib.util.find_spec("mmcv") is None, reason="needs mmcv-lite"),
]
HERE = Path(__file__).parent
ROIS = torch.tensor([[0, 1, 1, 9, 8.0], [1, 2, 3, 6, 9]])
TURNED = torch.tensor([[0, 5, 5, 6, 3, 0.3], [1, 6, 6, 8, 4, -0.7]])
TURNS = torch.stack([torch.arange(72).roll(9 * k) for k in range(8)], 1).view(8, 3, 3, 8).int() + 1


@pytest.fixture(scope="module")
def mmcv_ops() -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MM2PL_MMCV_EXT", "mm2pl")
        with alias_mmengine():
            yield importlib.import_module("mmcv.ops")


MAPS: dict[str, Callable[[Any, Tensor], Tensor]] = {
    "active_rotated_filter": lambda o, x: o.active_rotated_filter(
        x[:, :, :9].reshape(2, 8, 9, -1)[..., :8].transpose(2, 3).unflatten(3, (3, 3)), TURNS
    ),
    "bezier_align": lambda o, x: o.BezierAlign((3, 4), 0.5, 2)(x, torch.ones(2, 17)),
    "border_align": lambda o, x: o.BorderAlign(4)(x, ROIS[:, None, 1:]),
    "carafe": lambda o, x: o.CARAFEPack(8, 2)(x),
    "deform_conv": lambda o, x: o.DeformConv2dPack(8, 4, 3, padding=1)(x),
    "deform_roi_pool": lambda o, x: o.DeformRoIPoolPack((3, 3), 8, spatial_scale=0.5)(x, ROIS),
    "modulated_deform_conv": lambda o, x: o.ModulatedDeformConv2dPack(8, 4, 3, padding=1)(x),
    "prroi_pool": lambda o, x: o.PrRoIPool(3, 0.5)(x, ROIS),
    "psa_mask": lambda o, x: o.PSAMask("collect", (2, 4))(x),
    "riroi_align_rotated": lambda o, x: o.RiRoIAlignRotated(3, 0.5, 0, 8)(x, TURNED),
    "roi_align": lambda o, x: o.RoIAlign(3, 0.5, 0)(x, ROIS),
    "roi_align_rotated": lambda o, x: o.RoIAlignRotated(3, 0.5, 0)(x, TURNED),
    "roi_pool": lambda o, x: o.RoIPool(3, 0.5)(x, ROIS),
    "rotated_feature_align": lambda o, x: o.rotated_feature_align(x, torch.ones(2, 12, 14, 5)),
    "saconv": lambda o, x: o.SAConv2d(8, 4, 3, padding=1, use_deform=True)(x),
    "sigmoid_focal_loss": lambda o, x: o.SigmoidFocalLoss(2, 0.25)(
        x.flatten(1)[:, :3], torch.tensor([0, 3])
    ),
    "softmax_focal_loss": lambda o, x: o.SoftmaxFocalLoss(2, 0.25)(
        x.flatten(1)[:, :3], torch.tensor([0, 2])
    ),
    "tin_shift": lambda o, x: o.TINShift()(x.flatten(2)[..., None], torch.ones(2, 1).int()),
}


@pytest.mark.parametrize("name", MAPS)
def test_of_a_map(mmcv_ops: Any, name: str) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 8, 12, 14, requires_grad=True)
    out = MAPS[name](mmcv_ops, x)
    (grad,) = torch.autograd.grad(out.sum(), x)
    assert out.isfinite().all()
    assert grad.isfinite().all()
    assert grad.any()


BOXES: dict[str, Callable[[Any], Any]] = {
    "batched_nms": lambda o: o.batched_nms(
        ROIS[:, 1:], torch.rand(2), torch.arange(2), {"type": "nms", "iou_threshold": 0.5}
    )[1],
    "box_iou_quadri": lambda o: o.box_iou_quadri(torch.rand(3, 8), torch.rand(2, 8)),
    "box_iou_rotated": lambda o: o.box_iou_rotated(TURNED[:, 1:], TURNED[:, 1:]),
    "chamfer_distance": lambda o: o.chamfer_distance(torch.rand(2, 5, 2), torch.rand(2, 6, 2))[0],
    "contour_expand": lambda o: o.contour_expand(
        torch.ones(2, 5, 5, dtype=torch.uint8), torch.eye(5).int(), 0, 1
    ),
    "convex_giou": lambda o: o.convex_giou(torch.rand(3, 18), torch.rand(3, 8))[1],
    "convex_iou": lambda o: o.convex_iou(torch.rand(3, 18), torch.rand(2, 8)),
    "min_area_polygons": lambda o: o.min_area_polygons(torch.rand(3, 18)),
    "nms_match": lambda o: o.nms_match(torch.cat([ROIS[:, 1:], torch.rand(2, 1)], 1), 0.5),
    "nms_quadri": lambda o: o.nms_quadri(torch.rand(3, 8), torch.rand(3), 0.3)[1],
    "nms_rotated": lambda o: o.nms_rotated(
        TURNED[:, 1:], torch.rand(2), 0.3, torch.arange(2), clockwise=False
    )[1],
    "pixel_group": lambda o: o.pixel_group(
        torch.rand(5, 5),
        torch.rand(5, 5) > 0.5,
        torch.rand(5, 5, 4),
        torch.eye(5).int(),
        torch.ones(5, 5, dtype=torch.uint8),
        2,
        0.7,
    ),
    "points_in_polygons": lambda o: o.points_in_polygons(torch.rand(3, 2), torch.rand(2, 8)),
    "soft_nms": lambda o: o.soft_nms(ROIS[:, 1:], torch.rand(2))[1],
}


@pytest.mark.parametrize("name", BOXES)
def test_of_boxes(mmcv_ops: Any, name: str) -> None:
    assert len(BOXES[name](mmcv_ops)) > 0


def test_the_differentiable_iou_is_the_other_one(mmcv_ops: Any) -> None:
    one = TURNED[None, :, 1:].clone().requires_grad_()
    other = torch.cat([TURNED[None, :1, 1:], TURNED[None, 1:, 1:] + 0.3], 1)
    ious = mmcv_ops.diff_iou_rotated_2d(one, other)
    assert torch.allclose(
        ious[0], mmcv_ops.box_iou_rotated(one[0], other[0], aligned=True), atol=1e-5
    )
    ious.sum().backward()
    assert one.grad is not None
    assert one.grad.any()


@pytest.mark.parametrize("kinds", [("float32", "float16"), ("float64",)], ids=["both", "double"])
def test_two_processes_normalise_one_batch(kinds: tuple[str, ...]) -> None:
    path = os.pathsep.join([str(HERE / "site"), ROOT, os.environ.get("PYTHONPATH", "")])
    done = torchrun(HERE / "sync_bn.py", *kinds, PYTHONPATH=path, MM2PL_MMCV_EXT="mm2pl")
    refused = "only support Half or Float Tensor, but torch.DoubleTensor"  # by MMCV's file itself
    assert (done.returncode == 0) == (len(kinds) == 2), done.stderr[-3000:]
    assert (refused in done.stderr) == (len(kinds) == 1)
