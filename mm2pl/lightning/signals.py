"""One decision of all processes: SIGTERM ends them after the same batch."""

from __future__ import annotations

import logging
from typing import Any

import lightning
from lightning.pytorch import Callback
from lightning.pytorch.trainer.connectors.signal_connector import _SignalConnector

from mm2pl.lightning.epoch_loop import KNOWN_LIGHTNING

log = logging.getLogger(__name__)


class NotedSignals(_SignalConnector):
    """Note SIGTERM, and leave it to :class:`StopTogether` when the Trainer learns of it.

    Lightning 2.6 broadcasts from the handler itself, which may interrupt another collective of its process.
    """

    noted = False

    def register_signal_handlers(self) -> None:
        """Begin a fit, validation or test without a signal."""
        self.noted = False
        super().register_signal_handlers()

    def _sigterm_notifier_fn(self, signum: Any, _: Any) -> None:
        log.info(f"[rank {self.trainer.global_rank}] received signal {int(signum)}")
        launcher: Any = self.trainer.strategy.launcher
        if not self.noted and launcher is not None:
            launcher.kill(signum)
        self.noted = True
        if self.trainer.state.fn != "fit":  # where nobody asks
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
    def join(cls, trainer: Any) -> None:
        """Put one into the Trainer of a run with several processes."""
        known = lightning.__version__.startswith(KNOWN_LIGHTNING)  # others broadcast as they do
        if known and trainer.world_size > 1 and type(trainer._signal_connector) is _SignalConnector:
            trainer._signal_connector = NotedSignals(trainer)
            trainer.callbacks.insert(0, cls())

    def ask(self, trainer: Any) -> None:
        """Let every process know if one of them has noted the signal."""
        connector = trainer._signal_connector
        if trainer.strategy.reduce_boolean_decision(connector.noted, all=False):
            connector.received_sigterm = True

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        """Ask after every ``interval`` batches."""
        self._batches += 1
        if self._batches % self.interval == 0:
            self.ask(trainer)

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        """Ask; processes may have had different numbers of batches."""
        if not trainer.sanity_checking and trainer.state.fn == "fit":
            self.ask(trainer)
