"""What hooks, custom loops and the model's mode do in a validation or test, bit for bit."""

from __future__ import annotations

import importlib
import signal
from collections.abc import Callable
from typing import Any

import pytest
import torch

from tests.scenarios import Points, Scenario, accuracy, build

pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("ignore")]

VERBS = {"train": "val", "val": "val", "test": "test"}
"""Per verb of a runner: the stage that evaluates in it."""

TEST = {
    "batch_size": 8,
    "dataset": Points(30),
    "sampler": {"type": "DefaultSampler", "shuffle": False},
    "collate_fn": {"type": "default_collate"},
}


def runner_of(package: str, folder: Any, hook: Any, **options: Any) -> tuple[Any, dict[str, list]]:
    book: dict[str, list] = {
        key: [] for key in ("loss", "lr", "momentum", "metrics", "place", "validated_at")
    }
    scenario = Scenario(optim_wrapper={"optimizer": {"type": "SGD", "lr": 0.05}})
    test = {
        "test_dataloader": TEST,
        "test_cfg": {},
        "test_evaluator": {"type": accuracy(package)},
        "custom_hooks": [hook],
    }
    return build(package, scenario, str(folder), book, **{**test, **options}), book


def numbers(runner: Any) -> list[str]:
    """Return the weights, exactly."""
    return [value.double().sum().item().hex() for value in runner.model.state_dict().values()]


# A loop's own `run_iter`


def through_super(base: type, stage: str) -> Callable[..., None]:
    def run_iter(self: Any, idx: int, data_batch: Any) -> None:
        base.run_iter(self, idx, data_batch)  # type: ignore[attr-defined]

    return run_iter


def each_batch_twice(base: type, stage: str) -> Callable[..., None]:
    def run_iter(self: Any, idx: int, data_batch: Any) -> None:
        for _ in range(2):
            base.run_iter(self, idx, data_batch)  # type: ignore[attr-defined]

    return run_iter


def all_by_itself(base: type, stage: str) -> Callable[..., None]:
    @torch.no_grad()
    def run_iter(self: Any, idx: int, data_batch: Any) -> None:
        call_hook, given = self.runner.call_hook, {"batch_idx": idx, "data_batch": data_batch}
        call_hook(f"before_{stage}_iter", **given)
        outputs = getattr(self.runner.model, f"{stage}_step")(data_batch)
        self.evaluator.process(data_samples=outputs, data_batch=data_batch)
        call_hook(f"after_{stage}_iter", **given, outputs=outputs)

    return run_iter


def doubling_hook(package: str, calls: list[Any]) -> Any:
    """Make a hook that changes each batch in place, so that a second call shows in the metrics."""

    def before(self: Any, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        data_batch["inputs"] *= 2
        calls.append(("before", batch_idx, data_batch["inputs"].sum().item().hex()))

    def after(
        self: Any, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        calls.append(("after", batch_idx, [int(each["pred"]) for each in outputs]))

    methods = {
        f"{when}_{stage}_iter": call
        for when, call in (("before", before), ("after", after))
        for stage in ("val", "test")
    }
    return type("Doubling", (importlib.import_module(f"{package}.hooks").Hook,), methods)()


def run_with_own_loop(package: str, folder: Any, verb: str, own: Any) -> dict[str, Any]:
    stage, calls = VERBS[verb], []
    base = getattr(importlib.import_module(f"{package}.runner"), f"{stage.capitalize()}Loop")
    loop = type("Own", (base,), {"run_iter": own(base, stage)})
    hook = doubling_hook(package, calls)
    runner, book = runner_of(package, folder, hook, **{f"{stage}_cfg": {"type": loop}})
    returned = getattr(runner, verb)()
    results = None if verb == "train" else returned
    return {**book, "calls": calls, "results": results, "weights": numbers(runner)}


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("own", [through_super, each_batch_twice, all_by_itself])
def test_a_loops_own_run_iter_calls_the_hooks(own: Any, verb: str, tmp_path: Any) -> None:
    pytest.importorskip("mmengine")
    theirs = run_with_own_loop("mmengine", tmp_path / "theirs", verb, own)
    assert theirs["calls"]
    assert run_with_own_loop("mm2pl", tmp_path / "ours", verb, own) == theirs


# Train and eval mode

POINTS = [
    *("before_run", "after_run", "before_train", "after_train"),
    *(
        f"{when}_{mode}_{what}"
        for mode in ("train", "val", "test")
        for what in ("epoch", "iter")
        for when in ("before", "after")
    ),
    *("before_val", "after_val", "before_test", "after_test"),
]


def noting_hook(package: str, seen: list[Any], act: Any, *acts_at: str) -> Any:
    """Make a hook that writes down the model's mode at each point, and acts at some."""

    def at(point: str) -> Callable[..., None]:
        def method(self: Any, runner: Any, *args: Any, **kwargs: Any) -> None:
            seen.append((point, runner.iter, runner.model.training, runner.model.net[1].training))
            if point in acts_at:
                act(runner)

        return method

    base = importlib.import_module(f"{package}.hooks").Hook
    return type("Noting", (base,), {point: at(point) for point in POINTS})()


def forward_passes(runner: Any) -> None:
    """Do what PreciseBN does: forward passes, which move the statistics in train mode alone."""
    with torch.no_grad():
        for part in Points(24).points.split(8):
            runner.model.net(part)


def train_mode(runner: Any) -> None:
    runner.model.train()


def norm_in_train_mode(runner: Any) -> None:
    runner.model.net[1].train()


def validate(runner: Any) -> None:
    if runner.iter in (3, 12):
        runner.val()


def run_val_loop(runner: Any) -> None:
    if runner.iter in (3, 12):
        runner.val_loop.run()


ACTS = {
    "nothing": (None,),
    "PreciseBN before the validation": (forward_passes, "before_val", "before_test"),
    "PreciseBN before its epoch": (forward_passes, "before_val_epoch", "before_test_epoch"),
    "train() before the validation": (train_mode, "before_val", "before_test"),
    "train() before its epoch": (train_mode, "before_val_epoch", "before_test_epoch"),
    "train() within the validation": (train_mode, "before_val_iter", "before_test_iter"),
    "a norm in train mode afterwards": (norm_in_train_mode, "after_val", "after_test"),
    "val() within an epoch": (validate, "after_train_iter"),
    "a loop's run() within an epoch": (run_val_loop, "after_train_iter"),
}

CFG = {
    "epochs": {"by_epoch": True, "max_epochs": 3},
    "iterations": {"by_epoch": False, "max_iters": 15, "val_interval": 4},
}


def modes(package: str, folder: Any, by: str, acts: str) -> dict[str, Any]:
    seen: list[Any] = []
    hook = noting_hook(package, seen, *ACTS[acts])
    runner, book = runner_of(package, folder, hook, train_cfg=CFG[by])
    results, handler = [], signal.getsignal(signal.SIGTERM)
    for verb in ("train", "test", "val"):
        returned = getattr(runner, verb)()
        results.append(None if verb == "train" else returned)
        with torch.no_grad():
            used = runner.model.net(Points(5).points).sum().item().hex()
        seen.append((verb, runner.model.training, used, numbers(runner)))
    # A verb within a fit takes the handlers for its own, and so the fit has none to put back.
    signal.signal(signal.SIGTERM, handler)
    return {**book, "results": results, "seen": seen}


@pytest.mark.parametrize("by", CFG)
@pytest.mark.parametrize("acts", ACTS)
def test_the_mode_of_the_model_is_mmengines(acts: str, by: str, tmp_path: Any) -> None:
    pytest.importorskip("mmengine")
    theirs = modes("mmengine", tmp_path / "theirs", by, acts)
    assert {point for point, *_ in theirs["seen"]} >= {*POINTS}
    assert modes("mm2pl", tmp_path / "ours", by, acts) == theirs
