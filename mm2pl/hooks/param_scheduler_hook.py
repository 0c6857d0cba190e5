"""Step the schedules of learning rate, momentum and other optimizer parameters."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from mm2pl.errors import ArgumentError
from mm2pl.hooks.hook import DATA_BATCH, Hook
from mm2pl.optim.scheduler.tick import tick, tick_metrics
from mm2pl.registry import HOOKS

if TYPE_CHECKING:
    from mm2pl.run.protocols import RunnerLike, SchedulerLike


@HOOKS.register_module()
class ParamSchedulerHook(Hook):
    """Step schedulers by iteration after each batch and those by epoch after each epoch.

    Never per optimizer step: accumulation changes nothing. Schedulers with ``need_val_args``
    (``ReduceOnPlateau…``) get the metrics of each validation.
    Stands for ``mmengine.hooks.ParamSchedulerHook``.
    """

    priority = "LOW"

    def after_train_iter(
        self,
        runner: RunnerLike,
        batch_idx: int,
        data_batch: DATA_BATCH = None,
        outputs: dict | None = None,
    ) -> None:
        """Step the schedulers that count iterations."""
        tick(_schedulers(runner), by_epoch=False)

    def after_train_epoch(self, runner: RunnerLike) -> None:
        """Step the schedulers that count epochs."""
        tick(_schedulers(runner), by_epoch=True)

    def after_val_epoch(self, runner: RunnerLike, metrics: dict[str, float] | None = None) -> None:
        """Hand the metrics to the schedulers that wait for them."""
        if metrics is not None:
            tick_metrics(_schedulers(runner), metrics)


def _schedulers(runner: RunnerLike) -> Iterator[SchedulerLike]:
    # Where a callback such as StochasticWeightAveraging has put its own schedule into their place, none is left.
    found = runner.param_schedulers
    if found is None or getattr(runner, "ticking_schedulers", found) is None:
        return
    # A run that only validates holds what its schedules would be built from, as MMEngine's Runner does. MMEngine's hook
    # fails on that where it is one dict, although there is nothing to step.
    if isinstance(found, dict) and "type" in found:
        return
    lists = found.values() if isinstance(found, dict) else [found]
    for schedulers in lists:
        if not isinstance(schedulers, list):
            raise ArgumentError(
                "runner.param_schedulers should be list of ParamScheduler or a dict containing "
                f"list of ParamScheduler, but got {found!r}"
            )
        yield from schedulers
