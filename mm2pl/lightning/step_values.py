"""A training step's values for whoever reads them in a user's own Trainer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch.callbacks import TQDMProgressBar

from mm2pl.lightning.evaluation import scalars_of
from mm2pl.lightning.private import (
    forget_logged,
    names_logged_in,
    show_to_bar,
    show_to_callbacks,
)

if TYPE_CHECKING:
    from lightning.pytorch import Trainer

    from mm2pl.lightning.module import MMLightningModule

STEP = "training_step"


class StepValues:
    """Hand a step's values to callbacks and the progress bar at once, and to loggers at their interval.

    ``self.log`` would do all of it, for nearly two thousand calls per iteration; with ``prog_bar=True``, Lightning 2.6
    also reads the values in each, which waits for the device. Callbacks get the tensors as they are, and nobody waits
    unless one reads them. A bar shows numbers: they are read when it is drawn.

    Args:
        module: Whose values they are; what a subclass logs itself in its step is left to Lightning.
        trainer: Whose callbacks, bar and loggers get them.
    """

    def __init__(self, module: MMLightningModule, trainer: Trainer) -> None:
        self._module = module
        self._trainer: Any = trainer
        self._bar: Any = trainer.progress_bar_callback
        self._logged: set[str] = set()
        self._log_is_current = False

    def hand_out(self, outputs: Mapping[str, Any], to_loggers: bool) -> None:
        """Let everybody see what a step has returned.

        Args:
            outputs: By name; what is not one number is left out.
            to_loggers: Whether the loggers are to get them too.
        """
        loop = self._trainer.fit_loop.epoch_loop
        # Lightning refuses a second `self.log` of a name with other arguments.
        of_subclass = names_logged_in(loop, STEP) - self._logged
        values = scalars_of({k: value for k, value in outputs.items() if k not in of_subclass})
        if self._log_is_current:
            # Else Lightning would show callbacks the values of that step until the next one that is logged.
            forget_logged(loop, STEP, self._logged)
        if to_loggers:
            self._logged.update(values)
            self._module.log_dict(values, batch_size=1)
        self._log_is_current = to_loggers
        # As `self.log` leaves them: callbacks call methods of tensors without a dimension.
        shown = {
            name: (value.squeeze() if value.ndim else value)
            if isinstance(value, torch.Tensor)
            else torch.tensor(value)
            for name, value in values.items()
        }
        show_to_callbacks(self._trainer, shown)
        if self._bar_is_due():
            show_to_bar(self._trainer, {name: value.item() for name, value in shown.items()})

    def _bar_is_due(self) -> bool:
        if self._bar is None or not getattr(self._bar, "is_enabled", True):
            return False
        # Other bars ask in each batch.
        every = self._bar.refresh_rate if isinstance(self._bar, TQDMProgressBar) else 1
        batches = self._trainer.fit_loop.epoch_loop.batch_progress.current.ready
        return batches % every == 0 or self._trainer.is_last_batch
