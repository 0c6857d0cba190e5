"""What `Runner.check` and `mm2pl check` find before a training, and that they leave no trace."""

from __future__ import annotations

import copy
import os
import random
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from mm2pl.check import Report, check_config
from mm2pl.cli.check import trial_runner
from mm2pl.config import Config
from mm2pl.dataset import DefaultSampler
from mm2pl.hooks import Hook
from mm2pl.optim import OptimWrapper
from mm2pl.registry import HOOKS, METRICS, MODELS
from mm2pl.run.environment import set_random_seed
from mm2pl.runner import Runner
from tests.scenarios import Points, Scenario, accuracy, build, hexed, models

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


class Broken(Points):
    """Points whose samples cannot be read."""

    def __getitem__(self, index: int) -> Any:
        raise OSError("annotations/a.json is gone")


class Mistyped(Hook):
    """A hook with a method that no run calls."""

    def after_train_itr(self, runner: Any) -> None:
        """Do nothing."""


class BadSaving(Hook):
    """A hook that fails when a file is written."""

    def before_save_checkpoint(self, runner: Any, checkpoint: dict) -> None:
        raise RuntimeError("nothing to save here")


def config(work_dir: Path) -> dict[str, Any]:
    """Return a sound config of three epochs of nine batches."""
    plain, metric = models("mm2pl")["plain"], accuracy("mm2pl")

    class FailsInValidation(plain):
        def val_step(self, data: Any) -> Any:
            raise RuntimeError("no boxes to decode")

    class FailsInTraining(plain):
        def train_step(self, data: Any, optim_wrapper: Any) -> Any:
            raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    class Divides(metric):
        def compute_metrics(self, results: list) -> dict:
            return {"accuracy": 1 / 0}

    for registry, cls, name in (
        (MODELS, plain, "Plain"),
        (MODELS, FailsInValidation, "FailsInValidation"),
        (MODELS, FailsInTraining, "FailsInTraining"),
        (METRICS, metric, "Acc"),
        (METRICS, Divides, "Divides"),
        (HOOKS, Mistyped, "Mistyped"),
        (HOOKS, BadSaving, "BadSaving"),
    ):
        registry.register_module(name=name, module=cls, force=True)
    loader = {
        "batch_size": 8,
        "num_workers": 0,
        "collate_fn": {"type": "default_collate"},
        "sampler": {"type": "DefaultSampler", "shuffle": False},
    }
    return {
        "model": {"type": "Plain"},
        "work_dir": str(work_dir),
        "train_dataloader": {**loader, "dataset": Points()},
        "val_dataloader": {**loader, "dataset": Points(30)},
        "train_cfg": {"by_epoch": True, "max_epochs": 3},
        "val_cfg": {},
        "val_evaluator": {"type": "Acc"},
        "optim_wrapper": {"optimizer": {"type": "SGD", "lr": 0.1}},
        "default_hooks": {"checkpoint": {"type": "CheckpointHook", "interval": 1}},
        "randomness": {"seed": 5},
    }


BY_ITER = {"by_epoch": False, "max_iters": 20, "val_interval": 10}
SAVE_BY_ITER = {"type": "CheckpointHook", "interval": 10, "by_epoch": False}


def checkpoint(**options: Any) -> dict[str, Any]:
    return {"default_hooks.checkpoint": {"type": "CheckpointHook", "interval": 1, **options}}


def schedule(kind: str, **options: Any) -> dict[str, Any]:
    return {"param_scheduler": [{"type": kind, **options}]}


NO_VALIDATION = {"val_cfg": None, "val_dataloader": None, "val_evaluator": None}
EARLY = {"type": "EarlyStoppingHook", "monitor": "acc"}

PLANTED: dict[str, tuple[dict[str, Any], str]] = {
    "val_begin before the first": ({"train_cfg.val_begin": 0}, "train_cfg.val_begin=0"),
    "val_begin past the end": ({"train_cfg.val_begin": 4}, "train_cfg.val_begin=4"),
    "milestone of intervals past the end": (
        {"train_cfg.dynamic_intervals": [(9, 1)]},
        "train_cfg.dynamic_intervals.0=9",
    ),
    "checkpoint interval past the end": (checkpoint(interval=5), "checkpoint.interval=5"),
    "checkpoint interval in iterations": (
        checkpoint(interval=50, by_epoch=False),
        "checkpoint.interval=50",
    ),
    "checkpoints by epoch in a run by iterations": (
        {"train_cfg": BY_ITER},
        "default_hooks.checkpoint.by_epoch=True",
    ),
    "save_begin past the end": (checkpoint(save_begin=9), "checkpoint.save_begin=9"),
    "schedule begins past the end": (
        schedule("LinearLR", begin=3, end=9),
        "param_scheduler.0.begin=3",
    ),
    "warm-up longer than the run": (
        schedule("LinearLR", by_epoch=False, end=500),
        "param_scheduler.0.end=500",
    ),
    "schedule by epoch in a run by iterations": (
        {"train_cfg": BY_ITER, **checkpoint(**SAVE_BY_ITER), **schedule("StepLR", step_size=1)},
        "param_scheduler.0.by_epoch=True",
    ),
    "milestones past the end": (
        schedule("MultiStepLR", milestones=[8, 11]),
        "param_scheduler.0.milestones=[8, 11]",
    ),
    "step_size past the end": (schedule("StepLR", step_size=30), "param_scheduler.0.step_size=30"),
    "cosine cut off": (schedule("CosineAnnealingLR", T_max=12), "param_scheduler.0.T_max=12"),
    "cosine that turns": (schedule("CosineAnnealingLR", T_max=2), "param_scheduler.0.T_max=2"),
    "average begins past the end": (
        {"custom_hooks": [{"type": "EMAHook", "begin_epoch": 5}]},
        "custom_hooks → ArgumentError: self.begin_epoch",
    ),
    "misspelt default hook": (
        {"default_hooks.chekpoint": {"type": "CheckpointHook"}},
        "default_hooks.chekpoint",
    ),
    "no training batch": (
        {"train_dataloader.batch_size": 100, "train_dataloader.drop_last": True},
        "train_dataloader=70 samples in batches of 100",
    ),
    "no validation batch": (
        {"val_dataloader.batch_size": 100, "val_dataloader.drop_last": True},
        "val_dataloader=30 samples in batches of 100",
    ),
    "save_best of another metric": (checkpoint(save_best="acc/top1"), "save_best='acc/top1'"),
    "early stopping by another metric": ({"custom_hooks": [EARLY]}, "monitor='acc'"),
    "plateau of another metric": (
        schedule("ReduceOnPlateauLR", monitor="loss"),
        "ReduceOnPlateauLR.monitor='loss'",
    ),
    "save_best without validation": (
        {**NO_VALIDATION, **checkpoint(save_best="accuracy")},
        "CheckpointHook.save_best=['accuracy']",
    ),
    "early stopping without validation": (
        {**NO_VALIDATION, "custom_hooks": [EARLY]},
        "EarlyStoppingHook.monitor='acc'",
    ),
    "misspelt method of a hook": (
        {"custom_hooks": [{"type": "Mistyped"}]},
        "Mistyped.after_train_itr",
    ),
    "no collate_fn": (
        {"train_dataloader.collate_fn": "pseudo_collate"},
        "train_dataloader.collate_fn",
    ),
    "a sample that cannot be read": (
        {"train_dataloader.dataset": Broken()},
        "train_dataloader → OSError: annotations/a.json is gone",
    ),
    "load_from that is not there": ({"load_from": "gone.pth"}, "load_from='gone.pth'"),
    "service that is not installed": (
        {"visualizer": {"type": "Visualizer", "vis_backends": [{"type": "WandbVisBackend"}]}},
        "visualizer.vis_backends.0.type='WandbVisBackend'",
    ),
    "model that is not registered": ({"model": {"type": "Plane"}}, "model"),
    "argument that the model lacks": ({"model.depth": 50}, "model"),
    "optimizer that is not registered": (
        {"optim_wrapper.optimizer.type": "SGDD"},
        "optim_wrapper",
    ),
    "training step that fails": ({"model.type": "FailsInTraining"}, "model → RuntimeError: mat1"),
    "validation step that fails": ({"model.type": "FailsInValidation"}, "model → RuntimeError: no"),
    "metric that fails": ({"val_evaluator.type": "Divides"}, "val_evaluator → ZeroDivisionError"),
    "file that cannot be written": (
        {"custom_hooks": [{"type": "BadSaving"}]},
        "custom_hooks → RuntimeError: nothing to save here",
    ),
}


def checked(cfg: dict[str, Any], changes: dict[str, Any], build: bool = True) -> Report:
    whole = Config(cfg)
    whole.merge_from_dict({k: v for k, v in changes.items() if "." in k})
    for key, value in changes.items():
        if "." not in key:
            whole[key] = value
    return check_config(whole, (lambda folder: trial_runner(whole, folder)) if build else None)


def wrong(report: Report) -> list[str]:
    return [str(fault) for fault in report.faults if fault.severity != "note"]


@pytest.mark.parametrize("name", PLANTED)
def test_each_planted_fault_is_found(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    changes, said = PLANTED[name]
    report = checked(config(tmp_path / "work"), changes)
    assert any(said in line for line in wrong(report)), wrong(report)
    assert len({re.split("[. ]", f.path)[0] for f in report.faults if f.severity != "note"}) == 1
    assert list(tmp_path.iterdir()) == []


SOUND: dict[str, dict[str, Any]] = {
    "by epoch": {},
    "by iteration": {"train_cfg": BY_ITER, "default_hooks.checkpoint": SAVE_BY_ITER},
    "schedules": {
        "param_scheduler": [
            {"type": "LinearLR", "start_factor": 0.1, "by_epoch": False, "end": 9},
            {"type": "MultiStepLR", "milestones": [1, 2]},
        ]
    },
    "best": checkpoint(save_best="accuracy", max_keep_ckpts=2),
    "no validation": NO_VALIDATION,
    "one validation at each iteration": {
        "train_cfg": {"by_epoch": False, "max_iters": 3, "val_interval": 1},
        "default_hooks.checkpoint": {**SAVE_BY_ITER, "interval": 1},
    },
}


@pytest.mark.parametrize("name", SOUND)
def test_a_sound_config_has_no_fault(name, tmp_path):
    report = checked(config(tmp_path / "work"), SOUND[name])
    assert wrong(report) == []
    assert dict(report.rows)["iterations"].startswith(("27 of 8", "20 of 8", "3 of 8"))
    assert list(tmp_path.iterdir()) == []


def test_the_table(tmp_path):
    rows = checked(config(tmp_path / "work"), SOUND["schedules"]).rows
    rates = [value for what, value in rows if what == "lr"]
    assert rates == [
        "iterations 1 to 9: 0.01 → 0.1",
        "iterations 10 to 18: 0.01",
        "iterations 19 to 27: 0.001",
    ]
    shown = dict(rows)
    assert shown["validations"] == "3 of 4 batches, the first after 1 epochs"
    assert shown["checkpoints"].startswith("3 written, 3 kept of ")
    assert "per iteration" in shown["time"]


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    report = checked(config(tmp_path / "file" / "work"), {}, build=False)
    assert [fault.path for fault in report.faults] == ["work_dir"]


def test_a_sampler_that_has_drawn_its_own_seed(tmp_path):
    loader = DataLoader(Points(), 8, sampler=DefaultSampler(Points()))
    report = checked(config(tmp_path / "work"), {"train_dataloader": loader})
    assert [fault.path for fault in report.faults] == ["train_dataloader.sampler.seed"]


def everything(runner: Any) -> dict[str, Any]:
    """Return what a trial might change."""
    return {
        "weights": {k: v.clone() for k, v in runner.model.state_dict().items()},
        "torch": torch.get_rng_state().tolist(),
        "numpy": str(np.random.get_state()),
        "python": random.getstate(),
        "environment": dict(os.environ),
        "folder": os.getcwd(),
        "files": sorted(map(str, Path(runner.work_dir).rglob("*"))),
        "loggers": runner.logger,
        "hooks": list(runner.hooks),
        "loops": copy.copy(runner._run.loops),
    }


TRAINED: dict[str, Scenario] = {
    "momentum, multistep, workers": Scenario(
        optim_wrapper={"optimizer": {"type": "SGD", "lr": 0.1, "momentum": 0.9}},
        param_scheduler=[{"type": "MultiStepLR", "milestones": [1, 2]}],
        workers=2,
    ),
    "average, accumulation, by iteration": Scenario(
        optim_wrapper={"optimizer": {"type": "AdamW", "lr": 0.01}, "accumulative_counts": 2},
        train_cfg={"by_epoch": False, "max_iters": 12, "val_interval": 5},
        sampler={"type": "InfiniteSampler", "shuffle": True},
        custom_hooks=[{"type": "EMAHook"}],
        default_hooks={"checkpoint": SAVE_BY_ITER},
    ),
    "two optimizers": Scenario(
        model="pair",
        optim_wrapper={
            "generator": {"optimizer": {"type": "Adam", "lr": 0.01}},
            "discriminator": {"optimizer": {"type": "Adam", "lr": 0.02}},
        },
    ),
}


@pytest.mark.parametrize("name", TRAINED)
def test_training_after_a_check_gives_the_same_bits(name, tmp_path):
    results = []
    for with_check in (False, True):
        book: dict[str, list] = {
            key: [] for key in ("loss", "lr", "momentum", "metrics", "place", "validated_at")
        }
        runner = build("mm2pl", TRAINED[name], str(tmp_path / str(with_check)), book)
        if with_check:
            before = everything(runner)
            assert wrong(runner.check()) == []
            after = everything(runner)
            weights = before.pop("weights"), after.pop("weights")
            assert all(torch.equal(weights[0][k], weights[1][k]) for k in weights[0])
            assert after == before
            for lines in book.values():  # the recorder writes to a variable outside of it
                lines.clear()
        runner.train()
        results.append((book, runner.model.state_dict(), torch.get_rng_state()))
    (book, weights, rng), (checked_book, checked_weights, checked_rng) = results
    assert book["loss"]
    assert checked_book == book
    assert all(torch.equal(checked_weights[k], weights[k]) for k in weights)
    assert torch.equal(checked_rng, rng)


def test_live_parts_are_left_alone(tmp_path):
    set_random_seed(0)
    model = models("mm2pl")["plain"]()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    cfg = {**config(tmp_path / "work"), "model": model, "log_level": "ERROR"}
    runner = Runner(**{**cfg, "optim_wrapper": OptimWrapper(optimizer)})
    before = hexed([float(p.sum()) for p in model.parameters()])
    assert wrong(runner.check()) == []
    assert hexed([float(p.sum()) for p in model.parameters()]) == before
    assert optimizer.state == {}
