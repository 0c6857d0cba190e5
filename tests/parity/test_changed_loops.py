"""What programs and hooks change about the loops of a run, before it and while it goes on, bit for bit."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.scenarios import Points, Scenario, assert_equal, build

pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("ignore")]

SGD = {"type": "SGD", "lr": 0.05, "momentum": 0.9, "weight_decay": 1e-4}
KEYS = ("loss", "lr", "momentum", "metrics", "place", "validated_at")
SCHEDULE = [{"type": "StepLR", "step_size": 1, "gamma": 0.5}]


def loader(runner: Any, size: int, batch_size: int = 8, shuffle: bool = True) -> Any:
    config = {
        "batch_size": batch_size,
        "num_workers": 0,
        "dataset": Points(size),
        "collate_fn": {"type": "default_collate"},
        "sampler": {"type": "DefaultSampler", "shuffle": shuffle},
    }
    return runner.build_dataloader(config, seed=3)


def hook(package: str, **methods: Any) -> Any:
    return type("Changing", (importlib.import_module(f"{package}.hooks").Hook,), methods)()


def run(
    package: str,
    folder: Path,
    before: Callable[[Any], None] = lambda runner: None,
    train_cfg: dict[str, Any] | None = None,
    **methods: Any,
) -> dict[str, Any]:
    """Train with a program that does ``before`` and a hook of these methods; return all that came of it."""
    book: dict[str, list] = {key: [] for key in KEYS}
    scenario = Scenario(
        optim_wrapper={"optimizer": SGD},
        param_scheduler=SCHEDULE,
        train_cfg=train_cfg or {"by_epoch": True, "max_epochs": 3},
        custom_hooks=[hook(package, **methods)],
    )
    runner = build(package, scenario, str(folder), book)
    before(runner)
    runner.train()
    ends = [runner.epoch, runner.iter, sorted(path.name for path in folder.glob("*.pth"))]
    weights = {name: value.clone() for name, value in runner.model.state_dict().items()}
    return {**book, "ends": ends, "weights": weights}


def assert_as_mmengine(folder: Path, **parts: Any) -> dict[str, Any]:
    pytest.importorskip("mmengine")
    theirs = run("mmengine", folder / "theirs", **parts)
    assert theirs["loss"], "MMEngine recorded nothing"
    assert_equal(run("mm2pl", folder / "ours", **parts), theirs)
    return theirs


@pytest.mark.parametrize("size", [24, 120], ids=["shorter", "longer"])
def test_a_loader_assigned_before_the_run(size: int, tmp_path: Path) -> None:
    def before(runner: Any) -> None:
        runner.train_loop.dataloader = loader(runner, size)

    theirs = assert_as_mmengine(tmp_path, before=before)
    # The data set of the config has 9 batches.
    assert theirs["ends"][:2] == [3, 3 * size // 8]


def once(point: str, epoch: int, change: Callable[[Any], None]) -> dict[str, Any]:
    """Return the method of a hook that changes something at a point, the first time in an epoch."""
    done: list[Any] = []

    def method(self: Any, runner: Any, *args: Any, **kwargs: Any) -> None:
        if runner.epoch == epoch and runner not in done:
            done.append(runner)
            change(runner)

    return {point: method}


def shorter(runner: Any) -> None:
    runner.train_loop.dataloader = loader(runner, 24)


def smaller_batches(runner: Any) -> None:
    runner.train_loop.dataloader.batch_sampler.batch_size = 4


@pytest.mark.parametrize(
    ("point", "epoch", "change", "iters"),
    [
        ("before_train", 0, shorter, 9),
        ("before_train_epoch", 0, shorter, 9),
        ("before_train_epoch", 1, shorter, 15),
        ("after_train_epoch", 1, shorter, 21),
        ("after_val_epoch", 1, shorter, 15),
        ("before_train_epoch", 1, smaller_batches, 45),
    ],
)
def test_a_hook_changes_the_training_loader(
    point: str, epoch: int, change: Any, iters: int, tmp_path: Path
) -> None:
    theirs = assert_as_mmengine(tmp_path, **once(point, epoch, change))
    assert theirs["ends"][:2] == [3, iters]


def smaller_validation(runner: Any) -> None:
    runner.val_loop.dataloader = loader(runner, 11, shuffle=False)


def single_samples(runner: Any) -> None:
    runner.val_loop.dataloader.batch_sampler.batch_size = 1


def other_validation(runner: Any) -> None:
    parts = {"dataloader": loader(runner, 13, 2, shuffle=False)}
    evaluator = runner.build_evaluator(runner._val_evaluator)
    runner._val_loop = runner.build_val_loop({"type": "ValLoop", **parts, "evaluator": evaluator})


@pytest.mark.parametrize("change", [smaller_validation, single_samples, other_validation])
@pytest.mark.parametrize("point", ["before_train_epoch", "before_val", "before_val_epoch"])
def test_a_hook_changes_the_validation(point: str, change: Any, tmp_path: Path) -> None:
    assert_as_mmengine(tmp_path, **once(point, 1, change))


def skip_odd(runner: Any) -> None:
    step = runner.train_loop.run_iter

    def run_iter(*args: Any) -> None:
        step(*args)
        if len(runner.message_hub.get_scalar("train/loss").data[0]) % 2:
            step(*args)  # twice on every second batch

    runner.train_loop.run_iter = run_iter


BY_ITER = {"by_epoch": False, "max_iters": 20, "val_interval": 6}


@pytest.mark.parametrize("train_cfg", [None, BY_ITER], ids=["by epoch", "by iteration"])
@pytest.mark.parametrize("point", ["before", "before_train_epoch", "after_train_iter"])
def test_a_step_that_is_assigned(point: str, train_cfg: Any, tmp_path: Path) -> None:
    when = {"before": skip_odd} if point == "before" else once(point, 0, skip_odd)
    assert_as_mmengine(tmp_path, train_cfg=train_cfg, **when)


def test_an_epoch_that_is_assigned(tmp_path: Path) -> None:
    def before(runner: Any) -> None:
        loop = runner.train_loop
        epoch = loop.run_epoch

        def run_epoch() -> None:
            for _ in range(1 + loop.epoch % 2):
                epoch()

        loop.run_epoch = run_epoch

    assert_as_mmengine(tmp_path, before=before)


@pytest.mark.parametrize("by_epoch", [True, False], ids=["by epoch", "by iteration"])
def test_an_own_interval_of_validations_holds_at_once(by_epoch: bool, tmp_path: Path) -> None:
    def decide(self: Any) -> None:
        count = self._epoch if by_epoch else self._iter
        self.val_interval = 1 if count > 2 * (1 if by_epoch else 5) else 2

    def before(runner: Any) -> None:
        base = type(runner.train_loop)
        runner.train_loop.__class__ = type("Own", (base,), {"_decide_current_val_interval": decide})

    cfg = {"by_epoch": True, "max_epochs": 5} if by_epoch else BY_ITER
    theirs = assert_as_mmengine(tmp_path, before=before, train_cfg=cfg)
    assert len(theirs["validated_at"]) == (4 if by_epoch else 15)


def one_epoch_on(runner: Any) -> None:
    runner.train_loop._epoch += 1
    runner.train_loop._iter += 9


@pytest.mark.parametrize(("point", "epoch"), [("before_train", 0), ("after_train_epoch", 1)])
def test_a_hook_moves_the_counters(point: str, epoch: int, tmp_path: Path) -> None:
    cfg = {"by_epoch": True, "max_epochs": 4}
    theirs = assert_as_mmengine(tmp_path, train_cfg=cfg, **once(point, epoch, one_epoch_on))
    assert theirs["ends"][:2] == [4, 36]
    assert len(theirs["loss"]) == 27


def test_a_hook_moves_the_counter_of_a_run_by_iterations(tmp_path: Path) -> None:
    def five_on(runner: Any) -> None:
        runner.train_loop._iter = 5

    def before(runner: Any) -> None:
        # MMEngine loads the batches that it leaves out, and we do not, which is seen where they draw random numbers.
        runner.train_loop.dataloader.dataset.augment = False

    moved = once("before_train", 0, five_on)
    theirs = assert_as_mmengine(tmp_path, before=before, train_cfg=BY_ITER, **moved)
    assert len(theirs["loss"]) == 15
