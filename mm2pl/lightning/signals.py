"""SIGTERM ends all processes after the same batch; Ctrl-C ends a run and not the session that it was typed in."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from lightning.pytorch import Callback

from mm2pl.lightning.private import SignalConnector, signal_connector, take_back_signal_handlers

if TYPE_CHECKING:
    from lightning.pytorch import LightningModule, Trainer

log = logging.getLogger(__name__)


class NotedSignals(SignalConnector):
    """Note SIGTERM, and leave it to :class:`StopTogether` when the Trainer learns of it.

    Lightning 2.6 broadcasts from the handler itself, which may interrupt another collective of its process.
    """

    noted = False

    def register_signal_handlers(self) -> None:
        """Begin a fit, validation or test without a signal."""
        self.noted = False
        super().register_signal_handlers()

    def on_sigterm(self, signum: int) -> None:
        """Note it; end what the launcher has started; outside training, where nobody asks, tell the Trainer."""
        log.info(f"[rank {self.trainer.global_rank}] received signal {signum}")
        launcher: Any = self.trainer.strategy.launcher
        if not self.noted and launcher is not None:
            launcher.kill(signum)
        self.noted = True
        if self.trainer.state.fn != "fit":
            self.received_sigterm = True


class StopTogether(Callback):
    """Ask all processes, every few batches and after a validation, whether one of them got SIGTERM.

    Lightning ≥ 2.5.2 broadcasts what the first process knows before every batch, and waits for it.

    Args:
        interval: Batches between two questions; within that time a run must react to the signal.
    """

    def __init__(self, interval: int = 10) -> None:
        self.interval = interval
        self._batches = 0

    @classmethod
    def join(cls, trainer: Trainer) -> None:
        """Put one into the Trainer of a run with several processes."""
        if trainer.world_size > 1 and NotedSignals.put_into(trainer):
            trainer.callbacks.insert(0, cls())  # type: ignore[attr-defined]

    def ask(self, trainer: Trainer) -> None:
        """Let every process know if one of them has noted the signal."""
        connector = signal_connector(trainer)
        # A collective: all processes come here after the same batch, those without the signal too.
        if trainer.strategy.reduce_boolean_decision(connector.noted, all=False):
            # Lightning's loops look at this after each batch and raise SIGTERMException in their own place.
            connector.received_sigterm = True

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        """Ask after every ``interval`` batches."""
        self._batches += 1
        if self._batches % self.interval == 0:
            self.ask(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Ask; processes may have had different numbers of batches."""
        if not trainer.sanity_checking and trainer.state.fn == "fit":
            self.ask(trainer)


_RUNNING: list[Trainer] = []
"""The Trainers that this process is in a call of, the innermost last."""


@contextmanager
def handlers_of_a_run(trainer: Trainer) -> Iterator[None]:
    """Keep Lightning's signal handlers to this process, and to the time of one call of the Trainer.

    Its SIGTERM handler only notes the signal. Lightning 2.6 leaves it behind if a late step of its teardown fails, and
    a process that is forked in a run has it too: a metric's ``with multiprocessing.Pool(…)`` would never end.
    """
    _RUNNING.append(trainer)
    try:
        yield
    finally:
        _RUNNING.remove(trainer)
        take_back_signal_handlers(trainer)


_forking = threading.local()  # a thread goes on as itself in the child


def _hold_sigterm() -> None:
    """Block SIGTERM until the child has its own handlers: nothing there reads what Lightning's would note."""
    _forking.mask = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM]) if _RUNNING else None


def _let_sigterm_through() -> None:
    if _forking.mask is not None:
        signal.pthread_sigmask(signal.SIG_SETMASK, _forking.mask)


def _take_back_in_child() -> None:
    try:
        for trainer in reversed(_RUNNING):
            take_back_signal_handlers(trainer)
    finally:
        _let_sigterm_through()


if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork
    os.register_at_fork(
        before=_hold_sigterm,
        after_in_parent=_let_sigterm_through,
        after_in_child=_take_back_in_child,
    )


@contextmanager
def interrupt_is_heard() -> Iterator[None]:
    """Let Ctrl-C end what is done here, and leave to the program what it does then, as anywhere in Python.

    Lightning 2.6 exits, past every ``except KeyboardInterrupt``, and lets no later Ctrl-C be heard.

    Raises:
        KeyboardInterrupt: Lightning has exited for one.
    """
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as error:
        if not isinstance(error.__context__, KeyboardInterrupt):
            raise
        signal.signal(signal.SIGINT, handler)
        raise KeyboardInterrupt("the run has been stopped") from None


def session_goes_on() -> AbstractContextManager[None]:
    """Return a context in which Ctrl-C does not end an interactive session, with all that it holds.

    Elsewhere a Trainer exits as Lightning's do: ``mm2pl fit`` with code 1.
    """
    return interrupt_is_heard() if hasattr(sys, "ps1") else nullcontext()
