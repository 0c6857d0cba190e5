"""Run a config by MMEngine's own Runner: train, validate, test."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from mmengine.config import Config, DictAction
from mmengine.runner import Runner

parser = argparse.ArgumentParser()
parser.add_argument("config")
parser.add_argument("--work-dir", required=True)
parser.add_argument("--cfg-options", nargs="+", action=DictAction)
options = parser.parse_args()
cfg = Config.fromfile(options.config)
cfg.merge_from_dict(options.cfg_options)
cfg.work_dir = options.work_dir
runner = Runner.from_cfg(cfg)
runner.train()
metrics = {"validate": runner.val(), "test": runner.test()}
Path(options.work_dir, "metrics.json").write_text(json.dumps(metrics, default=float))
