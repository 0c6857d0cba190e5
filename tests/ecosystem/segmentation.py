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
    "MMSegmentation PSANet": Project(
        package="mmseg",
        config="psanet/psanet_r50-d8_4xb2-40k_cityscapes-512x1024.py",
        data=pictures.masks,
        options={
            **SIZES,
            "model.pretrained": "None",
            "model.backbone.depth": 18,
            "model.decode_head.in_channels": 512,
            "model.decode_head.channels": 64,
            "model.decode_head.mask_size": "(9,13)",
            "model.auxiliary_head.in_channels": 256,
        },
        calls=("psamask_forward", "psamask_backward"),
    ),
    "MMSegmentation Mask2Former": Project(
        package="mmseg",
        config="mask2former/mask2former_r50_8xb2-90k_cityscapes-512x1024.py",
        data=pictures.masks,
        options={
            **{
                key: value
                for key, value in SIZES.items()
                if "train_dataloader.dataset.p" not in key
            },
            "train_dataloader.dataset.pipeline.2.scales": "[48,64,80]",
            "train_dataloader.dataset.pipeline.3.crop_size": "(64,96)",
            "model.backbone.depth": 18,
            "model.backbone.init_cfg": "None",
            "model.decode_head.in_channels": "[64,128,256,512]",
            "model.decode_head.num_queries": 20,
            "model.decode_head.pixel_decoder.encoder.num_layers": 2,
            "model.decode_head.transformer_decoder.num_layers": 2,
            "model.decode_head.train_cfg.num_points": 256,
        },
        needs=("mmdet",),
    ),
}
