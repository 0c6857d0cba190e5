"""Whole runs in odd combinations, bit for bit: interfering hooks, short data, custom loops, several verbs."""

from __future__ import annotations

import functools
import importlib
from typing import Any

import pytest
import torch

from tests.scenarios import Points, Scenario, accuracy, assert_equal, build, models, record

pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("ignore")]

SGD = {"type": "SGD", "lr": 0.05, "momentum": 0.9, "weight_decay": 1e-4}
ADAM = {"type": "AdamW", "lr": 0.01}
WARMUP = {"type": "LinearLR", "start_factor": 0.1, "by_epoch": False, "begin": 0, "end": 6}
EMA = {"type": "EMAHook", "momentum": 0.05, "begin_iter": 4}
EPOCHS = {"by_epoch": True, "max_epochs": 3}
BOOK = ("loss", "lr", "momentum", "metrics", "place", "validated_at")


def hook(package: str, **methods: Any) -> Any:
    """Make a hook of the package's own class; ``priority`` may be among the methods."""
    base = importlib.import_module(f"{package}.hooks").Hook
    return type("Odd", (base,), methods)()


def scale_lr_every(n: int, factor: float):
    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if self.every_n_train_iters(runner, n):
            for group in runner.optim_wrapper.param_groups:
                group["lr"] *= factor

    return after_train_iter


def stop_at_12(self, runner, batch_idx, data_batch=None, outputs=None):
    if runner.iter == 12:
        runner.train_loop.stop_training = True


def switch_pipeline(self, runner):
    """As MMYOLO's PipelineSwitchHook: another pipeline from the second epoch on, in the workers too."""
    loader = runner.train_dataloader
    if runner.epoch == 1:
        loader.dataset.augment = False
        if loader.persistent_workers is True:
            loader._DataLoader__initialized = False
            loader._iterator = None
            self.restarted = True
    elif getattr(self, "restarted", False):
        loader._DataLoader__initialized = True


def validate_and_save_inside(self, runner, batch_idx, data_batch=None, outputs=None):
    if runner.iter == 4:
        runner.val_loop.run()
        runner.model.train()
    if runner.iter == 8:
        runner.save_checkpoint(runner.work_dir, "mine.pth", by_epoch=False)


def loader(**options: Any) -> dict[str, Any]:
    size = options.pop("size", 70)
    return {
        "batch_size": 8,
        "num_workers": 0,
        "dataset": Points(size),
        "collate_fn": {"type": "default_collate"},
        "sampler": {"type": "DefaultSampler", "shuffle": True},
        **options,
    }


def twice(package: str, by_epoch: bool) -> type:
    """Return a loop that trains twice on each batch, as MMEngine's tutorial has it."""
    name = "EpochBasedTrainLoop" if by_epoch else "IterBasedTrainLoop"
    base = getattr(importlib.import_module(f"{package}.runner"), name)

    def run_iter(self, *args):
        for _ in range(2):
            base.run_iter(self, *args)

    return type("TwiceLoop", (base,), {"run_iter": run_iter})


def on_sgd(**parts: Any) -> Scenario:
    return Scenario(**{"optim_wrapper": {"optimizer": SGD}, "param_scheduler": [WARMUP], **parts})


SCENARIOS = {
    "iterations: val_begin, intervals that change, an open window": lambda package: on_sgd(
        optim_wrapper={"optimizer": ADAM, "accumulative_counts": 3},
        train_cfg={
            "by_epoch": False,
            "max_iters": 22,
            "val_begin": 9,
            "val_interval": 5,
            "dynamic_intervals": [(8, 3), (15, 2)],
        },
    ),
    "iterations: fewer than an epoch has": lambda package: on_sgd(
        train_cfg={"by_epoch": False, "max_iters": 5, "val_interval": 100}
    ),
    "less data than a batch": lambda package: on_sgd(
        optim_wrapper={"optimizer": SGD, "accumulative_counts": 2},
        options={"train_dataloader": loader(size=5)},
        train_cfg={"by_epoch": True, "max_epochs": 5},
    ),
    "drop_last, and a part of the data": lambda package: on_sgd(
        options={"train_dataloader": loader(drop_last=True, num_batch_per_epoch=5)},
        param_scheduler={
            "type": "CosineAnnealingLR",
            "by_epoch": True,
            "convert_to_iter_based": True,
        },
    ),
    "hooks of several priorities change the lr": lambda package: on_sgd(
        custom_hooks=[
            hook(package, after_train_iter=scale_lr_every(3, 0.9)),
            hook(package, after_train_iter=scale_lr_every(4, 1.1), priority="LOWEST"),
            hook(package, after_train_iter=scale_lr_every(5, 0.7), priority=45),
        ],
        param_scheduler=[WARMUP, {"type": "StepLR", "step_size": 1, "gamma": 0.5}],
    ),
    "early stop with an average": lambda package: on_sgd(
        custom_hooks=[
            EMA,
            {"type": "EarlyStoppingHook", "monitor": "accuracy", "patience": 1, "min_delta": 0.2},
        ],
        train_cfg={"by_epoch": False, "max_iters": 40, "val_interval": 3},
    ),
    "a hook stops the run": lambda package: on_sgd(
        custom_hooks=[hook(package, after_train_iter=stop_at_12)]
    ),
    "a hook stops a run by iterations": lambda package: on_sgd(
        custom_hooks=[hook(package, after_train_iter=stop_at_12)],
        train_cfg={"by_epoch": False, "max_iters": 30, "val_interval": 7},
    ),
    "a pipeline switched in living workers": lambda package: on_sgd(
        custom_hooks=[hook(package, before_train_epoch=switch_pipeline)],
        options={"train_dataloader": loader(num_workers=1, persistent_workers=True)},
    ),
    "a hook validates and saves": lambda package: on_sgd(
        custom_hooks=[hook(package, after_train_iter=validate_and_save_inside, priority="LOW")]
    ),
    "twice per batch": lambda package: on_sgd(
        optim_wrapper={"optimizer": SGD, "accumulative_counts": 2},
        train_cfg={"type": twice(package, True), "max_epochs": 3, "val_interval": 2},
    ),
    "twice per batch, by iterations": lambda package: on_sgd(
        train_cfg={"type": twice(package, False), "max_iters": 21, "val_interval": 6}
    ),
    "logged in every iteration, no checkpoints, no schedules": lambda package: on_sgd(
        default_hooks={
            "logger": {"type": "LoggerHook", "interval": 1},
            "checkpoint": None,
            "param_scheduler": None,
            "sampler_seed": None,
        }
    ),
    "a model that only logs": lambda package: on_sgd(model="only_logs"),
}


@pytest.mark.parametrize("name", SCENARIOS)
def test_same_bits_as_mmengine(name, tmp_path):
    pytest.importorskip("mmengine")
    theirs = record("mmengine", SCENARIOS[name]("mmengine"), str(tmp_path / "theirs"))
    ours = record("mm2pl", SCENARIOS[name]("mm2pl"), str(tmp_path / "ours"))
    assert theirs["loss"], "MMEngine recorded nothing"
    assert_equal(ours, theirs)


# Runs of more than one verb


def start(package: str, work_dir: Any, scenario: Scenario | None = None, **options: Any):
    book: dict[str, list] = {key: [] for key in BOOK}
    runner = build(package, scenario or on_sgd(custom_hooks=[EMA]), str(work_dir), book, **options)
    return runner, book


def weights(runner: Any) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in runner.model.state_dict().items()}


def train_then_evaluate(package: str, folder: Any) -> Any:
    test = {
        "test_dataloader": loader(size=20, sampler={"type": "DefaultSampler", "shuffle": False}),
        "test_cfg": {},
        "test_evaluator": {"type": accuracy(package)},
    }
    runner, book = start(package, folder, **test)
    runner.train()
    return {**book, "results": [runner.test(), runner.val()], "weights": weights(runner)}


def resume_with_fewer_epochs(package: str, folder: Any) -> Any:
    start(package, folder)[0].train()
    scenario = on_sgd(custom_hooks=[EMA], train_cfg={"by_epoch": True, "max_epochs": 2})
    runner, book = start(package, folder, scenario, resume=True)
    runner.train()
    return {**book, "ends": [runner.epoch, runner.iter], "weights": weights(runner)}


def start_from_an_average(package: str, folder: Any) -> Any:
    start(package, folder / "first")[0].train()
    source = str(folder / "first" / "epoch_3.pth")
    runner, book = start(package, folder / "second", load_from=source)
    runner.train()
    return {**book, "weights": weights(runner)}


def train_again_after_an_exception(package: str, folder: Any) -> Any:
    def fail_once(self, runner, batch_idx, data_batch=None, outputs=None):
        if runner.iter == 12 and not failures:
            failures.append(runner.iter)
            raise InterruptedError

    failures: list[int] = []
    runner, book = start(package, folder)
    runner.register_hook(hook(package, after_train_iter=fail_once))
    with pytest.raises(InterruptedError):
        runner.train()
    runner.train()
    ends = [runner.epoch, runner.iter, sorted(path.name for path in folder.glob("*.pth"))]
    return {**book, "ends": ends, "weights": weights(runner)}


def flexible_runner(package: str, folder: Any) -> Any:
    cls = importlib.import_module(f"{package}.runner").FlexibleRunner
    torch.manual_seed(11)
    runner = cls(
        model=models(package)["plain"](),
        work_dir=str(folder),
        train_dataloader=loader(),
        train_cfg=EPOCHS,
        optim_wrapper={"optimizer": SGD},
        param_scheduler=[WARMUP],
        randomness={"seed": 5},
        strategy={"type": "SingleDeviceStrategy"},
        experiment_name=f"flexible-{package}",
        log_level="ERROR",
    )
    runner.train()
    return {"weights": weights(runner)}


@pytest.mark.parametrize(
    "job",
    [
        train_then_evaluate,
        resume_with_fewer_epochs,
        start_from_an_average,
        train_again_after_an_exception,
        flexible_runner,
    ],
    ids=lambda job: job.__name__,
)
def test_runs_of_more_than_one_verb(job, tmp_path, monkeypatch):
    pytest.importorskip("mmengine")
    monkeypatch.setattr(torch, "load", functools.partial(torch.load, weights_only=False))
    results = {p: job(p, tmp_path / p) for p in ("mmengine", "mm2pl")}
    assert_equal(results["mm2pl"], results["mmengine"])
