"""How a config of MMCV 1.x is recognised, and what took the place of its keys."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

LEGACY: dict[str, str] = {
    "runner": "train_cfg=dict(by_epoch=…, max_epochs=…)",
    "total_epochs": "train_cfg=dict(by_epoch=True, max_epochs=…)",
    "total_iters": "train_cfg=dict(by_epoch=False, max_iters=…)",
    "lr_config": "param_scheduler=[…]",
    "momentum_config": "param_scheduler=[dict(type='…Momentum')]",
    "optimizer_config": "optim_wrapper=dict(clip_grad=…, accumulative_counts=…)",
    "fp16": "optim_wrapper=dict(type='AmpOptimWrapper', loss_scale=…)",
    "evaluation": "val_evaluator, train_cfg.val_interval, CheckpointHook(save_best=…)",
    "data": "train_dataloader, val_dataloader, test_dataloader; a LightningDataModule: datamodule=dict(type=…)",
    "workflow": "train_cfg.val_interval",
    "checkpoint_config": "default_hooks=dict(checkpoint=dict(type='CheckpointHook', …))",
    "log_config": "default_hooks=dict(logger=dict(type='LoggerHook', interval=…)), visualizer",
    "resume_from": "resume=True with load_from, or --resume PATH",
    "dist_params": "env_cfg=dict(dist_cfg=dict(backend=…))",
    "opencv_num_threads": "env_cfg=dict(mp_cfg=dict(opencv_num_threads=…))",
    "mp_start_method": "env_cfg=dict(mp_cfg=dict(mp_start_method=…))",
}
"""Keys that changed a run under MMCV 1.x and change nothing under MMEngine → what took their place."""

# fmt: off
_LEGACY_RUNTIME = frozenset({
    "workflow", "checkpoint_config", "log_config", "resume_from", "dist_params", "opencv_num_threads",
    "mp_start_method",
})
_MODERN = frozenset({
    "train_dataloader", "val_dataloader", "test_dataloader", "val_evaluator", "test_evaluator", "optim_wrapper",
    "param_scheduler", "datamodule",
})
# `vis_backends` is only a variable of MMEngine's configs, but no config of 1.x has it.
_MODERN_RUNTIME = frozenset({
    "default_hooks", "env_cfg", "log_processor", "visualizer", "vis_backends", "data_preprocessor", "default_scope",
    "resume",
})
# fmt: on


def is_legacy(config: Mapping[str, Any]) -> bool:
    """Return whether a config, or a base file with a part of one, is of MMCV 1.x rather than of MMEngine.

    The data, the optimizer, the schedule and the evaluation decide: without MMEngine's keys for them MMEngine has
    nothing to run. Only where a config has none of these, old or new, do the keys of the runtime. In 1.x `data` holds
    the data sets and has no type; with one it is somebody's LightningDataModule.

    >>> is_legacy({"data": {}, "default_scope": "mmdet"}), is_legacy({"data": {}, "optim_wrapper": {}})
    (True, False)
    """
    given = set(config)
    old = given & LEGACY.keys()
    data = config.get("data")
    if given & _MODERN or (isinstance(data, Mapping) and "type" in data):
        return False
    return bool(old - _LEGACY_RUNTIME) or (bool(old) and not given & _MODERN_RUNTIME)


def modern_keys(config: Mapping[str, Any]) -> list[str]:
    """Return the keys that only MMEngine gives a meaning; those that decide come first.

    >>> modern_keys({"model": {}, "default_scope": "mmdet", "optim_wrapper": {}})
    ['optim_wrapper', 'default_scope']
    """
    return [*sorted(_MODERN & set(config)), *sorted(_MODERN_RUNTIME & set(config))]
