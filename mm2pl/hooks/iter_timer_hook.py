"""Measure how long iterations and loading take, and when the run will end."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from mm2pl.dataset.utils import length_of
from mm2pl.hooks.hook import DATA_BATCH, Hook
from mm2pl.registry import HOOKS

if TYPE_CHECKING:
    from mm2pl.run.protocols import RunnerLike


@HOOKS.register_module()
class IterTimerHook(Hook):
    """Record ``time`` and ``data_time`` of each iteration and ``eta``, all in seconds.

    ``data_time`` runs from the end of the last iteration to the start of this one, ``time`` to the
    end of this one. On a GPU they are the host's times: nothing waits for the device
    (``mmengine.hooks.IterTimerHook``).
    """

    priority = "NORMAL"

    def __init__(self) -> None:
        self.time_sec_tot = 0.0
        self.time_sec_test_val = 0.0
        self.start_iter = 0
        self.t = time.time()
        self._batches: int | None = None

    def before_train(self, runner: RunnerLike) -> None:
        """Average over the iterations of this process only, not those before a resume."""
        self.start_iter = runner.iter

    def _before_epoch(self, runner: RunnerLike, mode: str = "train") -> None:
        self.t, self._batches = time.time(), None

    def _after_epoch(self, runner: RunnerLike, mode: str = "train") -> None:
        self.time_sec_test_val = 0.0

    def _before_iter(
        self, runner: RunnerLike, batch_idx: int, data_batch: DATA_BATCH = None, mode: str = "train"
    ) -> None:
        runner.message_hub.update_scalar(f"{mode}/data_time", time.time() - self.t)

    def _after_iter(
        self,
        runner: RunnerLike,
        batch_idx: int,
        data_batch: DATA_BATCH = None,
        outputs: dict | Sequence | None = None,
        mode: str = "train",
    ) -> None:
        now = time.time()
        elapsed, self.t = now - self.t, now
        runner.message_hub.update_scalar(f"{mode}/time", elapsed)
        if mode == "train":
            self.time_sec_tot += elapsed
            iteration = runner.iter
            average = self.time_sec_tot / (iteration - self.start_iter + 1)
            left = runner.max_iters - iteration - 1
        else:
            self.time_sec_test_val += elapsed
            average = self.time_sec_test_val / (batch_idx + 1)
            if batch_idx == 0 or self._batches is None:
                # Once per evaluation: a loader asks its samplers and its data set.
                self._batches = length_of(getattr(runner, f"{mode}_dataloader"))
            left = -1 if self._batches is None else self._batches - batch_idx - 1
        if left >= 0:
            runner.message_hub.update_info("eta", average * left)
        else:
            # Nobody knows when data without a length end, and what was foretold of other data is not it.
            runner.message_hub.pop_info("eta", None)
