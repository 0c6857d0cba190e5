"""The released configs that are run, and what is changed in them: paths, sizes and lengths."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.ecosystem import pictures

LOADERS = ("train_dataloader", "val_dataloader", "test_dataloader")

COMMON = {
    "default_hooks.logger.interval": 1,
    "randomness.seed": 0,
    **{f"{loader}.num_workers": 0 for loader in LOADERS},
    **{f"{loader}.persistent_workers": False for loader in LOADERS},
}
"""Every iteration is logged; the data is loaded in the process itself."""

IMAGENET = {
    **{f"{loader}.dataset.data_root": "{data}" for loader in LOADERS},
    **{f"{loader}.dataset.metainfo.classes": "[a,b,c,d]" for loader in LOADERS},
    **{f"{loader}.batch_size": 4 for loader in LOADERS},
    "data_preprocessor.num_classes": 4,
    "model.head.num_classes": 4,
    "val_evaluator.topk": "(1,)",
    "test_evaluator.topk": "(1,)",
    "log_processor.window_size": 1,
    "train_cfg.max_epochs": 4,
    "train_cfg.val_interval": 2,
}
"""24 pictures in batches of 4: 24 iterations."""

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


@dataclass(frozen=True, kw_only=True)
class Project:
    """A released config of an installed toolbox.

    Attributes:
        package: Its import name.
        config: Its path below the package's folder of configs.
        data: Writes the data set into a folder.
        options: ``--cfg-options``; ``{data}`` stands for that folder.
        ops: Whether it needs mmcv with its operators, not only mmcv-lite.
    """

    package: str
    config: str
    data: Callable[[Path], None]
    options: dict[str, object] = field(default_factory=dict)
    ops: bool = True

    def path(self) -> Path:
        """Return the config's file."""
        spec = importlib.util.find_spec(self.package)
        assert spec is not None
        assert spec.origin is not None
        return Path(spec.origin).parent / ".mim/configs" / self.config

    def cfg_options(self, data: Path) -> list[str]:
        """Return the command-line arguments after ``--cfg-options``."""
        merged = {**COMMON, **self.options}
        return [f"{key}={value}".replace("{data}", str(data)) for key, value in merged.items()]


PROJECTS = {
    "MMPretrain ResNet-18": Project(
        package="mmpretrain",
        config="resnet/resnet18_8xb32_in1k.py",
        data=pictures.classes,
        options={
            **IMAGENET,
            "model.head.topk": "(1,)",
            "train_dataloader.dataset.pipeline.1.scale": 32,
        },
        ops=False,
    ),
    "MMPretrain ViT": Project(
        package="mmpretrain",
        config="vision_transformer/vit-base-p32_64xb64_in1k.py",
        data=pictures.classes,
        options={
            **IMAGENET,
            "model.backbone.arch": "deit-t",
            "model.backbone.img_size": 64,
            "model.head.in_channels": 192,
            "train_dataloader.dataset.pipeline.1.scale": 64,
            "val_dataloader.dataset.pipeline.2.crop_size": 64,
            "test_dataloader.dataset.pipeline.2.crop_size": 64,
        },
        ops=False,
    ),
    "MMSegmentation PSPNet": Project(
        package="mmseg",
        config="pspnet/pspnet_r18-d8_4xb2-80k_cityscapes-512x1024.py",
        data=pictures.masks,
        options={
            **{f"{loader}.dataset.data_root": "{data}" for loader in LOADERS},
            "model.pretrained": "None",
            "model.data_preprocessor.size": "(64,96)",
            "train_dataloader.dataset.pipeline.2.scale": "(96,64)",
            "train_dataloader.dataset.pipeline.3.crop_size": "(64,96)",
            "val_dataloader.dataset.pipeline.1.scale": "(96,64)",
            "test_dataloader.dataset.pipeline.1.scale": "(96,64)",
            "log_processor.window_size": 1,
            "train_cfg.max_iters": 20,
            "train_cfg.val_interval": 10,
            "default_hooks.checkpoint.interval": 10,
        },
    ),
    "MMDetection RetinaNet": Project(
        package="mmdet",
        config="retinanet/retinanet_r18_fpn_1x_coco.py",
        data=pictures.boxes,
        options=COCO,
    ),
    "MMDetection Faster R-CNN": Project(
        package="mmdet",
        config="faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py",
        data=pictures.boxes,
        options={**COCO, "model.backbone.depth": 18, "model.neck.in_channels": "[64,128,256,512]"},
    ),
    "MMDetection YOLOX": Project(
        package="mmdet",
        config="yolox/yolox_tiny_8xb8-300e_coco.py",
        data=pictures.boxes,
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
        },
    ),
    "MMPose SimCC": Project(
        package="mmpose",
        config="body_2d_keypoint/simcc/coco/simcc_res50_8xb64-210e_coco-256x192.py",
        data=pictures.boxes,
        options={
            **{f"{loader}.dataset.data_root": "{data}/" for loader in LOADERS},
            **{f"{loader}.batch_size": 4 for loader in LOADERS},
            "val_dataloader.dataset.bbox_file": "None",
            "test_dataloader.dataset.bbox_file": "None",
            "val_evaluator.ann_file": "{data}/annotations/person_keypoints_val2017.json",
            "test_evaluator.ann_file": "{data}/annotations/person_keypoints_val2017.json",
            "model.backbone.init_cfg": "None",
            "model.backbone.depth": 18,
            "model.head.in_channels": 512,
            "log_processor.window_size": 1,
            "train_cfg.max_epochs": 3,
            "train_cfg.val_interval": 3,
        },
    ),
}
