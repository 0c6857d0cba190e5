"""Configs whose loops have a ``run`` of their own.

MMagic's and BLIP need ``mmagic==1.2.0 diffusers==0.24.0 transformers==4.37.2 tokenizers huggingface-hub==0.25.2
safetensors lpips click requests`` without their dependencies, MMAction2's ``mmaction2==1.2.0 decord``.
"""

from __future__ import annotations

import functools
from pathlib import Path

import torch

from tests.ecosystem import pictures
from tests.ecosystem.project import LOADERS, Project

BRIEF = {
    "train_cfg.max_iters": 20,
    "train_cfg.val_interval": 10,
    "default_hooks.checkpoint.interval": 10,
}
VIEWS = "[(96,48),(128,64)]"

SMALL = {
    "backbone.depth": 18,
    "backbone.style": "pytorch",
    "backbone.init_cfg": "None",
    "neck.in_channels": "[64,128,256,512]",
    "neck.out_channels": 32,
    "rpn_head.in_channels": 32,
    "rpn_head.feat_channels": 32,
    "roi_head.bbox_roi_extractor.out_channels": 32,
    "roi_head.bbox_head.in_channels": 32,
    "roi_head.bbox_head.fc_out_channels": 64,
    "train_cfg.rcnn.sampler.num": 32,
    "train_cfg.rpn_proposal.max_per_img": 50,
    "test_cfg.rpn.max_per_img": 50,
    "test_cfg.rcnn.max_per_img": 20,
}

SOFT_TEACHER = {
    **BRIEF,
    **{f"train_dataloader.dataset.datasets.{n}.data_root": "{data}/" for n in (0, 1)},
    **{
        f"train_dataloader.dataset.datasets.{n}.ann_file": "annotations/instances_train2017.json"
        for n in (0, 1)
    },
    "train_dataloader.dataset.datasets.0.pipeline.2.scale": VIEWS,
    **{
        f"train_dataloader.dataset.datasets.1.pipeline.2.unsup_{who}.0.scale": VIEWS
        for who in ("teacher", "student")
    },
    "train_dataloader.batch_size": 2,
    "train_dataloader.sampler.batch_size": 2,
    "train_dataloader.sampler.source_ratio": "[1,1]",
    **{f"{loader}.dataset.data_root": "{data}/" for loader in LOADERS[1:]},
    **{f"{loader}.dataset.pipeline.1.scale": "(96,64)" for loader in LOADERS[1:]},
    "val_evaluator.ann_file": "{data}/annotations/instances_val2017.json",
    "test_evaluator.ann_file": "{data}/annotations/instances_val2017.json",
    # An untrained teacher is sure of nothing: all that it finds is taken for true.
    **{f"model.detector.{key}": value for key, value in SMALL.items()},
    "model.semi_train_cfg.pseudo_label_initial_score_thr": 0,
    "model.semi_train_cfg.rpn_pseudo_thr": 0,
    "model.semi_train_cfg.cls_pseudo_thr": 0,
    "model.semi_train_cfg.reg_pseudo_thr": 100,
    "log_processor.window_size": 1,
}

EDITING = {
    **BRIEF,
    "default_hooks.checkpoint.out_dir": "None",
    "log_processor.window_size": 1,
}
SETS = tuple(f"test_dataloader.{n}" for n in range(3))

SUPER_RESOLUTION = {
    **EDITING,
    **{f"{loader}.dataset.data_root": "{data}" for loader in (*LOADERS[:2], *SETS)},
    **{f"{loader}.dataset.data_prefix.img": "small" for loader in (*LOADERS[:2], *SETS)},
    **{f"{loader}.dataset.data_prefix.gt": "large" for loader in (*LOADERS[:2], *SETS)},
    "train_dataloader.dataset.ann_file": "",
    "test_dataloader.2.dataset.ann_file": "",
    "train_dataloader.dataset.pipeline.3.gt_patch_size": 32,
    "train_dataloader.batch_size": 4,
    "param_scheduler.periods": "[5,5,5,5]",
}

INPAINTING = {
    **EDITING,
    "model.train_cfg.iter_tc": 8,
    "model.train_cfg.iter_td": 14,
    "model.train_cfg.local_size": "(32,32)",
    "model.disc.global_disc_cfg.num_convs": 4,
    "model.disc.local_disc_cfg.num_convs": 3,
    "model.disc.local_disc_cfg.fc_in_channels": 4096,
    **{f"{loader}.dataset.data_root": "{data}" for loader in LOADERS},
    **{f"{loader}.dataset.data_prefix.gt": "large" for loader in LOADERS},
    **{f"{loader}.dataset.ann_file": "" for loader in LOADERS},
    **{
        f"{loader}.dataset.pipeline.{key}": value
        for loader in LOADERS
        for key, value in {
            "1.mask_config.img_shape": "(64,64)",
            "1.mask_config.max_bbox_shape": "(32,32)",
            "1.mask_config.max_bbox_delta": 10,
            "1.mask_config.min_margin": 5,
            "2.crop_size": "(56,56)",
            "3.scale": "(64,64)",
        }.items()
    },
    "train_dataloader.batch_size": 2,
}

GAN = {
    **BRIEF,
    "log_processor.window_size": 1,
    "model.generator.base_channels": 32,
    "model.discriminator.base_channels": 8,
    # DCGANDiscriminator.init_weights of MMagic 1.2.0 reads a variable before it sets it; a file is loaded without that.
    "model.discriminator.init_cfg.type": "Pretrained",
    "model.discriminator.init_cfg.checkpoint": "{data}/nothing.pth",
    **{f"{loader}.dataset.data_root": "{data}/large" for loader in LOADERS},
    **{f"{loader}.batch_size": 4 for loader in LOADERS},
    **{
        f"{stage}_evaluator.metrics.{number}.fake_nums": 8
        for stage in ("val", "test")
        for number in (0, 1)
    },
    "custom_hooks.0.interval": 10,
}


def gan_data(root: Path) -> None:
    """Write pictures, and a checkpoint without a weight."""
    pictures.pairs(root)
    torch.save({"state_dict": {}}, root / "nothing.pth")


RETRIEVAL = {
    **{f"{loader}.dataset.data_root": "{data}" for loader in LOADERS},
    **{f"{loader}.dataset.ann_file": "captions.json" for loader in LOADERS},
    **{f"{loader}.batch_size": 4 for loader in LOADERS},
    **{f"{loader}.dataset.pipeline.1.scale": "(32,32)" for loader in LOADERS},
    # As MMPretrain's own tools/train.py sets it.
    **{f"{loader}.collate_fn.type": "default_collate" for loader in LOADERS},
    "model.tokenizer.name_or_path": "{data}/words",
    "model.vision_backbone.arch": "deit-t",
    "model.vision_backbone.img_size": 32,
    "model.vision_neck.in_features": 192,
    "model.text_backbone.med_config.hidden_size": 96,
    "model.text_backbone.med_config.intermediate_size": 96,
    "model.text_backbone.med_config.num_attention_heads": 4,
    "model.text_backbone.med_config.num_hidden_layers": 2,
    "model.text_backbone.med_config.vocab_size": 50,
    "model.text_backbone.med_config.encoder_width": 192,
    "model.text_neck.in_features": 96,
    "model.multimodal_head.hidden_size": 96,
    "model.topk": 4,
    "val_evaluator.topk": "(1,4)",
    "test_evaluator.topk": "(1,4)",
    "log_processor.window_size": 1,
    "train_cfg.max_epochs": 2,
}

VIDEOS = {
    **{f"{loader}.dataset.ann_file": "{data}/videos.txt" for loader in LOADERS},
    **{f"{loader}.dataset.data_prefix.video": "{data}" for loader in LOADERS},
    **{f"{loader}.batch_size": 2 for loader in LOADERS},
    **{f"{loader}.dataset.pipeline.1.frame_interval": 1 for loader in LOADERS},
    **{f"{loader}.dataset.pipeline.3.scale": "(-1,40)" for loader in LOADERS},
    "train_dataloader.dataset.pipeline.5.scale": "(32,32)",
    "val_dataloader.dataset.pipeline.4.crop_size": 32,
    "test_dataloader.dataset.pipeline.1.num_clips": 2,
    "test_dataloader.dataset.pipeline.4.crop_size": 40,
    "train_cfg.other_loaders.0.num_workers": 0,
    "train_cfg.other_loaders.0.batch_size": 2,
    # The config's `mmcls` is MMPretrain today.
    "train_cfg.other_loaders.0.dataset.type": "mmpretrain.ImageNet",
    "train_cfg.other_loaders.0.dataset.data_root": "{data}",
    "train_cfg.other_loaders.0.dataset.data_prefix": "",
    "train_cfg.other_loaders.0.dataset.ann_file": "pictures.txt",
    "train_cfg.other_loaders.0.dataset.metainfo.classes": "[a,b,c,d]",
    "train_cfg.other_loaders.0.dataset.pipeline.1.type": "mmpretrain.RandomResizedCrop",
    "train_cfg.other_loaders.0.dataset.pipeline.1.scale": 32,
    "train_cfg.other_loaders.0.dataset.pipeline.2.type": "mmpretrain.RandomFlip",
    "train_cfg.other_loaders.0.dataset.pipeline.3.type": "mmpretrain.PackInputs",
    "model.cls_head.image_classes": 4,
    "model.cls_head.video_classes": 4,
    "train_cfg.max_epochs": 4,
    "train_cfg.val_interval": 2,
    "default_hooks.checkpoint.interval": 2,
    "param_scheduler.0.end": 1,
    "param_scheduler.1.T_max": 3,
    "param_scheduler.1.begin": 1,
    "param_scheduler.1.end": 4,
}

editing = functools.partial(Project, package="mmagic", needs=("diffusers", "transformers", "lpips"))

PROJECTS = {
    "MMDetection Soft Teacher": Project(
        package="mmdet",
        config="soft_teacher/soft-teacher_faster-rcnn_r50-caffe_fpn_180k_semi-0.1-coco.py",
        data=pictures.boxes,
        options=SOFT_TEACHER,
    ),
    "MMagic SRCNN": editing(
        config="srcnn/srcnn_x4k915_1xb16-1000k_div2k.py",
        data=pictures.pairs,
        options=SUPER_RESOLUTION,
        loaders=(*LOADERS[:2], *SETS),
    ),
    "MMagic Global&Local": editing(
        config="global_local/gl_8xb12_celeba-256x256.py",
        data=pictures.pairs,
        options=INPAINTING,
    ),
    "MMagic DCGAN": editing(
        config="dcgan/dcgan_Glr4e-4_Dlr1e-4_1xb128-5kiters_mnist-64x64.py",
        data=gan_data,
        options=GAN,
    ),
    "MMPretrain BLIP retrieval": Project(
        package="mmpretrain",
        config="blip/blip-base_8xb32_retrieval_flickr30k.py",
        data=pictures.captions,
        options=RETRIEVAL,
        needs=("transformers",),
    ),
    "MMAction2 OmniSource": Project(
        package="mmaction",
        config="recognition/omnisource/slowonly_r50_8xb16-8x8x1-256e_imagenet-kinetics400-rgb.py",
        data=pictures.videos,
        options=VIDEOS,
        needs=("mmpretrain", "decord"),
    ),
}
