"""MMRotate's configs."""

from __future__ import annotations

from tests.ecosystem import pictures
from tests.ecosystem.project import LOADERS, Project

PROJECTS = {
    "MMRotate Oriented R-CNN": Project(
        package="mmrotate",
        config="oriented_rcnn/oriented-rcnn-le90_r50_fpn_1x_dota.py",
        data=pictures.turned_boxes,
        options={
            **{f"{loader}.dataset.data_root": "{data}/" for loader in LOADERS},
            **{f"{loader}.dataset.img_shape": "(96,96)" for loader in LOADERS},
            "train_dataloader.dataset.pipeline.3.scale": "(96,96)",
            "val_dataloader.dataset.pipeline.1.scale": "(96,96)",
            "test_dataloader.dataset.pipeline.1.scale": "(96,96)",
            "model.backbone.depth": 18,
            "model.backbone.init_cfg": "None",
            "model.neck.in_channels": "[64,128,256,512]",
            "model.neck.out_channels": 32,
            "model.rpn_head.in_channels": 32,
            "model.rpn_head.feat_channels": 32,
            "model.roi_head.bbox_roi_extractor.out_channels": 32,
            "model.roi_head.bbox_head.in_channels": 32,
            "model.roi_head.bbox_head.fc_out_channels": 64,
            "model.train_cfg.rcnn.sampler.num": 32,
            "model.train_cfg.rpn_proposal.max_per_img": 100,
            "model.test_cfg.rpn.max_per_img": 100,
            "model.test_cfg.rcnn.score_thr": 0.0,
            "model.test_cfg.rcnn.max_per_img": 20,
            "log_processor.window_size": 1,
            "train_cfg.max_epochs": 2,
            "train_cfg.val_interval": 2,
        },
        needs=("mmdet",),
        predicts=True,
        calls=("nms", "nms_rotated", "box_iou_rotated", "roi_align_rotated_forward"),
    ),
}
