"""Ctrl-C and SIGTERM in the middle: a message that says how to go on, and a run that does."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest
import torch

from mm2pl.hooks import Hook
from tests.scenarios import Points, Scenario, accuracy, build

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


@pytest.fixture(autouse=True)
def _interrupts_are_heard():
    """Processes in the background of a shell ignore Ctrl-C."""
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, handler)


class Interrupt(Hook):
    """Send this process a signal in iteration 13, in the second epoch of nine."""

    def __init__(self, number):
        self.number = number

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter == 13:
            os.kill(os.getpid(), self.number)


def made(folder, *hooks, **options):
    book = {k: [] for k in ("loss", "lr", "momentum", "metrics", "place", "validated_at")}
    scenario = Scenario(
        optim_wrapper={"optimizer": {"type": "SGD", "lr": 0.05, "momentum": 0.9}},
        custom_hooks=list(hooks),
        options={"log_level": "WARNING"},
    )
    loader = {"batch_size": 8, "dataset": Points(30), "collate_fn": {"type": "default_collate"}}
    test = {
        "test_dataloader": loader,
        "test_cfg": {},
        "test_evaluator": {"type": accuracy("mm2pl")},
    }
    return build("mm2pl", scenario, str(folder), book, **test, **options)


def run(folder, *hooks, **options):
    runner = made(folder, *hooks, **options)
    try:
        runner.train()
    finally:
        log = Path(runner.log_dir, f"{runner.timestamp}.log").read_text()
    return runner.model.state_dict(), log


@pytest.mark.parametrize(
    ("number", "ends"),
    [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)],
    ids=["SIGINT", "SIGTERM"],
)
def test_an_interrupted_run_says_how_to_go_on(tmp_path, number, ends):
    whole, _ = run(tmp_path / "whole")
    with pytest.raises(ends):
        run(tmp_path / "run", Interrupt(number))
    (log,) = (tmp_path / "run").glob("*/*.log")
    assert (
        "Stopped in epoch 2 after 13 of 27 iterations; the newest checkpoint is "
        f"{tmp_path / 'run' / 'epoch_1.pth'} → continue with --resume"
    ) in log.read_text().replace("after 14 of", "after 13 of")  # SIGTERM is heard a batch later
    resumed, _ = run(tmp_path / "run", resume=True)
    assert all(torch.equal(resumed[name], value) for name, value in whole.items())


def test_an_interrupted_run_whose_files_are_of_no_use_says_so(tmp_path, capsys):
    (tmp_path / "epoch_1.pth").write_bytes(b"PK cut off")
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, Interrupt(signal.SIGINT), default_hooks={"checkpoint": None})
    assert "epoch_1.pth is truncated" in capsys.readouterr().out


def test_an_interrupt_before_the_first_checkpoint(tmp_path, capsys):
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, Interrupt(signal.SIGINT), default_hooks={"checkpoint": None})
    assert "there is no checkpoint yet → start again" in capsys.readouterr().out


class InterruptEvaluation(Hook):
    """Send Ctrl-C in the second batch of a validation or test."""

    def before_val_iter(self, runner, batch_idx, data_batch=None):
        if batch_idx == 1:
            os.kill(os.getpid(), signal.SIGINT)

    before_test_iter = before_val_iter


@pytest.mark.parametrize("verb", ["train", "val", "test"])
def test_a_program_hears_the_interrupt(tmp_path, verb):
    runner = made(tmp_path, Interrupt(signal.SIGINT) if verb == "train" else InterruptEvaluation())
    with pytest.raises(KeyboardInterrupt):
        getattr(runner, verb)()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler  # the next one is heard


def test_an_interrupted_program_can_save_and_go_on(tmp_path):
    whole, _ = run(tmp_path / "whole")
    runner = made(tmp_path / "run", Interrupt(signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        runner.train()
    runner.save_checkpoint(runner.work_dir, "interrupted.pth", by_epoch=False)
    file = str(tmp_path / "run" / "interrupted.pth")
    stored = torch.load(file, weights_only=True)
    assert stored["state_dict"].keys() == whole.keys()
    assert (stored["meta"]["epoch"], stored["meta"]["iter"]) == (1, 14)
    assert "optimizer" in stored


def test_a_trainer_exits_as_lightnings(tmp_path):
    runner = made(tmp_path, Interrupt(signal.SIGINT))
    with pytest.raises(SystemExit) as caught:
        runner.trainer.fit(runner.module, datamodule=runner.datamodule)
    assert caught.value.code == 1


def test_an_interactive_session_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "ps1", ">>> ", raising=False)
    runner = made(tmp_path, Interrupt(signal.SIGINT))
    with pytest.raises(KeyboardInterrupt, match="the run has been stopped"):
        runner.trainer.fit(runner.module, datamodule=runner.datamodule)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler  # the next one is heard
