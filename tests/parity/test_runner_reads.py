"""What a Runner tells before it trains, as MMEngine's does, and that asking changes nothing."""

from __future__ import annotations

import importlib
import logging
from typing import Any

import pytest

from tests.scenarios import Scenario, assert_equal, build, record

pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("ignore")]

SGD = {"optimizer": {"type": "SGD", "lr": 0.05, "momentum": 0.9}}
SCENARIOS = {
    "epochs": Scenario(optim_wrapper=SGD, train_cfg={"by_epoch": True, "max_epochs": 2}),
    "iterations": Scenario(
        optim_wrapper=SGD,
        train_cfg={"by_epoch": False, "max_iters": 11, "val_interval": 4, "val_begin": 3},
        sampler={"type": "InfiniteSampler", "shuffle": True},
    ),
}


def told(runner: Any) -> dict[str, Any]:
    return {
        "counts": (runner.epoch, runner.iter, runner.max_epochs, runner.max_iters),
        "validation": (runner.val_interval, runner.val_begin),
        "loops": [type(getattr(runner, f"{s}_loop")).__name__ for s in ("train", "val", "test")],
        "loaders": (len(runner.train_dataloader), len(runner.val_dataloader)),
        "sampler": type(runner.train_dataloader.sampler).__name__,
        "metrics": [type(metric).__name__ for metric in runner.val_evaluator.metrics],
    }


def asked_and_trained(package: str, scenario: Scenario, folder: str) -> tuple[Any, Any]:
    """Read everything before the run and in ``before_run``, train, and return what was told and recorded."""
    seen: list[Any] = []

    class Asks(importlib.import_module(f"{package}.hooks").Hook):  # type: ignore[misc]
        def before_run(self, runner: Any) -> None:
            seen.append(told(runner))

    keys = ("loss", "lr", "momentum", "metrics", "place", "validated_at")
    book: dict[str, Any] = {key: [] for key in keys}
    level = logging.root.level
    runner = build(package, scenario, folder, book)
    seen.append(told(runner))
    runner.register_hook(Asks())
    runner.train()
    logging.root.setLevel(level)
    weights = {k: v.clone() for k, v in runner.model.state_dict().items()}
    return seen, {**book, "weights": weights}


@pytest.mark.parametrize("name", SCENARIOS)
def test_what_a_runner_tells_before_it_trains(name: str, tmp_path: Any) -> None:
    pytest.importorskip("mmengine")
    ours, run = asked_and_trained("mm2pl", SCENARIOS[name], str(tmp_path / "ours"))
    theirs, their_run = asked_and_trained("mmengine", SCENARIOS[name], str(tmp_path / "theirs"))
    assert ours == theirs
    assert_equal(run, their_run)


@pytest.mark.parametrize("name", SCENARIOS)
def test_asking_changes_nothing(name: str, tmp_path: Any) -> None:
    _, asked = asked_and_trained("mm2pl", SCENARIOS[name], str(tmp_path / "asked"))
    assert_equal(asked, record("mm2pl", SCENARIOS[name], str(tmp_path / "plain")))


POINTS = (
    "before_train",
    "after_train_iter",
    "after_train_epoch",
    "before_val_epoch",
    "after_val_epoch",
)


def intervals_read(package: str, train_cfg: dict[str, Any], folder: str) -> list[Any]:
    """Train, and return ``val_interval`` as hooks read it at each point of the run."""
    seen: list[Any] = []

    def reading(point: str) -> Any:
        return lambda self, runner, **_: seen.append((point, runner.iter, runner.val_interval))

    base = importlib.import_module(f"{package}.hooks").Hook
    hook = type("Reads", (base,), {point: reading(point) for point in POINTS})()
    record(package, Scenario(optim_wrapper=SGD, train_cfg=train_cfg, custom_hooks=[hook]), folder)
    return seen


DYNAMIC = {
    "epochs": {"by_epoch": True, "max_epochs": 5, "val_interval": 3, "dynamic_intervals": [(3, 1)]},
    "iterations": {
        "by_epoch": False,
        "max_iters": 12,
        "val_interval": 5,
        "dynamic_intervals": [(1, 4), (9, 2)],
    },
}


@pytest.mark.parametrize("name", DYNAMIC)
def test_val_interval_changes_when_mmengines_does(name: str, tmp_path: Any) -> None:
    pytest.importorskip("mmengine")
    ours = intervals_read("mm2pl", DYNAMIC[name], str(tmp_path / "ours"))
    assert ours == intervals_read("mmengine", DYNAMIC[name], str(tmp_path / "theirs"))
    assert len({interval for *_, interval in ours}) > 1
