"""Lightning's loop over the batches of an epoch, without the calls that reach nobody."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from lightning.pytorch import LightningModule
from lightning.pytorch.strategies import Strategy

from mm2pl.lightning.listening import listeners, overrides
from mm2pl.lightning.private import (
    CURRENT_HOOK,
    EpochLoop,
    begin_batch,
    hands_out_iterator,
    logged_values,
    logger_connector,
)
from mm2pl.lightning.profiler import NoProfiler

if TYPE_CHECKING:
    from mm2pl.lightning.private import DataFetcher

NEVER = sys.maxsize
"""As ``check_val_every_n_epoch``: Lightning does not validate by itself."""


class LeanEpochLoop(EpochLoop):
    """Take the steps of Lightning's loop for a batch that matter to a config-driven run.

    Lightning 2.6 calls, for each batch, ten hooks of the module, the strategy and every callback whether or not they
    do anything, inspects ``training_step`` and collects the values of ``self.log``. Here, what is overridden is looked
    up once per epoch. Restarted batches, profiled runs and automatic optimization take Lightning's own way.
    """

    lean = False

    def on_run_start(self, data_fetcher: DataFetcher) -> None:
        """Look up who listens."""
        super().on_run_start(data_fetcher)
        trainer: Any = self.trainer
        module = trainer.lightning_module
        self.lean = (
            type(trainer.profiler) is NoProfiler
            and not module.automatic_optimization
            and getattr(module, "batches_stay_raw", False)
            and not hands_out_iterator(data_fetcher)
            # No strategy of Lightning 2.6 listens; a user's may, and `advance` does not call it.
            and not overrides(trainer.strategy, "on_train_batch_start", Strategy)
        )
        if self.lean:
            self._state, self._strategy = vars(module), trainer.strategy
            self._convert = trainer.precision_plugin.convert_input
            self._connector, self._logged = logger_connector(trainer), logged_values(self)
            self._start = listeners(trainer, "on_train_batch_start")
            self._asks = overrides(module, "on_train_batch_start", LightningModule)
            self._end = listeners(trainer, "on_train_batch_end")

    def advance(self, data_fetcher: DataFetcher) -> None:
        """Train on one batch.

        Raises:
            StopIteration: The module's ``on_train_batch_start`` returned -1, which ends the epoch.
        """
        if self.restarting or not self.lean:
            super().advance(data_fetcher)
            return
        # Asked first, because Lightning's setter looks through all attributes of the loop for inner loops.
        if self.val_loop.restarting:
            self.val_loop.restarting = False
        state, progress, logged = self._state, self.batch_progress, self._logged
        batch = self._convert(next(data_fetcher)[0])
        # Lightning's own count, not the fetcher's, which begins at 0 again after a restart.
        batch_idx = progress.current.ready
        progress.is_last_batch = data_fetcher.done
        progress.increment_ready()
        begin_batch(self._connector, logged, batch)
        state[CURRENT_HOOK] = "on_train_batch_start"
        answer = None
        for call in self._start:
            # Only the module's answer counts, and it is called last: as in Lightning, -1 from a callback is ignored.
            answer = call(batch, batch_idx)
        skipped = answer == -1 and self._asks
        outputs = None
        if skipped:
            progress.increment_by(0, is_last_batch=True)
        else:
            progress.increment_started()
            state[CURRENT_HOOK] = "training_step"
            loop = self.manual_optimization
            loop.on_run_start()
            outputs = self._strategy.training_step(batch, batch_idx)
            outputs = loop.output_result_cls.from_training_step_output(outputs).asdict()
            loop.on_run_end()
        progress.increment_processed()
        if skipped:
            # Not earlier: Lightning counts a skipped batch as processed.
            raise StopIteration
        state[CURRENT_HOOK] = "on_train_batch_end"
        for call in self._end:
            call(outputs, batch, batch_idx)
        state[CURRENT_HOOK] = None
        if logged:  # somebody has called self.log
            self._connector.on_batch_end()
        # `on_batch_end` of the connector drops these too. Kept, the batch would stay in memory during a validation.
        logged.batch = logged.batch_size = None
        progress.increment_completed()
        if logged:
            self._connector.update_train_step_metrics()

    def on_advance_end(self, data_fetcher: DataFetcher) -> None:
        """Validate if this batch is followed by a validation, and see whether the run is to stop."""
        trainer = self.trainer
        idle = trainer.check_val_every_n_epoch == NEVER and not self.skips_validation
        if not (self.lean and idle) or trainer.should_stop or trainer.received_sigterm:
            super().on_advance_end(data_fetcher)
        else:
            self.count_step()
