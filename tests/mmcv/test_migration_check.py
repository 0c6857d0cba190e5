"""``mm2pl migrate --check``: two iterations of the old config and the new one, side by side."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils.data import Dataset

from mm2pl.cli.main import main
from mm2pl.mmcv import MMCVModel, migrate_config
from mm2pl.mmcv.migration.check import _differences, check_migration
from mm2pl.mmcv.parallel import DataContainer as DC
from mm2pl.registry import DATASETS, MODELS

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
    def __init__(self, scale=1.0):
        super().__init__()
        self.fc, self.drop, self.scale = nn.Linear(3, 1), nn.Dropout(0.5), scale

    def forward(self, point, meta, return_loss=True):
        return (
            {"loss": self.scale * self.drop(self.fc(point)).mean()}
            if return_loss
            else [0] * len(point)
        )

    def train_step(self, data, optimizer):
        loss = self(**data)["loss"]
        return {"loss": loss, "log_vars": {"loss": loss.item()}, "num_samples": 4}


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
    ],
    ids=["rate", "clipping", "loss", "samples", "new-side", "old-side"],
)
def test_what_differs_is_told(old, change, expected):
    new = migrate_config(old)
    exec(change, {"old": old, "new": new})
    result = check_migration(old, new)
    assert not result.passed
    assert expected in str(result)


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ({"x": 1, "y": 2}, {"x": 1, "z": 2}, ["'y' is only in the old", "'z' is only in the new"]),
        ([torch.ones(2)], [torch.ones(3)], ["[0]: shapes (2,) and (3,)"]),
        ({"a": (1, "b")}, {"a": (1, "c", 2)}, ["a: 2 and 3 items", "a[1]: 'b' and 'c'"]),
        (DC(1), 1.0, ["the whole: 1 and 1.0"]),
        (object(), object(), []),
    ],
)
def test_differences(a, b, expected):
    assert list(_differences(a, b, "")) == expected
