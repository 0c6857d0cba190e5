"""A check of what nobody should write ends with a report, never with a traceback of its own."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from mm2pl.check import Report, check_config
from mm2pl.config import Config

WRONG = (
    None,
    1.5,
    -1,
    10**30,
    "3",
    math.nan,
    [],
    [1, "a"],
    {"a": {"b": 1}},
    torch.zeros(2),
    len,
    "/x",
)

KEYS = """
work_dir load_from resume visualizer visualizer.vis_backends default_hooks default_hooks.checkpoint
default_hooks.checkpoint.interval default_hooks.checkpoint.by_epoch default_hooks.checkpoint.save_best
default_hooks.checkpoint.max_keep_ckpts default_hooks.checkpoint.save_begin custom_hooks
custom_hooks.0.begin_epoch param_scheduler param_scheduler.0 param_scheduler.0.begin param_scheduler.0.end
param_scheduler.0.by_epoch param_scheduler.0.milestones param_scheduler.0.T_max train_cfg
train_cfg.max_epochs train_cfg.val_begin train_cfg.val_interval train_cfg.dynamic_intervals
train_cfg.by_epoch train_dataloader val_cfg val_evaluator optim_wrapper model
"""


def config() -> dict[str, Any]:
    return {
        "model": {"type": "M"},
        "work_dir": "w",
        "train_dataloader": {"batch_size": 1},
        "train_cfg": {"by_epoch": True, "max_epochs": 3},
        "val_dataloader": {"batch_size": 1},
        "val_cfg": {},
        "val_evaluator": {"type": "E"},
        "optim_wrapper": {"optimizer": {"type": "SGD", "lr": 0.1}},
        "param_scheduler": [{"type": "MultiStepLR", "milestones": [1]}],
        "default_hooks": {"checkpoint": {"type": "CheckpointHook", "interval": 1}},
        "custom_hooks": [{"type": "EMAHook"}],
        "visualizer": {"type": "Visualizer", "vis_backends": [{"type": "LocalVisBackend"}]},
    }


@pytest.mark.parametrize("key", KEYS.split())
def test_each_wrong_value_ends_in_a_report(key):
    for value in WRONG:
        whole: Any = config()
        *path, last = (int(part) if part.isdigit() else part for part in key.split("."))
        holder = whole
        for part in path:
            holder = holder.setdefault(part, {}) if isinstance(holder, dict) else holder[part]
        holder[last] = value
        report = check_config(Config(whole))
        assert isinstance(report, Report), value
        assert str(report).startswith("config\n")
