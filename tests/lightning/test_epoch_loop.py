"""The lean loop over an epoch's batches does what Lightning's does."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule
from lightning.pytorch.loggers.logger import DummyLogger
from lightning.pytorch.loops.training_epoch_loop import _TrainingEpochLoop
from lightning.pytorch.profilers import SimpleProfiler

from mm2pl.lightning import private
from mm2pl.lightning.epoch_loop import LeanEpochLoop
from tests.scenarios import Scenario, build

pytestmark = [
    pytest.mark.filterwarnings("ignore:Converting a tensor with requires_grad"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]

RUNS: dict[str, dict[str, Any]] = {
    "by-epoch": {"train_cfg": {"by_epoch": True, "max_epochs": 2}},
    "by-iteration": {"train_cfg": {"by_epoch": False, "max_iters": 14, "val_interval": 5}},
    "accumulation": {
        "train_cfg": {"by_epoch": True, "max_epochs": 2},
        "optim_wrapper": {"optimizer": {"type": "Adam", "lr": 0.01}, "accumulative_counts": 4},
    },
}
BATCH_HOOKS = (
    "on_train_batch_start",
    "on_before_backward",
    "on_after_backward",
    "on_before_optimizer_step",
    "on_train_batch_end",
    "on_validation_start",
    "on_validation_end",
)


class Recorder(Callback):
    """Note where the Trainer stands whenever it calls, and log a value as users do."""

    def __init__(self) -> None:
        self.calls: list[Any] = []


def _recorded(name: str) -> Any:
    def hook(self: Recorder, trainer: Any, pl_module: Any, *args: Any) -> None:
        loop = trainer.fit_loop.epoch_loop
        place = (name, pl_module._current_fx_name, trainer.global_step, trainer.is_last_batch)
        counts = (loop.batch_progress.state_dict(), loop._batches_that_stepped)
        inputs = [arg for arg in args if isinstance(arg, int)]
        counting = [o._on_before_step.__name__ for o in trainer.strategy._lightning_optimizers]
        self.calls.append((place, counts, inputs, counting))
        if name == "on_train_batch_end":
            pl_module.log("seen", float(args[-1]), on_step=True, on_epoch=True)

    return hook


for _name in BATCH_HOOKS:
    setattr(Recorder, _name, _recorded(_name))


class Ledger(DummyLogger):
    """Keep what Lightning sends to loggers."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[Any] = []

    def log_metrics(self, metrics: Any, step: int | None = None, **kwargs: Any) -> None:
        self.lines.append((metrics.get("seen_step"), metrics.get("seen_epoch"), step))


def built(tmp_path: Any, **settings: Any) -> Any:
    book: dict[str, list] = {
        key: [] for key in ("loss", "lr", "momentum", "metrics", "place", "validated_at")
    }
    settings = {"optim_wrapper": {"optimizer": {"type": "SGD", "lr": 0.1}}, **settings}
    return build("mm2pl", Scenario(**settings), str(tmp_path), book)


def run(tmp_path: Any, scenario: dict[str, Any], *callbacks: Callback) -> Any:
    runner = built(tmp_path, **scenario)
    runner.trainer.callbacks.extend(callbacks)
    runner.trainer.loggers = [Ledger()]
    runner.trainer.log_every_n_steps = 3
    step, runner.steps_as = runner.module.driver.train, set()

    def step_model(*args: Any) -> Any:
        runner.steps_as.add(runner.module._current_fx_name)
        return step(*args)

    runner.module.driver.train = step_model
    runner.train()
    return runner


@pytest.mark.parametrize("scenario", RUNS.values(), ids=RUNS)
def test_the_same_calls_as_lightnings_own_loop(tmp_path, monkeypatch, scenario) -> None:
    ours, theirs = Recorder(), Recorder()
    lean = run(tmp_path / "ours", scenario, ours)
    monkeypatch.setattr(private, "KNOWN", ("0.",))
    full = run(tmp_path / "theirs", scenario, theirs)
    assert lean.trainer.fit_loop.epoch_loop.lean
    assert not isinstance(full.trainer.fit_loop.epoch_loop, LeanEpochLoop)
    assert {call[0][0] for call in ours.calls} == set(BATCH_HOOKS)
    assert ours.calls == theirs.calls
    for part, state in lean.trainer.fit_loop.state_dict().items():
        if part != "state_dict":  # the data's, which holds a random state
            assert state == full.trainer.fit_loop.state_dict()[part], part
    assert lean.steps_as == full.steps_as == {"training_step"}
    assert lean.trainer.loggers[0].lines == full.trainer.loggers[0].lines
    logged, by_lightning = lean.trainer.callback_metrics, full.trainer.callback_metrics
    assert logged.keys() == by_lightning.keys() >= {"seen_step", "seen_epoch"}
    assert logged["seen_step"] == by_lightning["seen_step"]
    for name, value in lean.model.state_dict().items():
        assert torch.equal(value, full.model.state_dict()[name]), name


def test_a_plain_run_is_lean(tmp_path, monkeypatch) -> None:
    def refuse(self: Any, data_fetcher: Any) -> None:
        raise AssertionError("Lightning's own loop ran")

    monkeypatch.setattr(_TrainingEpochLoop, "advance", refuse)
    assert run(tmp_path, RUNS["by-epoch"]).epoch == 2


def test_the_module_can_end_an_epoch(tmp_path) -> None:
    runner = built(tmp_path, train_cfg={"by_epoch": False, "max_iters": 14, "val_interval": 50})
    runner.module.on_train_batch_start = lambda batch, batch_idx: -1 if batch_idx == 3 else None
    runner.train()
    assert runner.iter == 3


class Ends:
    """An object that can be called, as a profiler or a mock puts it in a method's place."""

    def __call__(self, batch: object, batch_idx: int) -> int | None:
        return -1 if batch_idx == 3 else None


def wrapped(batch: object, batch_idx: int) -> int | None:
    return Ends()(batch, batch_idx)


wrapped.__wrapped__ = LightningModule.on_train_batch_start  # type: ignore[attr-defined]


@pytest.mark.parametrize("method", [Ends(), wrapped], ids=["object", "wraps"])
def test_a_hook_of_any_kind_is_called(tmp_path, method) -> None:
    runner = built(tmp_path, train_cfg={"by_epoch": False, "max_iters": 14, "val_interval": 50})
    runner.module.on_train_batch_start = method
    runner.train()
    assert runner.iter == 3


def test_a_profiled_run_shows_lightnings_actions(tmp_path) -> None:
    runner = built(tmp_path, **RUNS["by-epoch"])
    runner.trainer.profiler = profiler = SimpleProfiler()
    runner.train()
    counts = {name: len(times) for name, times in profiler.recorded_durations.items()}
    assert counts["run_training_batch"] == 18
    assert counts["[Callback]RunDriver.on_train_batch_end"] == 18
