"""What tells a config of MMCV 1.x."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

LEGACY: dict[str, str] = {
    "runner": "train_cfg=dict(by_epoch=…, max_epochs=…)",
    "total_epochs": "train_cfg=dict(by_epoch=True, max_epochs=…)",
    "lr_config": "param_scheduler=[…]",
    "momentum_config": "param_scheduler=[dict(type='…Momentum')]",
    "optimizer_config": "optim_wrapper=dict(clip_grad=…, accumulative_counts=…)",
    "fp16": "optim_wrapper=dict(type='AmpOptimWrapper', loss_scale=…)",
    "evaluation": "val_evaluator, train_cfg.val_interval, CheckpointHook(save_best=…)",
    "data": "train_dataloader, val_dataloader, test_dataloader",
    "workflow": "train_cfg.val_interval",
    "checkpoint_config": "default_hooks=dict(checkpoint=dict(type='CheckpointHook', …))",
    "log_config": "default_hooks=dict(logger=dict(type='LoggerHook', interval=…)), visualizer",
    "resume_from": "resume=True with load_from, or --resume PATH",
}
"""Keys that changed a run under MMCV 1.x and change nothing under MMEngine → what took their place."""


def is_legacy(config: Mapping[str, Any]) -> bool:
    """Say whether a whole config is one of MMCV 1.x.

    >>> is_legacy({"data": {"samples_per_gpu": 2}, "optimizer": {}, "runner": {"max_epochs": 12}})
    True
    """
    modern = {"train_dataloader", "val_dataloader", "test_dataloader", "optim_wrapper"}
    return not modern & config.keys() and len(LEGACY.keys() & config.keys()) >= 2
