"""The two clocks of a run, and validations: who is stepped when."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from mm2pl.optim.scheduler.base import _ParamScheduler


def tick(schedulers: Iterable[Any], *, by_epoch: bool) -> None:
    """Step the schedulers of one clock, in list order, since each changes what the one before left.

    Those that wait for a metric are stepped too: without one they only count, for ``begin`` and ``end``.
    """
    entry: Any = None
    values: list[Any] | None = None
    for scheduler in schedulers:
        if bool(scheduler.by_epoch) != by_epoch:
            continue
        # A step of its own may do anything.
        if getattr(scheduler.step, "__func__", None) is not _ParamScheduler.step:
            scheduler.step()
            entry = values = None
            continue
        before, entry = entry, (scheduler.optimizer, scheduler.param_name)
        values = scheduler._step_from(values if entry == before else None)


def tick_metrics(schedulers: Iterable[Any], metrics: dict[str, Any]) -> None:
    """Hand the metrics of a validation to the schedulers that wait for them (``ReduceOnPlateau…``)."""
    for scheduler in schedulers:
        # MMEngine knows them by this attribute. A run that only validates may still hold configs here.
        if getattr(scheduler, "need_val_args", False) and scheduler.by_epoch:
            scheduler.step(metrics)
