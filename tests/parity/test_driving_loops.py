"""Loops with their own ``run`` or ``run_epoch``, bit for bit as under MMEngine."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.loops.driving import loader_dict, loops, sampling_evaluator, train_by_hand
from tests.loops.inventions import inventions
from tests.loops.two_processes import CASES
from tests.processes import trained
from tests.scenarios import Scenario, accuracy, assert_equal, build, record

pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("ignore")]

SGD = {"optimizer": {"type": "SGD", "lr": 0.05, "momentum": 0.9, "weight_decay": 1e-4}}
SCHEDULES = [
    {"type": "LinearLR", "start_factor": 0.1, "by_epoch": False, "end": 6},
    {"type": "MultiStepLR", "milestones": [1, 2], "by_epoch": True},
]
PAIR = {
    "generator": {"optimizer": {"type": "Adam", "lr": 1e-3}},
    "discriminator": {"optimizer": {"type": "SGD", "lr": 0.01, "momentum": 0.5}},
}
EPOCHS = {"by_epoch": True, "max_epochs": 3}


def scenario(package: str, name: str) -> Scenario:
    """Make the run of one loop, with the hooks that look at a loop most."""
    made, stage, settings = {**loops(package), **inventions(package)}[name], *LOOPS[name]
    if name == "own samplers":  # by their names, as the configs of projects have them
        base = importlib.import_module(f"{package}.registry")
        evaluator = sampling_evaluator(importlib.import_module(f"{package}.evaluator"))
        base.EVALUATOR.register_module(name="Sampling", module=evaluator, force=True)
        base.LOOPS.register_module(name="OwnSamplers", module=made, force=True)
        made = "OwnSamplers"
    given = {"type": made, **settings}
    by_iter = "max_iters" in settings
    monitor = {"teacher and student": "teacher/accuracy", "own samplers": "b/accuracy"}.get(
        name, "accuracy"
    )
    metric = accuracy(package)
    several = {
        "many sets": {
            "val_dataloader": [loader_dict(30), loader_dict(21)],
            "val_evaluator": [{"type": metric}, [{"type": metric}]],
        },
        "several loaders": {
            "train_dataloader": [loader_dict(70, shuffle=True), loader_dict(20, shuffle=True)]
        },
        "tests too": {
            "test_dataloader": loader_dict(26),
            "test_cfg": {},
            "test_evaluator": {"type": metric},
        },
        "own samplers": {
            "val_dataloader": [loader_dict(30), loader_dict(21)],
            "val_evaluator": [
                {"type": "Sampling", "metrics": [{"type": metric, "prefix": prefix}]}
                for prefix in ("a", "b")
            ],
        },
    }.get(name, {})
    return Scenario(
        optim_wrapper=PAIR if name == "critics" else SGD,
        model="pair" if name == "critics" else "plain",
        param_scheduler=None if name == "critics" else SCHEDULES,
        train_cfg=given if stage == "train" else EPOCHS,
        options={"val_cfg": given if stage == "val" else {}, **several},
        custom_hooks=[
            {"type": "EMAHook", "momentum": 0.1},
            {"type": "EarlyStoppingHook", "monitor": monitor, "patience": 2, "min_delta": 0.5},
        ],
        default_hooks={
            "checkpoint": {
                "type": "CheckpointHook",
                "interval": 7 if by_iter else 1,
                "by_epoch": not by_iter,
                "save_best": monitor,
                "rule": "greater",
            }
        },
    )


LOOPS: dict[str, tuple[str, dict[str, Any]]] = {
    "by epochs": ("train", {"max_epochs": 4}),
    "by iterations": ("train", {"max_iters": 23, "val_interval": 7, "dynamic_intervals": [(10, 2)]}),
    "two loaders": ("train", {"max_epochs": 3, "other": loader_dict(50, shuffle=True)}),
    "curriculum": ("train", {"max_epochs": 3}),
    "search": ("train", {"max_epochs": 3}),
    "critics": ("train", {"max_iters": 11, "val_interval": 4}),
    "tries again": ("train", {"max_epochs": 3}),
    "from the base": ("train", {"epochs": 3}),
    "teacher and student": ("val", {}),
    "many sets": ("val", {}),
    "own samplers": ("val", {}),
    "retrieval": ("val", {"prototypes": loader_dict(16)}),
    "several loaders": ("train", {"max_epochs": 3}),
    "within the epoch": ("train", {"max_epochs": 4}),
    "phases": ("train", {"max_iters": 8}),
    "leaves out": ("train", {"max_epochs": 2}),
    "tests too": ("train", {"max_epochs": 4}),
    "folds": ("train", {"max_epochs": 4}),
}  # fmt: skip


@pytest.mark.parametrize("name", LOOPS)
def test_a_run_is_mmengines(name: str, tmp_path: Path, quick_runs: None) -> None:
    ours, theirs = (
        record(package, scenario(package, name), str(tmp_path / package))
        for package in ("mm2pl", "mmengine")
    )
    assert len(theirs["loss"]) >= 8
    assert theirs["metrics"]
    assert_equal(ours, theirs)


@pytest.mark.parametrize("name", ["two loaders", "by iterations", "from the base"])
def test_loops_of_the_real_mmengine_drive(name: str, tmp_path: Path, quick_runs: None) -> None:
    theirs = record("mmengine", scenario("mmengine", name), str(tmp_path / "mmengine"))
    given = scenario("mm2pl", name)
    given.train_cfg["type"] = loops("mmengine")[name]
    assert_equal(record("mm2pl", given, str(tmp_path / "mm2pl")), theirs)


SCRIPT = Path(__file__).resolve().parents[1] / "loops" / "two_processes.py"


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, Any]]]:
    """What each of two processes has recorded of all cases, by package."""
    folder = tmp_path_factory.mktemp("two")
    recorded = {}
    for package in ("mmengine", "mm2pl"):
        trained(SCRIPT, package, folder, timeout=600)
        # Our own files of this run, with more than tensors in them.
        files = [folder / f"{package}_{rank}.pt" for rank in (0, 1)]
        recorded[package] = [torch.load(file, weights_only=False) for file in files]
    return recorded


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_two_processes_are_mmengines(case: str, two_processes: dict[str, Any]) -> None:
    theirs, ours = ([each[case] for each in two_processes[key]] for key in ("mmengine", "mm2pl"))
    for mine, other in zip(ours, theirs, strict=True):
        assert len(mine["loss"]) >= 9
        assert_equal(mine, other)
    assert ours[0]["loss"] != ours[1]["loss"]
    for name, value in ours[0]["weights"].items():
        # Running means are each process's own.
        assert "running" in name or torch.equal(value, ours[1]["weights"][name]), name


@pytest.mark.parametrize("name", ["by iterations", "two loaders", "teacher and student"])
def test_a_flexible_runner_is_mmengines(name: str, tmp_path: Path, quick_runs: None) -> None:
    ours, theirs = (
        record(package, flexible(package, name), str(tmp_path / package))
        for package in ("mm2pl", "mmengine")
    )
    assert len(theirs["loss"]) >= 12
    assert_equal(ours, theirs)


def flexible(package: str, name: str) -> Scenario:
    """Return the scenario of a loop for MMEngine's other runner."""
    given = scenario(package, name)
    runner = importlib.import_module(f"{package}.runner").FlexibleRunner

    def make(model: Any, **arguments: Any) -> Any:
        return runner(model, strategy={"type": "SingleDeviceStrategy"}, **arguments)

    given.options["runner_class"] = make
    return given


def by_hand(package: str, folder: str) -> dict[str, Any]:
    """Train by hand; return what was recorded, what the weights are and what is in the file."""
    book: dict[str, list] = {
        key: [] for key in ("loss", "lr", "momentum", "metrics", "place", "validated_at")
    }
    given = scenario(package, "by epochs")
    given.train_cfg = EPOCHS
    runner = build(package, given, folder, book)
    train_by_hand(runner)
    file = torch.load(f"{folder}/epoch_2.pth", weights_only=False)
    kept = {name: sorted(file["optimizer"]["state"][0]) for name in ("optimizer",)}
    return {**book, "file": [file["meta"]["iter"], kept], "weights": runner.model.state_dict()}


def test_a_loop_outside_any_class_is_mmengines(tmp_path: Path, quick_runs: None) -> None:
    ours, theirs = (by_hand(package, str(tmp_path / package)) for package in ("mm2pl", "mmengine"))
    assert len(theirs["loss"]) == 18
    assert_equal(ours, theirs)
