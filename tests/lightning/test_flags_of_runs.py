"""What each argument of the Trainer does to a config's run; none is without effect and without a word about it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, Trainer

import examples.digits
from mm2pl.cli.main import main
from mm2pl.errors import ArgumentError
from mm2pl.plan.translate import translate
from tests.lightning.test_cut_short import EPOCHS, NEVER, scenario, stopped

CONFIG = str(Path(examples.digits.__file__).parents[2] / "configs/digits_resnet.py")

pytestmark = pytest.mark.filterwarnings("ignore")


class Sees(Callback):
    """Write down what a run looks like from inside."""

    def __init__(self) -> None:
        self.validations = self.sanity = self.evaluated = 0
        self.state: dict[str, Any] = {}

    def on_train_batch_start(self, trainer: Any, module: Any, batch: Any, batch_idx: int) -> None:
        self.state = {
            "benchmark": torch.backends.cudnn.benchmark,
            "deterministic": torch.are_deterministic_algorithms_enabled(),
            "anomaly": torch.is_anomaly_enabled(),
        }

    def on_validation_batch_start(self, trainer: Any, *rest: Any) -> None:
        self.evaluated += 1
        self.state["inference"] = torch.is_inference_mode_enabled()

    def on_validation_start(self, trainer: Any, module: Any) -> None:
        self.validations += not trainer.sanity_checking

    def on_sanity_check_start(self, trainer: Any, module: Any) -> None:
        self.sanity += 1


def run_with(folder: Any, **flags: Any) -> Any:
    sees = Sees()
    callbacks = [sees, *flags.pop("callbacks", [])]
    runner, book = stopped(scenario(EPOCHS, NEVER), folder, callbacks=callbacks, **flags)
    return runner, book, sees


# The Trainer's argument → a value, and what shows that it has done something.
ACTS: dict[str, tuple[Any, Callable[[Any, Any, Sees], bool]]] = {
    "max_epochs": (1, lambda runner, book, sees: runner.epoch == 1),
    "max_steps": (4, lambda runner, book, sees: runner.iter == 4),
    "limit_train_batches": (2, lambda runner, book, sees: runner.iter == 6),
    "fast_dev_run": (2, lambda runner, book, sees: runner.iter == 2),
    "val_check_interval": (3, lambda runner, book, sees: sees.validations == 9),
    "check_val_every_n_epoch": (3, lambda runner, book, sees: sees.validations == 1),
    "num_sanity_val_steps": (1, lambda runner, book, sees: sees.sanity == 1),
    "max_time": ({"seconds": 0}, lambda runner, book, sees: runner.iter == 0),
    "limit_val_batches": (2, lambda runner, book, sees: sees.evaluated == 6),
    "log_every_n_steps": (4, lambda runner, book, sees: intervals(runner) == [4]),
    "deterministic": (True, lambda runner, book, sees: sees.state["deterministic"]),
    "benchmark": (True, lambda runner, book, sees: sees.state["benchmark"]),
    "detect_anomaly": (True, lambda runner, book, sees: sees.state["anomaly"]),
    # Lightning never has it in the validations of a fit.
    "inference_mode": (True, lambda runner, book, sees: runner.val() and sees.state["inference"]),
}


def intervals(runner: Any) -> list[int]:
    return [hook.interval for hook in runner.hooks if type(hook).__name__ == "LoggerHook"]


@pytest.mark.parametrize("flag", ACTS)
def test_it_acts(tmp_path, flag):
    value, shows = ACTS[flag]
    before = torch.backends.cudnn.benchmark, torch.are_deterministic_algorithms_enabled()
    try:
        runner, book, sees = run_with(tmp_path, **{flag: value})
        assert shows(runner, book, sees)
    finally:
        torch.backends.cudnn.benchmark = before[0]
        torch.use_deterministic_algorithms(before[1])


# What a run does not follow, and says so.
SAYS = {
    "overfit_batches": (2, "takes the first batches of each epoch, in the order of the run's own"),
    "reload_dataloaders_every_n_epochs": (1, "has no effect: the loaders that a config describes"),
    "use_distributed_sampler": (True, "has no effect: the config's samplers know their rank"),
}


@pytest.mark.parametrize("flag", SAYS)
def test_it_says_that_it_has_no_effect(flag):
    value, message = SAYS[flag]
    (note,) = translate({"train_cfg": EPOCHS}, trainer={flag: value}).notes
    assert note.startswith(f"{flag}={value!r} {message}")
    assert translate({"train_cfg": EPOCHS}, trainer={flag: type(value)(0)}).notes == ()


def test_the_interval_of_the_log():
    hooks = {"logger": {"type": "LoggerHook", "ignore_last": False}, "timer": None}
    config = {"train_cfg": EPOCHS, "default_hooks": hooks}
    plan = translate(config, trainer={"log_every_n_steps": 3})
    assert plan.run["default_hooks"] == {
        "logger": {"type": "LoggerHook", "ignore_last": False, "interval": 3},
        "timer": None,
    }
    assert plan.trainer["log_every_n_steps"] == 3
    assert "interval" not in hooks["logger"]
    (note,) = translate(
        {**config, "default_hooks": {"logger": None}}, trainer={"log_every_n_steps": 3}
    ).notes
    assert note.startswith("log_every_n_steps=3 has no effect: the config has no LoggerHook")
    with pytest.raises(ArgumentError, match=r"log_every_n_steps=0\) → the LoggerHook logs every 1"):
        translate(config, trainer={"log_every_n_steps": 0})


def test_flags_of_a_command_line_reach_the_plan(tmp_path, capfd):
    words = ["--trainer.log_every_n_steps", "1", "--trainer.overfit_batches", "2"]
    words += ["--trainer.reload_dataloaders_every_n_epochs", "1", "--trainer.max_epochs", "1"]
    assert main(["fit", CONFIG, "--work-dir", str(tmp_path), *words]) == 0
    said = "".join(capfd.readouterr())
    assert said.count("Epoch(train)") == 2
    assert "overfit_batches=2 takes the first batches" in said
    assert "reload_dataloaders_every_n_epochs=1 has no effect" in said


ELSEWHERE = {
    "accelerator devices num_nodes strategy sync_batchnorm": "tests/plan/test_processes.py",
    "precision": "tests/lightning/test_precision.py",
    "plugins": "tests/lightning/test_background_saves.py",
    "logger": "tests/lightning/test_loggers.py",
    "callbacks gradient_clip_val accumulate_grad_batches": "tests/lightning/test_optimization.py",
    "gradient_clip_algorithm": "Lightning reads it with gradient_clip_val",
    "min_epochs min_steps": "Lightning asks them before it obeys should_stop: tests/lightning/test_cut_short.py",
    "profiler": "tests/cli/test_profiling.py",
    "enable_progress_bar": "tests/lightning/test_progress_bar.py",
    "default_root_dir enable_checkpointing barebones": "tests/cli/test_run.py",
    "limit_test_batches limit_predict_batches enable_model_summary": "Lightning's alone",
    "enable_autolog_hparams model_registry": "Lightning's loggers and litmodels read them",
}
"""Arguments that other files look at, or that a run has no part in."""


def test_every_argument_is_known():
    listed = [*ACTS, *SAYS, *" ".join(ELSEWHERE).split()]
    assert sorted(listed) == sorted({*inspect.signature(Trainer.__init__).parameters} - {"self"})
