"""MMSegmentation's configs."""

from __future__ import annotations

from tests.ecosystem import pictures
from tests.ecosystem.project import LOADERS, Project

SIZES = {
    **{f"{loader}.dataset.data_root": "{data}" for loader in LOADERS},
    "model.data_preprocessor.size": "(64,96)",
    "train_dataloader.dataset.pipeline.2.scale": "(96,64)",
    "train_dataloader.dataset.pipeline.3.crop_size": "(64,96)",
    "val_dataloader.dataset.pipeline.1.scale": "(96,64)",
    "test_dataloader.dataset.pipeline.1.scale": "(96,64)",
    "log_processor.window_size": 1,
    "train_cfg.max_iters": 20,
    "train_cfg.val_interval": 10,
    "default_hooks.checkpoint.interval": 10,
}

PROJECTS = {
    "MMSegmentation PSPNet": Project(
        package="mmseg",
        config="pspnet/pspnet_r18-d8_4xb2-80k_cityscapes-512x1024.py",
        data=pictures.masks,
        options={**SIZES, "model.pretrained": "None"},
    ),
    "MMSegmentation SegFormer": Project(
        package="mmseg",
        config="segformer/segformer_mit-b0_8xb1-160k_cityscapes-1024x1024.py",
        data=pictures.masks,
        options={
            **SIZES,
            "model.backbone.init_cfg": "None",
            "model.test_cfg.crop_size": "(64,64)",
            "model.test_cfg.stride": "(32,32)",
            "train_dataloader.batch_size": 2,
            "param_scheduler.0.end": 5,
            "param_scheduler.1.begin": 5,
            "param_scheduler.1.end": 20,
        },
    ),
}
