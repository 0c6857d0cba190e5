"""Keep the buffers of all processes the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mm2pl.dist import all_reduce_params, is_distributed
from mm2pl.hooks.hook import Hook
from mm2pl.registry import HOOKS

if TYPE_CHECKING:
    from mm2pl.run.protocols import RunnerLike


@HOOKS.register_module()
class SyncBuffersHook(Hook):
    """Average buffers such as BatchNorm's over the processes after each training epoch.

    Before a validation too, unless an epoch has just ended: in iteration runs there is only one
    epoch end (``mmengine.hooks.SyncBuffersHook``, which asks whether the run is distributed when it
    is built; here the processes may be launched later, by Lightning).
    """

    priority = "NORMAL"

    def __init__(self) -> None:
        self.called_in_train = False

    @property
    def distributed(self) -> bool:
        """Return whether there is more than one process to synchronise with."""
        return is_distributed()

    def before_val_epoch(self, runner: RunnerLike) -> None:
        """Average the buffers unless the end of the epoch has."""
        if self.distributed:
            if not self.called_in_train:
                all_reduce_params(runner.model.buffers(), op="mean")
            self.called_in_train = False

    def after_train_epoch(self, runner: RunnerLike) -> None:
        """Average the buffers."""
        if self.distributed:
            all_reduce_params(runner.model.buffers(), op="mean")
            self.called_in_train = True
