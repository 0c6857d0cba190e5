"""Configs whose loops have a ``run`` of their own.

MMagic's needs ``mmagic==1.2.0 diffusers==0.24.0 transformers==4.37.2 lpips click requests`` without their dependencies.
"""

from __future__ import annotations

from tests.ecosystem import pictures
from tests.ecosystem.project import LOADERS, Project

SETS = (*LOADERS[:2], *(f"test_dataloader.{number}" for number in range(3)))

SUPER_RESOLUTION = {
    "train_cfg.max_iters": 20,
    "train_cfg.val_interval": 10,
    "default_hooks.checkpoint.interval": 10,
    "default_hooks.checkpoint.out_dir": "None",
    "log_processor.window_size": 1,
    **{f"{loader}.dataset.data_root": "{data}" for loader in SETS},
    **{f"{loader}.dataset.data_prefix.img": "small" for loader in SETS},
    **{f"{loader}.dataset.data_prefix.gt": "large" for loader in SETS},
    "train_dataloader.dataset.ann_file": "",
    "test_dataloader.2.dataset.ann_file": "",
    "train_dataloader.dataset.pipeline.3.gt_patch_size": 32,
    "train_dataloader.batch_size": 4,
    "param_scheduler.periods": "[5,5,5,5]",
}

PROJECTS = {
    "MMagic SRCNN": Project(
        package="mmagic",
        config="srcnn/srcnn_x4k915_1xb16-1000k_div2k.py",
        data=pictures.pairs,
        options=SUPER_RESOLUTION,
        loaders=SETS,
        needs=("diffusers", "transformers", "lpips"),
    ),
}
