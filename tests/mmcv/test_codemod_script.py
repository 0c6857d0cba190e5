"""A 1.x training script becomes the one of `Runner.from_cfg`, which runs."""

from __future__ import annotations

import sys
import textwrap

import pytest
import torch
from torch import nn

pytest.importorskip("libcst")

from mm2pl.config import Config
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

TORCH = "def train_detector(net, data, cfg, **more):\n    net.train(data)\n"

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
        ("train_detector(model, [1]", "build_train_loader(cfg, [1]"),
        ("from mmdet.apis import set_random_seed, train_detector", TORCH),
        ("fromfile(args.config)", "fromfile(args.config); a = 1"),
    ],
    ids=[
        "no-training",
        "no-option",
        "another-config",
        "no-function",
        "loader",
        "torch",
        "one-line",
    ],
)
def test_other_scripts_are_left(change, by):
    assert "Runner.from_cfg" not in migrate_text(SCRIPT.replace(change, by))[0]


LOCAL = """\
from mmcv.runner import build_runner
from mmcv import gone
def fit(net, data, cfg):
    {call}
"""


@pytest.mark.parametrize(
    ("call", "changes"),
    [
        ("build_runner(cfg.runner)", True),
        ("cfg.runner.register_training_hooks(cfg.lr_config)", True),
        ("net.step(data)", False),
    ],
)
def test_a_function_of_the_project_is_read(tmp_path, call, changes):
    for folder in ("apis", "tools"):
        (tmp_path / folder).mkdir()
    (tmp_path / "apis/__init__.py").write_text("from .train import fit as train_net\n")
    (tmp_path / "apis/train.py").write_text(LOCAL.format(call=call))
    text = SCRIPT.replace("mine import build_model", "apis import train_net")
    text = text.replace("train_detector(model", "train_net(model")
    path = tmp_path / "tools/train.py"
    assert ("Runner.from_cfg" in migrate_text(text, path)[0]) == changes
    (tmp_path / "apis/train.py").unlink()
    new, found = migrate_text(text, path)
    assert "Runner.from_cfg" not in new
    assert next(f.reason for f in found if f.what == "train_net()").startswith("is not found here")


@pytest.mark.parametrize(
    ("change", "by", "expected"),
    [
        ("    ", "\t", "\n\tif args.work_dir is not None:\n\t\tcfg.work_dir = args.work_dir\n"),
        ("def parse_args", "\f\ndef parse_args", "fromfile(args.config)\n    if args.cfg_options"),
        ("import argparse, time", "import argparse; import time  # 2", "\nimport argparse  # 2\n"),
        (
            "import argparse, time",
            "import argparse; x = 1; import time",
            "\nimport argparse; x = 1\n",
        ),
    ],
    ids=["tabs", "form-feed", "two-imports", "three-statements"],
)
def test_text(change, by, expected):
    new, _ = migrate_text(SCRIPT.replace(change, by))
    compile(new, "train.py", "exec")
    assert expected in new


def test_a_rewritten_import_keeps_its_findings():
    text = SCRIPT.replace(
        "from mmcv import Config", "from mmcv import mkdir_or_exist, gone, Config"
    )
    text = text.replace("mmcv.mkdir_or_exist(", "mkdir_or_exist(").replace(
        "main()\n", "main(gone)\n"
    )
    assert (7, "mmcv.gone") in [(f.line, f.what) for f in migrate_text(text)[1]]


def test_an_option_that_is_used_before_stays():
    text = SCRIPT.replace("    cfg = Config", "    print(args.early)\n    cfg = Config")
    new, found = migrate_text(text)
    assert "print(args.early)" in new
    assert "args.early" not in [f.what for f in found]


@pytest.mark.parametrize("saved", [True, False])
def test_auto_resume_takes_the_newest_checkpoint_first(tmp_path, saved):
    text = SCRIPT.replace("cfg.gpu_ids = range(args.gpus)", "cfg.auto_resume = args.auto_resume")
    new = migrate_text(text)[0]
    begin = new.index("    if args.auto_resume")
    lines = textwrap.dedent(new[begin : new.index("    if args.no_validate")])
    if saved:
        torch.save({"meta": {}, "state_dict": {}, "optimizer": {}}, tmp_path / "epoch_1.pth")
        (tmp_path / "last_checkpoint").write_text(str(tmp_path / "epoch_1.pth"))
    cfg = Config({"work_dir": str(tmp_path), "load_from": "pretrained.pth"})
    names = {"cfg": cfg, "args": Config({"auto_resume": True})}
    exec("from mm2pl.runner import Runner, find_latest_checkpoint\n" + lines, names)
    assert "from mm2pl.runner import Runner, find_latest_checkpoint\n" in new
    assert (cfg.load_from, cfg.get("resume")) == (
        (None, True) if saved else ("pretrained.pth", None)
    )


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
