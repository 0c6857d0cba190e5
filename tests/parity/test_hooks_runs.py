"""Whole runs of both Runners: every hook call, every file, every line of the log."""

from __future__ import annotations

import dataclasses
import importlib
import json
import logging
import os
import re
from pathlib import Path

import pytest
import torch

from mm2pl.run.lock import LAST
from tests.scenarios import Scenario, accuracy, build

pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("ignore")]

PACKAGES = ("mm2pl", "mmengine")
SGD = {"optimizer": {"type": "SGD", "lr": 0.05, "momentum": 0.9}}
STEPS = {"type": "MultiStepLR", "milestones": [1, 3], "by_epoch": True}
BY_ITERATION = {"by_epoch": False, "max_iters": 11, "val_interval": 4}


@pytest.fixture(autouse=True)
def _restore_logging():
    level = logging.root.level
    yield
    logging.root.setLevel(level)


def spy(package, calls):
    """Return a hook that writes down every call of every point."""
    base = importlib.import_module(f"{package}.hooks").Hook

    def method_of(point):
        def method(self, runner, *args, **kwargs):
            names = ("batch_idx", "data_batch", "outputs")
            if not point.endswith("_iter"):
                names = ("checkpoint",) if "checkpoint" in point else ("metrics",)
            named = dict(zip(names, args, strict=False)) | kwargs
            detail = {key: sorted(named[key]) for key in ("metrics", "checkpoint") if key in named}
            detail.get("checkpoint", []).clear()
            outputs = named.get("outputs")
            size = len(outputs) if isinstance(outputs, dict | list) else None
            place = (runner.epoch, runner.iter) if runner._train_loop else None
            calls.append((point, place, named.get("batch_idx"), size, str(detail)))

        return method

    points = {point: method_of(point) for point in base.stages}
    return type("Spy", (base,), {**points, "priority": "LOWEST"})()


SCENARIOS = {
    "epochs": Scenario(optim_wrapper=SGD, train_cfg={"by_epoch": True, "max_epochs": 3}),
    "epochs, every second validated": Scenario(
        optim_wrapper=SGD, train_cfg={"by_epoch": True, "max_epochs": 3, "val_interval": 2}
    ),
    "iterations": Scenario(optim_wrapper=SGD, train_cfg=BY_ITERATION),
    "iterations, never ending sampler": Scenario(
        optim_wrapper=SGD,
        train_cfg=BY_ITERATION,
        sampler={"type": "InfiniteSampler"},
        default_hooks={"checkpoint": {"type": "CheckpointHook", "by_epoch": False, "interval": 5}},
    ),
    "best": Scenario(
        optim_wrapper=SGD,
        train_cfg={"by_epoch": True, "max_epochs": 4},
        default_hooks={
            "checkpoint": {
                "type": "CheckpointHook",
                "interval": 1,
                "save_best": "accuracy",
                "rule": "greater",
                "max_keep_ckpts": 2,
            }
        },
    ),
    "early stop": Scenario(
        optim_wrapper=SGD,
        train_cfg={"by_epoch": True, "max_epochs": 9},
        custom_hooks=[{"type": "EarlyStoppingHook", "monitor": "accuracy", "patience": 1}],
    ),
    "early stop by iteration": Scenario(
        optim_wrapper=SGD,
        train_cfg={"by_epoch": False, "max_iters": 30, "val_interval": 4},
        custom_hooks=[{"type": "EarlyStoppingHook", "monitor": "accuracy", "patience": 1}],
    ),
}


def run(package, scenario, work_dir, calls, level="INFO"):
    scenario = dataclasses.replace(scenario, param_scheduler=STEPS)
    book = {key: [] for key in ("loss", "lr", "momentum", "metrics", "place", "validated_at")}
    test = {
        "test_dataloader": {
            "batch_size": 8,
            "collate_fn": {"type": "default_collate"},
            "dataset": importlib.import_module("tests.scenarios").Points(20),
            "sampler": {"type": "DefaultSampler", "shuffle": False},
        },
        "test_cfg": {},
        "test_evaluator": {"type": accuracy(package)},
        "log_level": level,
    }
    runner = build(package, scenario, str(work_dir), book, **test)
    runner.register_hook(spy(package, calls))
    runner.train()
    trained = len(calls)
    runner.test()
    return runner, trained


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_call_of_every_hook(name, tmp_path):
    recorded = {}
    for package in PACKAGES:
        calls = recorded[package] = []
        run(package, SCENARIOS[name], tmp_path / package, calls, level="ERROR")
    for index, (ours, theirs) in enumerate(zip(*recorded.values(), strict=False)):
        assert ours == theirs, (
            f"call {index}, after {recorded['mmengine'][max(index - 3, 0) : index]}"
        )
    assert len(recorded["mm2pl"]) == len(recorded["mmengine"])


def files_of(work_dir, timestamp):
    found = set()
    for folder, _, names in os.walk(work_dir):
        for name in {*names} - {LAST}:  # what mm2pl leaves with a log: who trained there
            path = os.path.relpath(os.path.join(folder, name), work_dir)
            found.add(path.replace(timestamp, "TIME"))
    return found


def masked(text, runner):
    """Blank out what two runs cannot share: times, names, paths."""
    text = text.replace(runner.work_dir, "WORK").replace(runner.experiment_name, "NAME")
    text = re.sub(r"\d{4}[/-]\d\d[/-]\d\d \d\d:\d\d:\d\d", "CLOCK", text)
    text = text.replace(runner.timestamp, "TIME").replace("mm2pl", "PKG").replace("mmengine", "PKG")
    text = re.sub(r"eta: \S+", "eta: -", text)
    # The advice behind it is worded in each package's own way.
    text = re.sub(r"\w+ - (Reach the end of the dataloader).*", r"\1", text)
    return re.sub(r"(time: |memory: )[\d.]+", r"\1-", text)


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_same_files_and_the_same_log(name, tmp_path):
    files, lines, scalars = {}, {}, {}
    for package in PACKAGES:
        runner, _ = run(package, SCENARIOS[name], tmp_path / package, [])
        files[package] = files_of(runner.work_dir, runner.timestamp)
        log = Path(runner.log_dir if package == "mm2pl" else runner._log_dir)
        text = masked((log / f"{runner.timestamp}.log").read_text(), runner)
        start = text.index("Checkpoints will be saved")
        lines[package] = text[text.rindex("\n", 0, start) + 1 :].splitlines()
        scalars[package] = [
            {key: value for key, value in json.loads(line).items() if "time" not in key}
            for line in (log / "vis_data" / "scalars.json").read_text().splitlines()
        ]
        last = torch.load(Path(runner.work_dir, "last_checkpoint").read_text(), weights_only=False)
        hub = last["message_hub"]["runtime_info"]
        files[f"{package} best"] = {k: v for k, v in hub.items() if k.startswith("best_score")}
    assert files["mm2pl"] == files["mmengine"]
    assert files["mm2pl best"] == files["mmengine best"]
    assert scalars["mm2pl"] == scalars["mmengine"]
    assert lines["mm2pl"] == lines["mmengine"]


EMA = {
    "exponential": {"momentum": 0.05, "begin_iter": 4},
    "with buffers": {"momentum": 0.1, "update_buffers": True},
    "annealing": {"ema_type": "MomentumAnnealingEMA", "gamma": 10, "begin_epoch": 2},
    "stochastic": {"ema_type": "StochasticWeightAverage", "interval": 3},
}


def ema_scenario(name, max_epochs=3):
    return Scenario(
        optim_wrapper=SGD,
        train_cfg={"by_epoch": True, "max_epochs": max_epochs},
        custom_hooks=[{"type": "EMAHook", **EMA[name]}],
    )


@pytest.mark.parametrize("name", EMA)
def test_averages_in_files_and_metrics(name, tmp_path):
    results = []
    for package in PACKAGES:
        runner, _ = run(package, ema_scenario(name), tmp_path / package, [], level="ERROR")
        file = torch.load(tmp_path / package / "epoch_3.pth", weights_only=False)
        metrics = runner.message_hub.get_scalar("val/accuracy").data[0].tolist()
        results.append((file["state_dict"], file["ema_state_dict"], metrics))
    for ours, theirs in zip(results[0][:2], results[1][:2], strict=True):
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[key], theirs[key]) for key in theirs)
    assert results[0][2] == results[1][2]


@pytest.mark.parametrize("name", EMA)
def test_an_average_resumes_bit_for_bit(name, tmp_path):
    run("mm2pl", ema_scenario(name), tmp_path / "whole", [], level="ERROR")
    source = str(tmp_path / "whole" / "epoch_2.pth")
    scenario = dataclasses.replace(
        ema_scenario(name), options={"resume": True, "load_from": source}
    )
    run("mm2pl", scenario, tmp_path / "resumed", [], level="ERROR")
    files = [
        torch.load(tmp_path / folder / "epoch_3.pth", weights_only=True)
        for folder in ("whole", "resumed")
    ]
    for key in ("state_dict", "ema_state_dict"):
        first, second = (file[key] for file in files)
        assert all(torch.equal(first[name], second[name]) for name in first)


def check_invalid_loss(package):
    """Return the hook of MMEngine's tutorials."""
    base = importlib.import_module(f"{package}.hooks").Hook

    class CheckInvalidLossHook(base):
        def __init__(self, interval=50):
            self.interval = interval

        def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
            if self.every_n_train_iters(runner, self.interval):
                assert torch.isfinite(outputs["loss"]), f"loss is not finite at {runner.iter}"

    return CheckInvalidLossHook(interval=2)


def test_a_loss_that_diverges_is_caught_at_the_same_iteration(tmp_path):
    messages = []
    for package in PACKAGES:
        scenario = Scenario(
            optim_wrapper={"optimizer": {"type": "SGD", "lr": 1e30}},
            custom_hooks=[check_invalid_loss(package)],
        )
        with pytest.raises(AssertionError, match="loss is not finite at") as error:
            run(package, scenario, tmp_path / package, [], level="ERROR")
        messages.append(str(error.value).splitlines()[0])
    assert messages[0] == messages[1]
