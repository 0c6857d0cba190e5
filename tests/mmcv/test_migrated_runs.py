"""Migrated configs run: 1.x data sets under a model of today, with MMCV's learning rates and momenta."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils.data import Dataset

from mm2pl.hooks import Hook
from mm2pl.mmcv import migrate_config
from mm2pl.mmcv.adapters import MMCVConcatDataset, MMCVRepeatDataset, mmcv_collate
from mm2pl.mmcv.parallel import DataContainer as DC
from mm2pl.model import BaseModel
from mm2pl.optim import simulate
from mm2pl.registry import DATASETS, HOOKS, MODELS
from mm2pl.runner import Runner


class Points(Dataset):
    """A 1.x data set: containers, and an ``evaluate`` of its own."""

    CLASSES = ("a", "b")

    def __init__(self, size=10, test_mode=False):
        generator = torch.Generator().manual_seed(0)
        self.points = torch.randn(size, 3, generator=generator)
        self.labels = (self.points[:, 0] > 0).long()

    def __len__(self):
        return len(self.points)

    def __getitem__(self, index):
        point = DC(self.points[index], stack=True, pad_dims=None)
        return {
            "point": point,
            "label": self.labels[index],
            "meta": DC({"i": index}, cpu_only=True),
        }

    def evaluate(self, results, metric="accuracy", logger=None):
        right = torch.stack(results).argmax(1) == self.labels
        return {metric: right.float().mean().item()}


class Net(BaseModel):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(3, 2)

    def forward(self, point, label, meta, mode="tensor"):
        score = self.fc(point)
        if mode == "loss":
            return {"loss": nn.functional.cross_entropy(score, label)}
        return list(score)


class RatesHook(Hook):
    priority = "HIGHEST"
    seen: dict[str, list[float]]

    def before_run(self, runner):
        RatesHook.seen = {"lr": [], "momentum": []}

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        wrapper = runner.optim_wrapper
        self.seen["lr"] += wrapper.get_lr()["lr"]
        self.seen["momentum"] += wrapper.get_momentum()["momentum"]


@pytest.fixture(autouse=True)
def _registered():
    DATASETS.register_module(module=Points)
    MODELS.register_module(module=Net)
    HOOKS.register_module(module=RatesHook)


BASE = {
    "model": {"type": "Net"},
    "optimizer": {"type": "SGD", "lr": 0.1, "momentum": 0.9},
    "optimizer_config": {"grad_clip": None},
    "lr_config": {"policy": "step", "step": [1], "warmup": "linear", "warmup_iters": 3},
    "runner": {"type": "EpochBasedRunner", "max_epochs": 2},
    "data": {
        "samples_per_gpu": 4,
        "workers_per_gpu": 0,
        "train": {"type": "Points"},
        "val": {"type": "Points", "size": 7},
    },
    "evaluation": {"interval": 1, "metric": "accuracy"},
    "checkpoint_config": {"interval": 1},
    "log_config": {"interval": 2, "hooks": [{"type": "TextLoggerHook"}]},
    "workflow": [("train", 1)],
    "seed": 0,
}
ITERS = {"type": "IterBasedRunner", "max_iters": 5}


@pytest.mark.parametrize(
    ("changes", "files"),
    [
        pytest.param({}, {"epoch_1.pth", "epoch_2.pth"}, id="plain"),
        pytest.param(
            {
                "optimizer_config": {"type": "GradientCumulativeOptimizerHook", "cumulative_iters": 2},
                "lr_config": {"policy": "cyclic"},
                "momentum_config": {"policy": "cyclic"},
                "checkpoint_config": None,
                "evaluation": {"save_best": "accuracy", "rule": "greater"},
            },
            {"best_accuracy_epoch_"},
            id="cycles-and-the-best",
        ),
        pytest.param(
            {
                "runner": ITERS,
                "lr_config": {"policy": "poly", "power": 0.9, "min_lr": 1e-4, "warmup": "exp", "warmup_iters": 9},
                "checkpoint_config": {"interval": 5, "by_epoch": False},
                "evaluation": {"interval": 2},
                "custom_hooks": [{"type": "EMAHook"}],
            },
            {"iter_5.pth"},
            id="iterations",
        ),
        pytest.param(
            {
                "runner": None,
                "total_epochs": 2,
                "evaluation": None,
                "lr_config": {"policy": "CosineRestart", "periods": [2], "min_lr": 0, "warmup": "constant",
                              "warmup_iters": 1},
                "data": {**BASE["data"], "train": [{"type": "Points"}, {"type": "RepeatDataset", "times": 2,
                         "dataset": {"type": "Points", "size": 3}}],
                         "train_dataloader": {"samples_per_gpu": 3, "round_up": True, "drop_last": True}},
            },
            {"epoch_1.pth", "epoch_2.pth"},
            id="data-sets-of-data-sets",
        ),
    ],
)  # fmt: skip
def test_runs(tmp_path, changes, files):
    old = {key: value for key, value in {**BASE, **changes}.items() if value is not None}
    old |= {key: None for key in ("checkpoint_config",) if changes.get(key, 1) is None}
    new = migrate_config(old)
    new["custom_hooks"] = [*new.get("custom_hooks", []), {"type": "RatesHook"}]
    runner = Runner.from_cfg({**new, "work_dir": str(tmp_path)})
    runner.train()
    written = {path.name for path in tmp_path.glob("*.pth")}
    assert len(written) == len(files)
    assert all(any(name.startswith(file) for name in written) for file in files)
    assert 0 <= runner.message_hub.get_scalar("val/accuracy").current() <= 1
    rates, by_epoch = RatesHook.seen, "max_epochs" in new["train_cfg"]
    run = (len(rates["lr"]), len(runner.train_dataloader) if by_epoch else 1)
    for name, base in (("lr", 0.1), ("momentum", 0.9)):
        curve = simulate(new["param_scheduler"], base, *run, param_name=name, by_epoch=by_epoch)
        assert rates[name] == pytest.approx(curve, rel=1e-12)


def test_a_batch_is_what_a_1x_model_got():
    batch = mmcv_collate([Points()[0], Points()[1]])
    assert batch["point"].shape == (2, 3)
    assert batch["label"].shape == (2,)
    assert batch["meta"] == [{"i": 0}, {"i": 1}]


def test_wrapped_data_sets():
    twice = MMCVRepeatDataset({"type": "Points", "size": 3}, times=2)
    both = MMCVConcatDataset([Points(4), twice])
    assert (len(twice), len(both), both.CLASSES) == (6, 10, ("a", "b"))
    assert torch.equal(both[9]["label"], Points(3)[2]["label"])
    with pytest.raises(AttributeError, match="'Points' object has no attribute 'metainfo'"):
        _ = twice.metainfo
