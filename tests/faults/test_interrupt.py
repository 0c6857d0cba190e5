"""Ctrl-C and SIGTERM in the middle: a message that says how to go on, and a run that does."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest
import torch

from mm2pl.hooks import Hook
from tests.scenarios import Scenario, build

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


def run(folder, *hooks, **options):
    book = {k: [] for k in ("loss", "lr", "momentum", "metrics", "place", "validated_at")}
    scenario = Scenario(
        optim_wrapper={"optimizer": {"type": "SGD", "lr": 0.05, "momentum": 0.9}},
        custom_hooks=list(hooks),
        options={"log_level": "WARNING"},
    )
    runner = build("mm2pl", scenario, str(folder), book, **options)
    try:
        runner.train()
    finally:
        log = Path(runner.log_dir, f"{runner.timestamp}.log").read_text()
    return runner.model.state_dict(), log


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_says_how_to_go_on(tmp_path, number):
    whole, _ = run(tmp_path / "whole")
    with pytest.raises(SystemExit):
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
    with pytest.raises(SystemExit):
        run(tmp_path, Interrupt(signal.SIGINT), default_hooks={"checkpoint": None})
    assert "epoch_1.pth is truncated" in capsys.readouterr().out


def test_an_interrupt_before_the_first_checkpoint(tmp_path, capsys):
    with pytest.raises(SystemExit):
        run(tmp_path, Interrupt(signal.SIGINT), default_hooks={"checkpoint": None})
    assert "there is no checkpoint yet → start again" in capsys.readouterr().out


def test_an_interactive_session_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "ps1", ">>> ", raising=False)
    with pytest.raises(KeyboardInterrupt, match="the run has been stopped"):
        run(tmp_path, Interrupt(signal.SIGINT))
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler  # the next one is heard
