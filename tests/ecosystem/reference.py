"""Run a config by MMEngine's own Runner: train; validate and test what was saved."""

from __future__ import annotations

import argparse
import functools
import json
from pathlib import Path

import torch
from mmengine.config import Config, DictAction
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mm2pl.compat import serve_mmcv_ext

# MMEngine 0.10.7 cannot load its own checkpoints otherwise: torch 2.6 made True the default.
torch.load = functools.partial(torch.load, weights_only=False)
# Where MMCV has no compiled operators, both sides have ours: what is compared here are the runs.
serve_mmcv_ext()


class Metrics(Hook):
    """Keep the newest metrics: not every loop returns them."""

    def after_val_epoch(self, runner, metrics=None):
        self.newest = dict(metrics)

    after_test_epoch = after_val_epoch


parser = argparse.ArgumentParser()
parser.add_argument("config")
parser.add_argument("--work-dir", required=True)
parser.add_argument("--auto-scale-lr", action="store_true")
parser.add_argument("--cfg-options", nargs="+", action=DictAction)
options = parser.parse_args()
cfg = Config.fromfile(options.config)
cfg.merge_from_dict(options.cfg_options)
cfg.work_dir = options.work_dir
if options.auto_scale_lr:
    cfg.auto_scale_lr.enable = True
Runner.from_cfg(cfg).train()
metrics = {}
if cfg.get("val_cfg") is not None:
    # A Runner begins its averaged weights (EMAHook) anew whenever it trains, validates or tests: one for each.
    cfg.load_from = Path(options.work_dir, "last_checkpoint").read_text().strip()
    cfg.resume = False
    # Its CheckpointHook knows no folder before a training.
    cfg.default_hooks.checkpoint.pop("save_best", None)
    for stage, method in {"validate": Runner.val, "test": Runner.test}.items():
        cfg.experiment_name = stage
        runner, hook = Runner.from_cfg(cfg), Metrics()
        runner.register_hook(hook)
        method(runner)
        metrics[stage] = hook.newest
Path(options.work_dir, "metrics.json").write_text(json.dumps(metrics, default=float))
