"""MMPretrain's configs."""

from __future__ import annotations

import functools

from tests.ecosystem import pictures
from tests.ecosystem.project import LOADERS, Project

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

PIXELS = {
    "train_dataloader.dataset.pipeline.1.scale": 64,
    "val_dataloader.dataset.pipeline.2.crop_size": 64,
    "test_dataloader.dataset.pipeline.2.crop_size": 64,
}
RESNET18 = {
    **IMAGENET,
    "model.head.topk": "(1,)",
    "train_dataloader.dataset.pipeline.1.scale": 32,
}
WARM_UP = {"param_scheduler.0.end": 1, "param_scheduler.1.begin": 1}

pretraining = functools.partial(Project, package="mmpretrain", data=pictures.classes)

PROJECTS = {
    "MMPretrain ResNet-18": pretraining(
        config="resnet/resnet18_8xb32_in1k.py",
        options=RESNET18,
    ),
    "MMPretrain ViT": pretraining(
        config="vision_transformer/vit-base-p32_64xb64_in1k.py",
        options={
            **IMAGENET,
            "model.backbone.arch": "deit-t",
            "model.backbone.img_size": 64,
            "model.head.in_channels": 192,
            **PIXELS,
        },
    ),
    "MMPretrain ResNet-18, --auto-scale-lr": pretraining(
        config="resnet/resnet18_8xb32_in1k.py",
        options=RESNET18,
        flags=("--auto-scale-lr",),
    ),
    "MMPretrain Swin": pretraining(
        config="swin_transformer/swin-tiny_16xb64_in1k.py",
        options={
            **IMAGENET,
            **PIXELS,
            **WARM_UP,
            "model.backbone.img_size": 64,
            "model.backbone.pad_small_map": True,
        },
    ),
    "MMPretrain ConvNeXt": pretraining(
        config="convnext/convnext-tiny_32xb128_in1k.py",
        options={
            **IMAGENET,
            **PIXELS,
            **WARM_UP,
            "model.backbone.arch": "atto",
            "model.head.in_channels": 320,
        },
    ),
    "MMPretrain MobileNetV3": pretraining(
        config="mobilenet_v3/mobilenet-v3-small-050_8xb128_in1k.py",
        options={**IMAGENET, **PIXELS, "model.head.topk": "(1,)"},
    ),
    "MMPretrain SimCLR": pretraining(
        config="simclr/simclr_resnet50_16xb256-coslr-200e_in1k.py",
        options={
            "train_dataloader.dataset.data_root": "{data}",
            "train_dataloader.dataset.metainfo.classes": "[a,b,c,d]",
            "train_dataloader.dataset.pipeline.1.transforms.0.0.scale": 32,
            # MMCV 2.1.0 changes hues by negative numbers of an unsigned kind, which NumPy 2 refuses.
            "train_dataloader.dataset.pipeline.1.transforms.0.2.transforms.0.hue": 0,
            "train_dataloader.batch_size": 4,
            "model.backbone.depth": 18,
            "model.backbone.norm_cfg.type": "BN",
            "model.neck.in_channels": 512,
            "model.neck.hid_channels": 64,
            **WARM_UP,
            "log_processor.window_size": 1,
            "train_cfg.max_epochs": 4,
        },
        evaluates=False,
    ),
}
