"""SIGTERM in runs of several processes; the processes themselves are in ``test_two_processes``."""

from __future__ import annotations

import signal

from lightning.pytorch import Trainer

from mm2pl.lightning.signals import NotedSignals


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
