"""MMPose's configs."""

from __future__ import annotations

import functools

from tests.ecosystem import pictures
from tests.ecosystem.project import LOADERS, Project

COCO = {
    **{f"{loader}.dataset.data_root": "{data}/" for loader in LOADERS},
    **{f"{loader}.batch_size": 4 for loader in LOADERS},
    "val_dataloader.dataset.bbox_file": "None",
    "test_dataloader.dataset.bbox_file": "None",
    "val_evaluator.ann_file": "{data}/annotations/person_keypoints_val2017.json",
    "test_evaluator.ann_file": "{data}/annotations/person_keypoints_val2017.json",
    "model.backbone.init_cfg": "None",
    "log_processor.window_size": 1,
    "train_cfg.max_epochs": 3,
    "train_cfg.val_interval": 3,
}
"""24 people in batches of 4, thrice."""

posing = functools.partial(Project, package="mmpose", data=pictures.boxes, predicts=True)

PROJECTS = {
    "MMPose SimCC": posing(
        config="body_2d_keypoint/simcc/coco/simcc_res50_8xb64-210e_coco-256x192.py",
        options={
            **COCO,
            "model.backbone.depth": 18,
            "model.head.in_channels": 512,
        },
    ),
    "MMPose HRNet heatmaps": posing(
        config="body_2d_keypoint/topdown_heatmap/coco/td-hm_hrnet-w32_8xb64-210e_coco-256x192.py",
        options={
            **COCO,
            "model.backbone.extra.stage2.num_channels": "(8,16)",
            "model.backbone.extra.stage3.num_channels": "(8,16,32)",
            "model.backbone.extra.stage3.num_modules": 1,
            "model.backbone.extra.stage4.num_channels": "(8,16,32,64)",
            "model.backbone.extra.stage4.num_modules": 1,
            "model.head.in_channels": 8,
            "param_scheduler.0.end": 10,
        },
    ),
    "MMPose RTMPose": posing(
        config="body_2d_keypoint/rtmpose/coco/rtmpose-t_8xb256-420e_coco-256x192.py",
        options={
            **COCO,
            "param_scheduler.0.end": 10,
            "param_scheduler.1.begin": 1,
            "param_scheduler.1.end": 3,
            "param_scheduler.1.T_max": 2,
            "custom_hooks.0.switch_epoch": 2,
            # Since 1.4.19 Albumentations draws its own random numbers, which MMEngine's seed does not reach.
            "train_dataloader.dataset.pipeline.7.transforms": "[]",
            "custom_hooks.0.switch_pipeline.7.transforms": "[]",
        },
        needs=("mmdet", "albumentations"),
    ),
}
