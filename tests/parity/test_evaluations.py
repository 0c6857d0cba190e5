"""What hooks, custom loops and the model's mode do in a validation or test, bit for bit."""

from __future__ import annotations

import importlib
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
