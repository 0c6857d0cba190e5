"""MMDetection's configs."""

from __future__ import annotations

import functools

from tests.ecosystem import pictures
from tests.ecosystem.project import LOADERS, Project

COCO = {
    **{f"{loader}.dataset.data_root": "{data}/" for loader in LOADERS},
    "val_evaluator.ann_file": "{data}/annotations/instances_val2017.json",
    "test_evaluator.ann_file": "{data}/annotations/instances_val2017.json",
    "train_dataloader.dataset.pipeline.2.scale": "(96,64)",
    "val_dataloader.dataset.pipeline.1.scale": "(96,64)",
    "test_dataloader.dataset.pipeline.1.scale": "(96,64)",
    "model.backbone.init_cfg": "None",
    "log_processor.window_size": 1,
    "train_cfg.max_epochs": 2,
}
"""24 pictures in batches of 2: 24 iterations."""

R18 = {"model.backbone.depth": 18, "model.neck.in_channels": "[64,128,256,512]"}

ALL = {"model.test_cfg.score_thr": 0.0}
"""Every box is kept: after so short a training NMS would be given none."""

NARROW = {
    "model.neck.out_channels": 32,
    "model.bbox_head.in_channels": 32,
    "model.bbox_head.feat_channels": 32,
    "model.bbox_head.stacked_convs": 1,
}

TWO_STAGES = {
    **R18,
    "model.test_cfg.rcnn.score_thr": 0.0,
    "model.test_cfg.rcnn.max_per_img": 20,
    "model.neck.out_channels": 32,
    "model.rpn_head.in_channels": 32,
    "model.rpn_head.feat_channels": 32,
    "model.roi_head.bbox_roi_extractor.out_channels": 32,
    "model.roi_head.bbox_head.in_channels": 32,
    "model.roi_head.bbox_head.fc_out_channels": 64,
    "model.train_cfg.rcnn.sampler.num": 32,
    "model.train_cfg.rpn_proposal.max_per_img": 100,
    "model.test_cfg.rpn.max_per_img": 100,
}

VARIED = "train_dataloader.dataset.pipeline.3.transforms"
DETR = {
    **{key: value for key, value in COCO.items() if ".2.scale" not in key},
    f"{VARIED}.0.0.scales": "[(64,96),(80,112)]",
    f"{VARIED}.1.0.scales": "[(64,128),(72,128)]",
    f"{VARIED}.1.1.crop_size": "(48,64)",
    f"{VARIED}.1.2.scales": "[(64,96),(80,112)]",
    "model.backbone.depth": 18,
    "model.num_queries": 20,
    "model.test_cfg.max_per_img": 20,
}

detecting = functools.partial(Project, package="mmdet", data=pictures.boxes, predicts=True)

FCOS = "fpn_gn-head-center-normbbox-centeronreg-giou"

PROJECTS = {
    "MMDetection RetinaNet": detecting(
        config="retinanet/retinanet_r18_fpn_1x_coco.py",
        options={**COCO, **ALL, **NARROW},
        calls=("nms",),
    ),
    "MMDetection Faster R-CNN": detecting(
        config="faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py",
        options={**COCO, **TWO_STAGES},
        calls=("nms", "roi_align"),
    ),
    "MMDetection Mask R-CNN": detecting(
        config="mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py",
        options={
            **COCO,
            **TWO_STAGES,
            "model.roi_head.mask_roi_extractor.out_channels": 32,
            "model.roi_head.mask_head.in_channels": 32,
            "model.roi_head.mask_head.conv_out_channels": 32,
            "model.roi_head.mask_head.num_convs": 1,
        },
        calls=("nms", "roi_align"),
    ),
    "MMDetection FCOS with DCN": detecting(
        config=f"fcos/fcos_r50-dcn-caffe_{FCOS}_1x_coco.py",
        options={
            **COCO,
            **ALL,
            **NARROW,
            "model.bbox_head.feat_channels": 64,
            "model.backbone.base_channels": 16,
            "model.neck.in_channels": "[64,128,256,512]",
        },
        calls=("nms", "modulated_deform_conv2d"),
        # Its offsets begin at 0, where a last digit decides which side of a cell has the gradient. Compiled MMCV
        # with one digit in two moved by one differs from itself by 3e-4 at the 11th, and by 0.2 later.
        settled=10,
    ),
    "MMDetection YOLOX": detecting(
        config="yolox/yolox_tiny_8xb8-300e_coco.py",
        options={
            **{f"{loader}.dataset.data_root": "{data}/" for loader in LOADERS[1:]},
            **{f"{loader}.batch_size": 4 for loader in LOADERS},
            **{f"{loader}.dataset.pipeline.1.scale": "(96,96)" for loader in LOADERS[1:]},
            "train_dataloader.dataset.dataset.data_root": "{data}/",
            "train_dataloader.dataset.pipeline.0.img_scale": "(64,64)",
            "train_dataloader.dataset.pipeline.1.border": "(-32,-32)",
            "train_dataloader.dataset.pipeline.4.scale": "(64,64)",
            "val_evaluator.ann_file": "{data}/annotations/instances_val2017.json",
            "test_evaluator.ann_file": "{data}/annotations/instances_val2017.json",
            "model.data_preprocessor.batch_augments.0.random_size_range": "(64,128)",
            "custom_hooks.0.num_last_epochs": 1,
            "param_scheduler.0.end": 1,
            "param_scheduler.1.begin": 1,
            "param_scheduler.1.end": 3,
            "param_scheduler.1.T_max": 2,
            "param_scheduler.2.begin": 3,
            "param_scheduler.2.end": 4,
            "log_processor.window_size": 1,
            "train_cfg.max_epochs": 4,
            "train_cfg.val_interval": 2,
            "default_hooks.checkpoint.interval": 2,
            **ALL,
        },
        calls=("nms",),
    ),
    "MMDetection DETR": detecting(
        config="detr/detr_r50_8xb2-150e_coco.py",
        options={**DETR, "model.neck.in_channels": "[512]"},
    ),
    "MMDetection Deformable DETR": detecting(
        config="deformable_detr/deformable-detr_r50_16xb2-50e_coco.py",
        options={
            **DETR,
            "model.neck.in_channels": "[128,256,512]",
            "model.encoder.num_layers": 2,
            "model.decoder.num_layers": 2,
        },
    ),
    "MMDetection RTMDet": detecting(
        config="rtmdet/rtmdet_tiny_8xb32-300e_coco.py",
        options={
            **{key: value for key, value in COCO.items() if "pipeline" not in key},
            **{f"{loader}.batch_size": 4 for loader in LOADERS},
            **{f"{loader}.dataset.pipeline.1.scale": "(64,64)" for loader in LOADERS[1:]},
            **{f"{loader}.dataset.pipeline.2.size": "(64,64)" for loader in LOADERS[1:]},
            "train_dataloader.dataset.pipeline.2.img_scale": "(64,64)",
            "train_dataloader.dataset.pipeline.3.scale": "(128,128)",
            "train_dataloader.dataset.pipeline.4.crop_size": "(64,64)",
            "train_dataloader.dataset.pipeline.7.size": "(64,64)",
            "train_dataloader.dataset.pipeline.8.img_scale": "(64,64)",
            "custom_hooks.1.switch_epoch": 2,
            "custom_hooks.1.switch_pipeline.2.scale": "(64,64)",
            "custom_hooks.1.switch_pipeline.3.crop_size": "(64,64)",
            "custom_hooks.1.switch_pipeline.6.size": "(64,64)",
            "param_scheduler.0.end": 5,
            "param_scheduler.1.begin": 1,
            "param_scheduler.1.end": 4,
            "param_scheduler.1.T_max": 3,
            "train_cfg.max_epochs": 4,
            "train_cfg.val_interval": 2,
            "train_cfg.dynamic_intervals": "[(3,1)]",
            **ALL,
        },
        calls=("nms",),
    ),
}
