"""Parameter schedules under a Trainer: stepped by mm2pl, seen by Lightning."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from lightning.pytorch import Trainer


class SchedulesOfOptimizer:
    """Show one optimizer's schedules to Lightning, for ``LearningRateMonitor`` and the checkpoint.

    Lightning would step a scheduler per optimizer step; MMEngine's tick per batch and per epoch: ``step`` does nothing.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, schedulers: list[Any]) -> None:
        self.optimizer = optimizer
        self.schedulers = schedulers

    @property
    def interval(self) -> str:
        """``"epoch"`` if every schedule ticks by epoch, else ``"step"``: when ``LearningRateMonitor`` looks."""
        return "epoch" if all(scheduler.by_epoch for scheduler in self.schedulers) else "step"

    def step(self, *args: Any, **kwargs: Any) -> None:
        """Do nothing; `mm2pl.optim.scheduler.tick` steps the schedules."""

    def state_dict(self) -> dict[str, Any]:
        """Return the state of every schedule, in list order."""
        return {"schedulers": [scheduler.state_dict() for scheduler in self.schedulers]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore what ``state_dict`` returned."""
        # Not strict: after a change of the config, the file may have more or fewer states than there are schedules.
        for scheduler, state in zip(self.schedulers, state_dict["schedulers"], strict=False):
            scheduler.load_state_dict(state)


def are_built(schedules: object) -> bool:
    """Return whether schedules are built ones, as opposed to what a config says of them; both may be dicts of lists."""
    groups = schedules.values() if isinstance(schedules, dict) else [schedules]
    lists = [group if isinstance(group, list | tuple) else [group] for group in groups]
    return bool(lists) and all(hasattr(each, "get_last_value") for group in lists for each in group)


def are_replaced(trainer: Trainer) -> bool:
    """Return whether a callback such as ``StochasticWeightAveraging`` has put its own schedules into their place."""
    configs = trainer.lr_scheduler_configs
    return bool(configs) and not any(
        isinstance(config.scheduler, SchedulesOfOptimizer) for config in configs
    )
