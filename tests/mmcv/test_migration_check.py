"""``mm2pl migrate --check``: two iterations of the old config and the new one, side by side."""

from __future__ import annotations

import re
import sys
from types import ModuleType

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.utils.data import Dataset

from mm2pl.cli.main import main
from mm2pl.mmcv import MMCVModel, migrate_config
from mm2pl.mmcv.migration import check
from mm2pl.mmcv.migration.check import check_migration
from mm2pl.mmcv.migration.comparison import differences
from mm2pl.mmcv.parallel import DataContainer as DC
from mm2pl.registry import DATASETS, MODELS
from mm2pl.structures import InstanceData

CONFIG = """
model = dict(type='CheckedNet')
data = dict(
    samples_per_gpu=4,
    workers_per_gpu=2,
    train=dict(type='CheckedPoints'),
    val=dict(type='CheckedPoints'),
)
optimizer = dict(type='SGD', lr=0.1, momentum=0.9)
optimizer_config = dict(grad_clip=dict(max_norm=0.1))
lr_config = dict(policy='step', step=[8], warmup='linear', warmup_iters=3, warmup_ratio=0.1)
runner = dict(type='EpochBasedRunner', max_epochs=9)
evaluation = dict(interval=1)
checkpoint_config = dict(interval=1)
log_config = dict(interval=1, hooks=[dict(type='TextLoggerHook')])
workflow = [('train', 1)]
"""


class CheckedPoints(Dataset):
    def __init__(self, test_mode=False, shift=0.0):
        self.shift = shift

    def __len__(self):
        return 10

    def __getitem__(self, index):
        point = torch.full((3,), float(index)) + torch.rand(3) + self.shift
        return {
            "point": DC(point, stack=True, pad_dims=None),
            "meta": DC({"i": index}, cpu_only=True),
        }

    def evaluate(self, results, logger=None):
        return {}


class CheckedNet(MMCVModel):
    def __init__(self, scale=1.0, name="loss"):
        super().__init__()
        self.name = name
        self.fc, self.drop, self.scale = nn.Linear(3, 1), nn.Dropout(0.5), scale

    def forward(self, point, meta, return_loss=True):
        return (
            {"loss": self.scale * self.drop(self.fc(point)).mean()}
            if return_loss
            else [0] * len(point)
        )

    def train_step(self, data, optimizer):
        loss = self(**data)["loss"]
        return {"loss": loss, "log_vars": {self.name: loss.item()}, "num_samples": 4}


@pytest.fixture(autouse=True)
def _registered():
    DATASETS.register_module(module=CheckedPoints)
    MODELS.register_module(module=CheckedNet)


@pytest.fixture
def old(tmp_path):
    values: dict = {}
    exec(CONFIG, values)
    del values["__builtins__"]
    return values


def test_command_line(tmp_path, capsys):
    (tmp_path / "old.py").write_text(CONFIG)
    old, new = str(tmp_path / "old.py"), str(tmp_path / "new.py")
    assert main(["migrate", old, "-o", new, "--check"]) == 0
    said = capsys.readouterr().out
    assert (
        "on mm2pl.mmcv, as MMCV 1.x is not installed | the new one on mm2pl.runner.Runner" in said
    )
    assert "  samples: the first 8 | the first 8  equal" in said
    assert "  learning rates: 0.01, 0.04 | 0.01, 0.04  equal" in said
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new.py", "old.py"]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            "new['optim_wrapper']['optimizer']['lr'] = 0.2",
            "learning rates: 0.01, 0.04 | 0.02, 0.08  DIFFERS",
        ),
        ("new['optim_wrapper'].pop('clip_grad')", "DIFFERS: relative difference"),
        ("new['model']['scale'] = 2.0", "DIFFERS: relative difference 1.0e+00"),
        (
            "new['train_dataloader']['dataset']['shift'] = 1.0",
            "DIFFERS: [0].point: up to 1; [1].point",
        ),
        ("new['model']['type'] = 'Nowhere'", "not compared: the new side does not run: "),
        ("old['data']['train']['type'] = 'Nowhere'", "not compared: the old side does not run: "),
        (
            "new['optim_wrapper']['paramwise_cfg'] = {'bias_lr_mult': 3.0}",
            "learning rates: 0.01, 0.04 | 0.01 to 0.03, 0.04 to 0.12  DIFFERS: relative difference 2.0e+00 at fc.bias",
        ),
        ("new['optim_wrapper']['optimizer']['momentum'] = 0.5", "fc.weight.momentum: 0.9 and 0.5"),
        (
            "old['optimizer']['lr'] = new['optim_wrapper']['optimizer']['lr'] = 1e-12;"
            "new['optim_wrapper'].pop('clip_grad')",
            "losses: …equal\n  gradients: …DIFFERS: relative difference",
        ),
        (
            "new['model']['scale'] = float('nan')",
            "losses: …nan, nan  DIFFERS: relative difference inf",
        ),
        (
            "old['model']['name'] = new['model']['name'] = 'seen'; new['model']['scale'] = 2.0",
            "losses: nan, nan | nan, nan  DIFFERS: relative difference 1.0",
        ),
        ("del old['data']['samples_per_gpu']", "the old side does not run: …give it"),
    ],
    ids=[
        *(
            "rate",
            "clipping",
            "loss",
            "samples",
            "new-side",
            "old-side",
            "second-group",
            "momentum",
        ),
        *("tiny-clipping", "diverges", "no-loss", "no-batch-size"),
    ],
)
def test_what_differs_is_told(old, change, expected):
    new = migrate_config(old)
    exec(change, {"old": old, "new": new})
    result = check_migration(old, new)
    assert not result.passed
    assert re.search(".*".join(map(re.escape, expected.split("…"))), str(result))


def test_nothing_outside_is_touched_and_the_order_is_given(old):
    """Of a visualizer, hooks and a sampler that are the project's own."""
    new = migrate_config(old)
    new["visualizer"] = {"type": "Visualizer", "vis_backends": [{"type": "Nowhere"}]}
    new["custom_hooks"] = [{"type": "Nowhere"}]
    new["train_dataloader"]["sampler"] = {"type": "Nowhere"}
    assert check_migration(old, new).passed


NAN = torch.tensor([float("nan"), 1.0])
IMAGE = Image.new("L", (2, 2), 0)


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ({"x": 1, "y": 2}, {"x": 1, "z": 2}, ["'y' is only in the old", "'z' is only in the new"]),
        ([torch.ones(2)], [torch.ones(3)], ["[0]: shapes (2,) and (3,)"]),
        ({"a": (1, "b")}, {"a": (1, "c", 2)}, ["a: 2 and 3 items", "a[1]: 'b' and 'c'"]),
        (DC(1), 1.0, ["the whole: 1 and 1.0"]),
        (object(), object(), []),
        (NAN, NAN.clone(), []),
        (NAN, torch.ones(2), ["the whole: up to nan"]),
        (float("nan"), float("nan"), []),
        (np.array([12], np.uint8), np.array([12.7]), ["the whole: torch.uint8 and torch.float64"]),
        (np.int64(1), np.int64(2), ["the whole: up to 1"]),
        (np.array(["a"]), np.array(["b"]), ["[0]: 'a' and 'b'"]),
        (np.array([{"a": 1}]), np.array([{"a": 2}]), ["[0].a: 1 and 2"]),
        (np.arange(3)[::-1], np.array([2, 1, 0]), []),
        (IMAGE, Image.new("L", (2, 2), 7), ["the whole: up to 7"]),
        (InstanceData(a=torch.ones(1)), InstanceData(a=torch.zeros(1)), ["a: up to 1"]),
        ({1}, {2}, ["the whole: {1} and {2}"]),
    ],
)
def test_differences(a, b, expected):
    assert list(differences(a, b)) == expected


@pytest.mark.parametrize(
    ("modules", "told"),
    [
        ({"mmcv": None}, "mm2pl.mmcv, as MMCV 1.x is not installed"),
        ({"mmcv": "1.5.0"}, "mm2pl.mmcv, as MMCV 1.x is not installed"),  # a version that is told
        ({"mmcv": "1.7.2", "mmcv.runner": "1.7.2"}, "MMCV 1.7.2"),
    ],
    ids=["absent", "version alone", "with its runner"],
)
def test_what_the_old_side_runs_on(monkeypatch, modules, told):
    for name, version in modules.items():
        module = ModuleType(name)
        module.__version__ = version
        monkeypatch.setitem(sys.modules, name, module if version else None)
    assert check._runtime()[1] == told
