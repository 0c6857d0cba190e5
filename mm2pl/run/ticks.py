"""Ticks of the schedules that a file lacks, because a hook wrote it before their turn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mm2pl.optim.scheduler.tick import tick

CLOCKS = {"iter": False, "epoch": True}
"""Name of a clock in a file → ``by_epoch`` of the schedules that it ticks."""


class TickCount:
    """Know how often schedules have been ticked, and how often that ought to be.

    MMEngine's ``ParamSchedulerHook`` comes at priority 70, and a hook may save before it: what the schedules say then
    is a step behind the weights.
    """

    def __init__(self) -> None:
        self._begun: list[tuple[Any, int]] = []

    def begin(self, schedulers: Any, position: Mapping[str, int]) -> None:
        """Note where the schedules stand at a place of the run where no tick is due.

        Args:
            schedulers: A list, a dict of lists or ``None``; they may have begun later than the run.
            position: Finished iterations and epochs: ``{"iter": …, "epoch": …}``.
        """
        by_clock = {by_epoch: position[clock] for clock, by_epoch in CLOCKS.items()}
        self._begun = [
            (scheduler, scheduler._global_step - by_clock[bool(scheduler.by_epoch)])
            for scheduler in _flat(schedulers)
            if hasattr(scheduler, "_global_step")
        ]

    def due(self, position: Mapping[str, int]) -> dict[str, int]:
        """Return per clock how many ticks are missing at a place of the run; nothing for a clock that is right.

        ``_global_step`` is what counts them, as in MMEngine 0.10.7: ``last_step`` stands still beyond a schedule's end.
        """
        missing = {
            clock: max(
                (
                    position[clock] - (scheduler._global_step - ahead)
                    for scheduler, ahead in self._begun
                    if bool(scheduler.by_epoch) == by_epoch
                ),
                default=0,
            )
            for clock, by_epoch in CLOCKS.items()
        }
        return {clock: count for clock, count in missing.items() if count > 0}


def make_up(schedulers: Any, due: Mapping[str, int]) -> None:
    """Tick what was due when the file was written; the optimizer must be that of the file by now.

    MMEngine's own resume from such a file lacks these ticks for good.
    """
    schedulers = _flat(schedulers) if due else []
    for scheduler in schedulers:
        if hasattr(scheduler, "stop_watching"):
            # The steps that it would miss were made by the process that wrote the file.
            scheduler.stop_watching()
    for clock, by_epoch in CLOCKS.items():
        for _ in range(due.get(clock, 0)):
            tick(schedulers, by_epoch=by_epoch)


def _flat(schedulers: Any) -> list[Any]:
    groups = schedulers.values() if isinstance(schedulers, dict) else [schedulers or ()]
    return [scheduler for group in groups for scheduler in group]
