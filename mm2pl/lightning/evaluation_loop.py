"""Lightning's loop over the batches of a validation or test, without what nobody listens to."""

from __future__ import annotations

from typing import Any

import lightning
from lightning.pytorch.loops.evaluation_loop import _EvaluationLoop
from lightning.pytorch.loops.fetchers import _DataLoaderIterDataFetcher
from lightning.pytorch.utilities.exceptions import SIGTERMException

from mm2pl.lightning.epoch_loop import KNOWN_LIGHTNING, listeners
from mm2pl.lightning.profiler import NoProfiler


class LeanEvaluationLoop(_EvaluationLoop):
    """Take the steps of Lightning's loop for a batch that matter to a config-driven run.

    Lightning 2.6 inspects ``validation_step`` for each batch, calls hooks that nobody overrides and collects the values
    of ``self.log``. Profiled runs, sanity checks and several loaders take Lightning's own way.
    """

    _lean = False

    @classmethod
    def in_place_of(cls, loop: _EvaluationLoop) -> _EvaluationLoop:
        """Return a loop that does what ``loop`` does; ``loop`` itself if it is not Lightning's own."""
        if type(loop) is not _EvaluationLoop:
            return loop
        return cls(loop.trainer, loop._trainer_fn, loop._stage, loop.verbose, loop.inference_mode)

    def on_run_start(self) -> None:
        """Look up who listens."""
        super().on_run_start()
        trainer: Any = self.trainer
        self._lean = (
            lightning.__version__.startswith(KNOWN_LIGHTNING)
            and type(trainer.profiler) is NoProfiler
            and getattr(trainer.lightning_module, "batches_stay_raw", False)
            and not trainer.sanity_checking
            and not isinstance(self._data_fetcher, _DataLoaderIterDataFetcher)
            and self.num_dataloaders == 1
        )
        if self._lean:
            self._name = "test" if trainer.testing else "validation"
            self._start = listeners(trainer, f"on_{self._name}_batch_start")
            self._end = listeners(trainer, f"on_{self._name}_batch_end")
            self._step = getattr(trainer.strategy, f"{self._name}_step")

    def _evaluation_step(
        self, batch: Any, batch_idx: int, dataloader_idx: int, dataloader_iter: Any
    ) -> None:
        if not self._lean:
            super()._evaluation_step(batch, batch_idx, dataloader_idx, dataloader_iter)
            return
        trainer, progress, results = self.trainer, self.batch_progress, self._results
        state = vars(trainer.lightning_module)
        batch = trainer.precision_plugin.convert_input(batch)
        progress.increment_ready()
        trainer._logger_connector.on_batch_start(batch)
        state["_current_fx_name"] = f"on_{self._name}_batch_start"
        for call in self._start:
            call(batch, batch_idx)
        progress.increment_started()
        state["_current_fx_name"] = f"{self._name}_step"
        output = self._step(batch, batch_idx)
        progress.increment_processed()
        state["_current_fx_name"] = f"on_{self._name}_batch_end"
        for call in self._end:
            call(output, batch, batch_idx)
        state["_current_fx_name"] = None
        if results:  # somebody has called self.log
            trainer._logger_connector.on_batch_end()
        results.batch = results.batch_size = None
        progress.increment_completed()
        self._has_run = True
        if results:
            trainer._logger_connector.update_eval_step_metrics(self._seen_batches_per_dataloader[0])
        self._seen_batches_per_dataloader[0] += 1
        if trainer.received_sigterm and not progress.is_last_batch:
            raise SIGTERMException
