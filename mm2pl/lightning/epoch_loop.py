"""Lightning's loop over the batches of an epoch, without what nobody listens to."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import lightning
from lightning.pytorch import Callback, LightningModule
from lightning.pytorch.loops.fetchers import _DataLoaderIterDataFetcher
from lightning.pytorch.loops.training_epoch_loop import _TrainingEpochLoop
from lightning.pytorch.strategies import Strategy
from lightning.pytorch.utilities.model_helpers import is_overridden

from mm2pl.lightning.profiler import NoProfiler

NEVER = sys.maxsize
"""As ``check_val_every_n_epoch``: Lightning does not validate by itself."""

KNOWN_LIGHTNING = ("2.5.", "2.6.")
"""Versions whose loop this one was compared with, call by call; under others Lightning's own runs."""


class LeanEpochLoop(_TrainingEpochLoop):
    """Take the steps of Lightning's loop for a batch that matter to a config-driven run.

    Lightning 2.6 calls, for each batch, ten hooks of the module, the strategy and every callback whether or not they
    do anything, inspects ``training_step`` and collects the values of ``self.log``. Here, what is overridden is looked
    up once per epoch. Restarted batches, profiled runs and automatic optimization take Lightning's own way.
    """

    _lean = False

    @classmethod
    def in_place_of(cls, loop: _TrainingEpochLoop) -> _TrainingEpochLoop:
        """Return a loop that does what ``loop`` does; ``loop`` itself if it is not Lightning's own."""
        if type(loop) is not _TrainingEpochLoop:
            return loop
        lean = cls(loop.trainer, loop.min_steps, loop.max_steps)
        lean.val_loop = loop.val_loop
        return lean

    def on_run_start(self, data_fetcher: Any) -> None:
        """Look up who listens."""
        super().on_run_start(data_fetcher)
        trainer: Any = self.trainer
        module = trainer.lightning_module
        self._lean = (
            lightning.__version__.startswith(KNOWN_LIGHTNING)
            and type(trainer.profiler) is NoProfiler
            and not module.automatic_optimization
            and getattr(module, "batches_stay_raw", False)
            and not isinstance(data_fetcher, _DataLoaderIterDataFetcher)
            and not is_overridden("on_train_batch_start", trainer.strategy, Strategy)
        )
        if self._lean:
            self._module, self._strategy = module, trainer.strategy
            self._start = listeners(trainer, "on_train_batch_start")
            self._end = listeners(trainer, "on_train_batch_end")

    def advance(self, data_fetcher: Any) -> None:
        """Train on one batch.

        Raises:
            StopIteration: The module's ``on_train_batch_start`` returned -1, which ends the epoch.
        """
        if self.restarting or not self._lean:
            super().advance(data_fetcher)
            return
        if self.val_loop.restarting:
            self.val_loop.restarting = False
        strategy, progress, results = self._strategy, self.batch_progress, self._results
        connector = self.trainer._logger_connector
        batch = strategy.precision_plugin.convert_input(next(data_fetcher)[0])
        batch_idx = self.batch_idx + 1
        progress.is_last_batch = data_fetcher.done
        progress.increment_ready()
        connector._first_loop_iter = connector._first_loop_iter is None
        results.batch, results.batch_size, results.dataloader_idx = batch, None, None
        state = vars(self._module)
        state["_current_fx_name"] = "on_train_batch_start"
        skipped = [call(batch, batch_idx) for call in self._start][-1] == -1
        outputs = None
        if skipped:
            progress.increment_by(0, is_last_batch=True)
        else:
            progress.increment_started()
            state["_current_fx_name"] = "training_step"
            loop = self.manual_optimization
            loop.on_run_start()
            outputs = strategy.training_step(batch, batch_idx)
            outputs = loop.output_result_cls.from_training_step_output(outputs).asdict()
            loop.on_run_end()
        progress.increment_processed()
        if skipped:
            raise StopIteration
        state["_current_fx_name"] = "on_train_batch_end"
        for call in self._end:
            call(outputs, batch, batch_idx)
        state["_current_fx_name"] = None
        if results:  # somebody has called self.log
            connector.on_batch_end()
        results.batch = results.batch_size = None
        progress.increment_completed()
        if results:
            connector.update_train_step_metrics()

    def on_advance_end(self, data_fetcher: Any) -> None:
        """Validate if this batch is followed by a validation, and see whether the run is to stop."""
        trainer = self.trainer
        idle = trainer.check_val_every_n_epoch == NEVER and not self._skip_next_val
        if not (self._lean and idle) or trainer.should_stop or trainer.received_sigterm:
            super().on_advance_end(data_fetcher)
        else:
            self._batches_that_stepped += 1


def listeners(trainer: Any, hook: str) -> list[Callable[..., Any]]:
    """Return, in Lightning's order, the methods for a hook of those who override it; the module's is always last."""
    module: Any = trainer.lightning_module
    bound = [
        _with_trainer(getattr(callback, hook), trainer, module)
        for callback in trainer.callbacks
        if is_overridden(hook, callback, Callback)
    ]
    return [*bound, getattr(module, hook)]


def _with_trainer(method: Callable[..., Any], trainer: Any, module: LightningModule) -> Any:
    return lambda *args: method(trainer, module, *args)
