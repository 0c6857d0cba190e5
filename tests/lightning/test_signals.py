"""SIGTERM in runs of several processes; the processes themselves are in ``test_two_processes``."""

from __future__ import annotations

import multiprocessing
import os
import signal

import pytest
from lightning.pytorch import Trainer

from mm2pl.hooks import Hook
from mm2pl.lightning import signals
from mm2pl.lightning.signals import NotedSignals
from tests.scenarios import Scenario, build


def test_a_signal_is_left_to_the_question_in_training_only() -> None:
    trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
    signals = NotedSignals(trainer)
    trainer.state.fn = "fit"  # type: ignore[assignment]
    signals._sigterm_notifier_fn(signal.SIGTERM, None)
    assert (signals.noted, signals.received_sigterm) == (True, False)
    trainer.state.fn = "test"  # type: ignore[assignment]
    signals._sigterm_notifier_fn(signal.SIGTERM, None)
    assert signals.received_sigterm


def test_the_next_stage_begins_without_a_signal() -> None:
    trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
    signals = NotedSignals(trainer)
    signals.noted = signals.received_sigterm = True
    signals.register_signal_handlers()
    signals.teardown()
    assert (signals.noted, signals.received_sigterm) == (False, False)


class Forks(Hook):
    """Fork a process in a run, as a metric does that computes in a Pool."""

    def __init__(self) -> None:
        self.handlers: list = []
        self.ends: list = []

    def after_val_epoch(self, runner, metrics=None) -> None:
        """Let a process tell its handler and wait for good, and end it by SIGTERM."""
        context = multiprocessing.get_context("fork")
        told, never = context.SimpleQueue(), context.Event()

        def wait() -> None:
            told.put(signal.getsignal(signal.SIGTERM) is signal.SIG_DFL)
            never.wait()

        process = context.Process(target=wait)
        process.start()
        self.handlers.append(told.get())
        process.terminate()
        process.join(5)
        self.ends.append(process.exitcode)
        process.kill()


class Slow:
    """Stands for a Trainer whose handlers are put back in a forked process just after SIGTERM has reached it."""

    def __init__(self, monkeypatch) -> None:
        self.parent = os.getpid()
        before = signal.signal(signal.SIGTERM, lambda *_: None)  # as Lightning's, it only notes
        monkeypatch.setattr(signals, "take_back_signal_handlers", lambda _: self.take_back(before))

    def take_back(self, before) -> None:
        if os.getpid() != self.parent:
            os.kill(os.getpid(), signal.SIGTERM)
        signal.signal(signal.SIGTERM, before)


def test_a_sigterm_on_the_way_into_a_forked_process_ends_it(monkeypatch) -> None:
    context = multiprocessing.get_context("fork")
    process = context.Process(target=context.Event().wait)
    with signals.handlers_of_a_run(Slow(monkeypatch)):
        process.start()
        process.join(5)
        ended, mask = process.exitcode, signal.pthread_sigmask(signal.SIG_BLOCK, [])
        process.kill()
    assert (ended, mask) == (-signal.SIGTERM, set())


@pytest.mark.filterwarnings("ignore:Converting a tensor with requires_grad:UserWarning")
def test_a_process_that_is_forked_in_a_run_ends_by_sigterm(tmp_path) -> None:
    forks = Forks()
    scenario = Scenario(
        optim_wrapper={"optimizer": {"type": "SGD", "lr": 0.05}},
        custom_hooks=[forks],
        train_cfg={"by_epoch": True, "max_epochs": 1},
    )
    book: dict = {k: [] for k in ("loss", "lr", "momentum", "metrics", "place", "validated_at")}
    build("mm2pl", scenario, str(tmp_path), book).train()
    assert (forks.handlers, forks.ends) == ([True], [-signal.SIGTERM])
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
