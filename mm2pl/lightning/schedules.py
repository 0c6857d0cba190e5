"""Parameter schedules under a Trainer: stepped by mm2pl, seen by Lightning."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch


class SchedulesOfOptimizer:
    """Show one optimizer's schedules to Lightning, for ``LearningRateMonitor`` and the checkpoint.

    Lightning would step a scheduler per optimizer step; MMEngine's tick per batch and per epoch: ``step`` does nothing.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, schedulers: list[Any]) -> None:
        self.optimizer = optimizer
        self.schedulers = schedulers

    def step(self, *args: Any, **kwargs: Any) -> None:
        """Do nothing; :func:`tick` steps the schedules."""

    def state_dict(self) -> dict[str, Any]:
        """Return the state of every schedule, in list order."""
        return {"schedulers": [scheduler.state_dict() for scheduler in self.schedulers]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore what ``state_dict`` returned."""
        for scheduler, state in zip(self.schedulers, state_dict["schedulers"], strict=False):
            scheduler.load_state_dict(state)


def flat(param_schedulers: Any) -> Iterable[Any]:
    """Iterate over schedules given as a list, or as a dict of lists for several optimizers."""
    if isinstance(param_schedulers, dict):
        return [scheduler for group in param_schedulers.values() for scheduler in group]
    return param_schedulers or ()


def tick(param_schedulers: Any, by_epoch: bool) -> None:
    """Step the schedules of one clock; those that need a metric are stepped after validation."""
    for scheduler in flat(param_schedulers):
        if scheduler.by_epoch == by_epoch and not getattr(scheduler, "need_val_args", False):
            scheduler.step()
