"""Lightning's counters and results in a fit whose batches a user's code takes by itself."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.utilities.exceptions import SIGTERMException

from mm2pl.lightning.private import CURRENT_HOOK, begin_batch, logged_values, logger_connector


class EndOfRun(BaseException):
    """Leave a loop that does not look whether the run is to end.

    No ``Exception``: the loop may catch those of its steps, and go on.
    """


class FitCounters:
    """Count epochs and batches as Lightning 2.6's loops do, around what ``tell`` tells the callbacks.

    Args:
        trainer: A Trainer whose fit is driven.
    """

    def __init__(self, trainer: Trainer) -> None:
        self.connector = logger_connector(trainer)
        self.fit: Any = trainer.fit_loop
        self._trainer: Any = trainer
        self._state = vars(trainer.lightning_module)
        self._context = ExitStack()

    @property
    def batches(self) -> Any:
        """The counter of the batches of an epoch."""
        return self.fit.epoch_loop.batch_progress

    def look_for_end(self) -> None:
        """Leave code that begins something although the run is to end.

        Raises:
            SIGTERMException: This process was asked to end.
            EndOfRun: A callback or a limit of the Trainer has ended the fit.
        """
        if self._trainer.received_sigterm:
            raise SIGTERMException
        if self.fit.is_to_end:
            raise EndOfRun

    def begin_epoch(self, tell: Callable[[], None]) -> None:
        """Count an epoch that begins."""
        self.fit.epoch_progress.increment_ready()
        tell()
        self.fit.epoch_progress.increment_started()

    def begin_batch(self, batch: object, tell: Callable[[], None]) -> None:
        """Count a batch that begins; its step runs in the Trainer's precision."""
        self.batches.increment_ready()
        begin_batch(self.connector, logged_values(self.fit.epoch_loop), batch)
        tell()
        self.batches.increment_started()
        self.enter(self._trainer.precision_plugin.train_step_context())
        self._state[CURRENT_HOOK] = "training_step"

    def enter(self, context: Any) -> None:
        """Enter the context of a step, and leave that of the one before."""
        self.leave_step()
        self._context.enter_context(context)

    def leave_step(self) -> None:
        """Leave the context of a step that is over, or has not come to its end."""
        self._context.close()

    def end_batch(self, tell: Callable[[], None]) -> None:
        """Count a batch that is over."""
        self.leave_step()
        logged = logged_values(self.fit.epoch_loop)
        self.batches.increment_processed()
        tell()
        self._state[CURRENT_HOOK] = None
        if logged:  # somebody has called self.log
            self.connector.on_batch_end()
        logged.batch = logged.batch_size = None
        self.batches.increment_completed()
        if logged:
            self.connector.update_train_step_metrics()
        self.fit.count_step()

    def end_epoch(self, tell: Callable[[], None]) -> None:
        """Count an epoch that is over."""
        self.connector.epoch_end_reached()
        tell()
        self.fit.end_epoch()
        self.fit.epoch_progress.increment_completed()
