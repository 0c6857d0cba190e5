"""Lightning's loop over the batches of a validation or test, without the calls that reach nobody."""

from __future__ import annotations

from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from lightning.pytorch.utilities.exceptions import SIGTERMException

from mm2pl.lightning.listening import listeners
from mm2pl.lightning.private import (
    CURRENT_HOOK,
    EvaluationLoop,
    begin_batch,
    hands_out_iterator,
    logged_values,
    logger_connector,
)
from mm2pl.lightning.profiler import NoProfiler

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lightning.pytorch import Trainer
    from torch import nn


class LeanEvaluationLoop(EvaluationLoop):
    """Take the steps of Lightning's loop for a batch that matter to a config-driven run.

    Lightning 2.6 inspects ``validation_step`` for each batch, calls hooks that nobody overrides and collects the values
    of ``self.log``. Profiled runs, sanity checks and several loaders take Lightning's own way.
    """

    def on_run_start(self) -> None:
        """Look up who listens."""
        super().on_run_start()
        trainer: Any = self.trainer
        module = trainer.lightning_module
        self.lean = (
            type(trainer.profiler) is NoProfiler
            and getattr(module, "batches_stay_raw", False)
            and not trainer.sanity_checking
            and not hands_out_iterator(self.fetcher)
            # With several, hooks and steps get a `dataloader_idx`, which `evaluate` does not know.
            and self.num_dataloaders == 1
        )
        if self.lean:
            self._name = "test" if trainer.testing else "validation"
            self._state, self._convert = vars(module), trainer.precision_plugin.convert_input
            self._connector, self._logged = logger_connector(trainer), logged_values(self)
            self._start = listeners(trainer, f"on_{self._name}_batch_start")
            self._end = listeners(trainer, f"on_{self._name}_batch_end")
            # Of the strategy, which may have wrapped the module for several processes.
            self._step = getattr(trainer.strategy, f"{self._name}_step")

    def modes_kept(self) -> AbstractContextManager[None]:
        """Leave the model of a run in its modes, where these are MMEngine's."""
        driver = driver_of(self.trainer)
        ours = driver is not None and driver.has_mmengines_modes()
        return modes_kept(driver.run.model) if ours else nullcontext()

    def evaluate(self, batch: object, batch_idx: int) -> None:
        """Evaluate one batch.

        Raises:
            SIGTERMException: This process was asked to end.
        """
        state, progress, logged = self._state, self.batch_progress, self._logged
        batch = self._convert(batch)
        progress.increment_ready()
        begin_batch(self._connector, logged, batch)
        state[CURRENT_HOOK] = f"on_{self._name}_batch_start"
        for call in self._start:
            call(batch, batch_idx)
        progress.increment_started()
        state[CURRENT_HOOK] = f"{self._name}_step"
        output = self._step(batch, batch_idx)
        progress.increment_processed()
        state[CURRENT_HOOK] = f"on_{self._name}_batch_end"
        for call in self._end:
            call(output, batch, batch_idx)
        state[CURRENT_HOOK] = None
        if logged:  # somebody has called self.log
            self._connector.on_batch_end()
        logged.batch = logged.batch_size = None
        progress.increment_completed()
        self.count_batch(self._connector, logged)
        # As in Lightning, after the last batch the evaluation finishes, so its metrics are not lost.
        if self.trainer.received_sigterm and not progress.is_last_batch:
            raise SIGTERMException


def driver_of(trainer: Trainer) -> Any:
    """Return who carries a run through this Trainer, if anybody does."""
    driver = getattr(trainer.lightning_module, "driver", None)
    return driver if getattr(driver, "run", None) is not None else None


@contextmanager
def modes_kept(model: nn.Module) -> Iterator[None]:
    """Put each part of a model back into the mode, train or eval, that it is in now."""
    modes = [(part, part.training) for part in model.modules()]
    try:
        yield
    finally:
        for part, training in modes:
            part.training = training
