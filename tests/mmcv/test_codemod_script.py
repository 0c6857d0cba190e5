"""A 1.x training script becomes the one of `Runner.from_cfg`, which runs."""

from __future__ import annotations

import sys

import pytest
import torch
from torch import nn

pytest.importorskip("libcst")

from mm2pl.mmcv.codemod import migrate_text
from mm2pl.model import BaseModel
from mm2pl.registry import DATASETS, MODELS

SCRIPT = '''\
# Copyright
"""Train."""
from __future__ import annotations
import argparse, time
import mmcv
import torch
from mmcv import Config, DictAction
from mmdet.apis import set_random_seed, train_detector
from mine import build_model  # registers the models


def parse_args():
    parser = argparse.ArgumentParser()
    parser.add_argument("config")
    parser.add_argument("--work-dir")
    parser.add_argument("--resume-from")
    parser.add_argument("--no-validate", action="store_true")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--deterministic", action="store_true")
    parser.add_argument("--cfg-options", nargs="+", action=DictAction)
    parser.add_argument("--gpus", type=int)
    parser.add_argument("--launcher", default="none")
    parser.add_argument("--fancy", action="store_true")
    return parser.parse_args()


def main():
    args = parse_args()
    cfg = Config.fromfile(args.config)
    # override
    if args.cfg_options is not None:
        cfg.merge_from_dict(args.cfg_options)
    if args.work_dir is not None:
        cfg.work_dir = args.work_dir
    if args.resume_from:
        cfg.resume_from = args.resume_from
    cfg.gpu_ids = range(args.gpus)
    mmcv.mkdir_or_exist(cfg.work_dir)
    set_random_seed(args.seed, deterministic=args.deterministic)
    torch.backends.cudnn.benchmark = args.fancy
    model = build_model(cfg.model)
    train_detector(model, [1], cfg, distributed=args.launcher != "none", validate=not args.no_validate,
                   timestamp=time.time())


if __name__ == "__main__":
    main()
'''

MAIN = """\
def main():
    args = parse_args()
    cfg = Config.fromfile(args.config)
    if args.cfg_options is not None:
        cfg.merge_from_dict(args.cfg_options)
    if args.work_dir is not None:
        cfg.work_dir = args.work_dir
    elif cfg.get("work_dir") is None:
        cfg.work_dir = os.path.join("work_dirs", os.path.splitext(os.path.basename(args.config))[0])
    if args.resume_from is not None:
        cfg.load_from, cfg.resume = args.resume_from, True
    if args.no_validate:
        cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    if args.seed is not None:
        cfg.randomness = dict(cfg.get("randomness") or {}, seed=args.seed)
    if args.deterministic:
        cfg.randomness = dict(cfg.get("randomness") or {}, deterministic=True)
    cfg.launcher = args.launcher
    Runner.from_cfg(cfg).train()


if __name__ == "__main__":
    main()
"""
HEAD = '''\
# Copyright
"""Train."""
from __future__ import annotations
import os
from mm2pl.runner import Runner
import argparse
from mm2pl.config import Config, DictAction
from mine import build_model  # registers the models


def parse_args'''


def test_what_is_written():
    new, found = migrate_text(SCRIPT)
    assert new.startswith(HEAD)
    assert new.endswith(MAIN)
    assert [(f.line, f.what) for f in found] == [
        (27, "main()"),
        (37, "--gpus"),
        (40, "args.fancy"),
    ]
    assert "lines 30 to 43 are" in found[0].reason
    assert migrate_text(new) == (new, [])


@pytest.mark.parametrize(
    ("change", "by"),
    [
        ("train_detector(model, [1]", "evaluate(model, [1]"),
        ("Config.fromfile(args.config)", "Config.fromfile('one.py')"),
        ("from mmcv import Config", "from mine import Config"),
        ("def main():", "class A:\n  def main():"),
    ],
    ids=["no-training", "no-option", "another-config", "no-function"],
)
def test_other_scripts_are_left(change, by):
    assert "Runner.from_cfg" not in migrate_text(SCRIPT.replace(change, by))[0]


def test_a_module_that_the_script_imports_is_told():
    text = SCRIPT.replace("    # override\n", "    importlib.import_module(cfg.plugin_dir)\n")
    assert (30, "importlib.import_module") in [(f.line, f.what) for f in migrate_text(text)[1]]


CONFIG = """
model = dict(type="Net")
train_dataloader = dict(
    batch_size=2, dataset=dict(type="Numbers"), sampler=dict(type="DefaultSampler", shuffle=True)
)
val_dataloader = dict(
    batch_size=2, dataset=dict(type="Numbers"), sampler=dict(type="DefaultSampler", shuffle=False)
)
val_evaluator = dict(type="Missing")
val_cfg = dict()
train_cfg = dict(by_epoch=True, max_epochs=9)
optim_wrapper = dict(optimizer=dict(type="SGD", lr=0.1))
"""


class Net(BaseModel):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(1, 1)

    def forward(self, x, mode):
        return {"loss": self.fc(torch.stack(x)).sum()}


class Numbers(torch.utils.data.Dataset):
    def __len__(self):
        return 4

    def __getitem__(self, index):
        return {"x": torch.ones(1) * index}


def test_it_runs(tmp_path, monkeypatch):
    MODELS.register_module(module=Net)
    DATASETS.register_module(module=Numbers)
    (tmp_path / "one.py").write_text(CONFIG)
    new = migrate_text(SCRIPT.replace("from mine import build_model", "import this_is_no_matter"))[
        0
    ]
    options = "--no-validate --seed 3 --deterministic --cfg-options train_cfg.max_epochs=1"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["train.py", "one.py", *options.split()])
    monkeypatch.setitem(sys.modules, "this_is_no_matter", sys)
    deterministic = torch.are_deterministic_algorithms_enabled()
    try:
        exec(compile(new, "train.py", "exec"), {"__name__": "__main__"})
    finally:
        torch.use_deterministic_algorithms(deterministic)
    files = {path.name for path in (tmp_path / "work_dirs/one").iterdir()}
    assert {"epoch_1.pth", "one.py"} <= files
    dumped = (tmp_path / "work_dirs/one/one.py").read_text()
    assert "deterministic=True" in dumped
    assert "seed=3" in dumped
