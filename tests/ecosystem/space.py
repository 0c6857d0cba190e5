"""Released detectors of MMDetection3D on made scenes in a small range."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tests.ecosystem.networks import Made, descending

LIMITS = [0, -6.4, -3, 12.8, 6.4, 1]


def scene(indoor: bool, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return boxes on the ground of a room or a street, and points: 100 in each box, then 500 anywhere."""
    low, high = torch.tensor(LIMITS[:3]), torch.tensor(LIMITS[3:])
    boxes = torch.rand(3, 7, generator=generator)
    if indoor:
        low, high = torch.zeros(3), torch.tensor([5.0, 5, 2])
        boxes[:, 0], boxes[:, 2], boxes[:, 6] = torch.tensor([1, 2.5, 4]), 0, 0
    else:
        boxes[:, :2] = low[:2] + 3 + boxes[:, :2] * (high - low - 6)[:2]
        boxes[:, 2], boxes[:, 3:6] = -1.78, torch.tensor([3.9, 1.6, 1.56])
    shares = torch.rand(3, 100, 3, generator=generator) - torch.tensor([0.5, 0.5, 0.0])
    inside = boxes[:, None, :3] + shares * boxes[:, None, 3:6] * 0.7
    around = torch.rand(500, 3, generator=generator) * (high - low) + low
    points = torch.cat([inside.flatten(0, 1), around])
    return torch.cat([points, torch.rand(len(points), 1, generator=generator)], 1), boxes


def settings_of(name: str, folder: Path) -> Any:
    """Return the model of a released config, with a small range, few points and one layer a level."""
    config = importlib.import_module("mmengine.config").Config
    model = config.fromfile(str(folder / ".mim" / "configs" / name)).model
    if "votenet" in name:
        model.test_cfg.score_thr = 0.0
        model.backbone.update(num_points=[256, 128, 64, 64], num_samples=[16, 16, 16, 16])
        model.bbox_head.vote_aggregation_cfg.update(num_point=32)
        return model
    model.data_preprocessor.voxel_layer.point_cloud_range = LIMITS
    if "pointpillars" in name:
        model.voxel_encoder.point_cloud_range = LIMITS
        model.middle_encoder.output_shape = [80, 80]
    else:
        model.middle_encoder.sparse_shape = [41, 256, 256]
    model.backbone.layer_nums = [1 for _ in model.backbone.layer_nums]
    head = model.rpn_head if "pv_rcnn" in name else model.bbox_head
    head.anchor_generator.ranges = [
        [*LIMITS[:2], z[2], *LIMITS[3:5], z[2]] for z in head.anchor_generator.ranges
    ]
    if "pv_rcnn" in name:
        model.points_encoder.update(point_cloud_range=LIMITS, num_keypoints=128)
        model.train_cfg.rcnn.sampler.num = 16
        model.test_cfg.rcnn.score_thr = 0.0
        for stage in (model.train_cfg.rpn_proposal, model.test_cfg.rpn):
            stage.update(nms_pre=128, nms_post=32, max_num=32)
    else:
        model.test_cfg.score_thr = 0.0
    return model


def batch_of(name: str) -> dict[str, Any]:
    """Return two scenes, as MMDetection3D's data pipelines do: the same ones in every call."""
    generator, indoor = torch.Generator().manual_seed(0), "votenet" in name
    structures = importlib.import_module("mmdet3d.structures")
    instances = importlib.import_module("mmengine.structures").InstanceData
    kind = structures.DepthInstance3DBoxes if indoor else structures.LiDARInstance3DBoxes
    points, samples = [], []
    for _ in range(2):
        some, boxes = scene(indoor, generator)
        meta = {"box_type_3d": kind, "box_mode_3d": 2 if indoor else 0}
        sample = structures.Det3DDataSample(metainfo=meta)
        # A car is the third class of three, or the only one.
        labels = torch.full((len(boxes),), 2 if "3class" in name else 0)
        sample.gt_instances_3d = instances(bboxes_3d=kind(boxes), labels_3d=labels)
        sample.gt_pts_seg = structures.PointData(
            pts_semantic_mask=(torch.arange(800) >= 300) * 18,
            pts_instance_mask=(torch.arange(800) // 100).clamp(max=3),
        )
        points.append(some)
        samples.append(sample)
    return {"inputs": {"points": points}, "data_samples": samples}


def made(name: str) -> Made:
    """Return the detector of a config."""
    folder = Path(str(importlib.import_module("mmdet3d.models").__file__)).parents[1]
    registry = importlib.import_module("mmdet3d.registry").MODELS
    model: Any = registry.build(settings_of(name, folder))

    def loss() -> Tensor:
        out = model(**model.data_preprocessor(batch_of(name), True), mode="loss")
        total: Tensor = model.parse_losses(out)[0]
        return total

    def predict() -> list[int]:
        data = model.data_preprocessor(batch_of(name), False)
        return [
            len(each.pred_instances_3d.bboxes_3d) for each in model.eval()(**data, mode="predict")
        ]

    return Made(descending(model, loss, 1e-3), predict)
