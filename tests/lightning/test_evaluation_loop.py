"""The lean loop over a validation's batches does what Lightning's does."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
from lightning.pytorch import Callback
from lightning.pytorch.loggers.logger import DummyLogger
from lightning.pytorch.loops.evaluation_loop import _EvaluationLoop
from lightning.pytorch.profilers import SimpleProfiler

from mm2pl.hooks import Hook
from mm2pl.lightning import private
from mm2pl.lightning.evaluation_loop import LeanEvaluationLoop
from tests.scenarios import Points, Scenario, accuracy, build

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

STAGES = ("start", "batch_start", "batch_end", "end")


class Recorder(Callback):
    """Note where the Trainer stands whenever it calls, and log a value as users do."""

    def __init__(self) -> None:
        self.calls: list[Any] = []


def _recorded(name: str) -> Any:
    def hook(self: Recorder, trainer: Any, pl_module: Any, *args: Any) -> None:
        loop = trainer._active_loop
        counts = (loop.batch_progress.state_dict(), loop._has_run, trainer.state.stage)
        outputs = [arg for arg in args if isinstance(arg, (int, list))]
        self.calls.append((name, pl_module._current_fx_name, counts, str(outputs)))
        if name.endswith("batch_end"):
            pl_module.log("seen", float(args[2]), on_step=True, on_epoch=True, batch_size=1)

    return hook


for _stage in STAGES:
    for _mode in ("validation", "test"):
        setattr(Recorder, f"on_{_mode}_{_stage}", _recorded(f"on_{_mode}_{_stage}"))


class Ledger(DummyLogger):
    """Keep what Lightning sends to loggers."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[Any] = []

    def log_metrics(self, metrics: Any, step: int | None = None, **kwargs: Any) -> None:
        self.lines.append(({k: float(v) for k, v in metrics.items() if "seen" in k}, step))


def built(tmp_path: Any, *callbacks: Callback) -> Any:
    scenario = Scenario(
        optim_wrapper={"optimizer": {"type": "SGD", "lr": 0.1}},
        train_cfg={"by_epoch": True, "max_epochs": 2},
    )
    book: dict[str, list] = {
        key: [] for key in ("loss", "lr", "momentum", "metrics", "place", "validated_at")
    }
    test: dict[str, Any] = {"test_cfg": {}, "test_evaluator": {"type": accuracy("mm2pl")}}
    runner = build("mm2pl", scenario, str(tmp_path), book, **test, test_dataloader=LOADER)
    runner.trainer.callbacks.extend(callbacks)
    runner.trainer.loggers = [Ledger()]
    runner.book = book
    return runner


LOADER: dict[str, Any] = {
    "batch_size": 8,
    "dataset": Points(30),
    "sampler": {"type": "DefaultSampler", "shuffle": False},
    "collate_fn": {"type": "default_collate"},
}


def loops_of(trainer: Any) -> dict[str, Any]:
    fit = trainer.fit_loop.epoch_loop.val_loop
    return {"train": fit, "val": trainer.validate_loop, "test": trainer.test_loop}


@pytest.mark.parametrize("verb", ["train", "val", "test"])
def test_the_same_calls_as_lightnings_own_loop(tmp_path, monkeypatch, verb) -> None:
    ours, theirs = Recorder(), Recorder()
    lean = built(tmp_path / "ours", ours)
    metrics = getattr(lean, verb)()
    monkeypatch.setattr(private, "KNOWN", ("0.",))
    full = built(tmp_path / "theirs", theirs)
    by_lightning = getattr(full, verb)()
    assert loops_of(lean.trainer)[verb].lean
    assert not isinstance(loops_of(full.trainer)[verb], LeanEvaluationLoop)
    # Thirty points in batches of 8, and a start and an end; training validates twice.
    assert len(ours.calls) == (2 if verb == "train" else 1) * (4 * 2 + 2)
    assert ours.calls == theirs.calls
    assert lean.trainer.loggers[0].lines == full.trainer.loggers[0].lines
    logged, others = lean.trainer.callback_metrics, full.trainer.callback_metrics
    assert logged.keys() == others.keys() >= {"seen_epoch", "accuracy"}
    for name in logged.keys() - {"time", "data_time"}:
        assert logged[name] == others[name], name
    state, other = (loops_of(each.trainer)[verb].state_dict() for each in (lean, full))
    assert state == other
    assert lean.book["metrics"] == full.book["metrics"]
    assert verb == "train" or metrics == by_lightning


def test_a_profiled_validation_shows_lightnings_actions(tmp_path) -> None:
    runner = built(tmp_path)
    runner.trainer.profiler = profiler = SimpleProfiler()
    runner.val()
    counts = {name: len(times) for name, times in profiler.recorded_durations.items()}
    assert counts["[Strategy]SingleDeviceStrategy.validation_step"] == 4
    assert counts["[Callback]RunDriver.on_validation_batch_end"] == 4


def test_a_users_own_loop_stays(tmp_path) -> None:
    class Loop(_EvaluationLoop):
        pass

    runner = built(tmp_path)
    given = runner.trainer.validate_loop
    own = Loop(runner.trainer, given._trainer_fn, given._stage)
    runner.trainer.validate_loop = own
    assert set(runner.val()) == {"accuracy"}
    assert runner.trainer.validate_loop is own


# Train and eval mode: MMEngine's in a run (tests/parity/test_evaluations.py); here is where they stay Lightning's


class Modes(Hook):
    """Note the mode of the model, and of a batch norm that the first epoch has put into eval mode."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    def before_val_epoch(self, runner: Any) -> None:
        self.seen.append(("before_val_epoch", runner.iter, runner.model.training))

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        if batch_idx == 0:
            runner.model.net[1].eval()
        norm = runner.model.net[1]
        self.seen.append(("before_train_iter", runner.iter, runner.model.training, norm.training))


def test_an_epoch_goes_on_in_its_modes_where_a_flag_validates_within_it(tmp_path) -> None:
    scenario = Scenario(
        optim_wrapper={"optimizer": {"type": "SGD", "lr": 0.1}},
        train_cfg={"by_epoch": True, "max_epochs": 2},
        custom_hooks=[modes := Modes()],
    )
    book: dict[str, list] = {
        key: [] for key in ("loss", "lr", "momentum", "metrics", "place", "validated_at")
    }
    flags = {"val_check_interval": 4}
    build("mm2pl", scenario, str(tmp_path), book, trainer=flags).train()
    assert ("before_val_epoch", 4, False) in modes.seen
    trained = [(train, norm) for point, *_, train, norm in modes.seen if "iter" in point]
    assert trained == [(True, False)] * 18


def test_a_module_with_a_hook_for_its_modes_decides(tmp_path) -> None:
    def own(self: Any) -> None:
        seen.append(self.model.training)
        self.model.net[1].eval()

    seen: list[bool] = []
    runner = built(tmp_path)
    runner.module.__class__ = type("Own", (type(runner.module),), {"on_validation_model_eval": own})
    runner.val()
    assert seen == [True]
    assert [part.training for part in runner.model.net] == [True] * 5


def test_a_check_before_the_fit_leaves_no_mode(tmp_path) -> None:
    runner = built(tmp_path)
    runner.trainer.num_sanity_val_steps = 2
    runner.register_hook(modes := Modes())
    runner.train()
    assert modes.seen[0] == ("before_train_iter", 0, True, False)


def test_a_fit_after_an_evaluation_warns_of_no_mode(tmp_path) -> None:
    runner = built(tmp_path)
    runner.val()
    assert not runner.model.training
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*eval mode")
        runner.train()
