"""Parameter schedules under a Trainer: stepped by mm2pl, seen by Lightning."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch.optim.lr_scheduler import LRScheduler

from mm2pl.hooks.param_scheduler_hook import ParamSchedulerHook
from mm2pl.optim import build_param_schedulers
from mm2pl.run.trainer_view import runner_of

if TYPE_CHECKING:
    from lightning.pytorch import Trainer
    from torch.optim import Optimizer

    from mm2pl.run.protocols import RunnerLike


class SchedulesOfOptimizer(LRScheduler):
    """Show one optimizer's schedules to Lightning, for ``LearningRateMonitor`` and the checkpoint.

    Lightning would step a scheduler per optimizer step; MMEngine's tick per batch and per epoch: ``step`` does nothing,
    and :class:`ScheduleTicks` steps the schedules. It is one of torch's schedulers in kind only, because Lightning
    refuses others of a module that has no ``lr_scheduler_step`` of its own.
    """

    def __init__(self, optimizer: Optimizer, schedulers: list[Any]) -> None:
        # Not torch's: it would make a first step, which these schedules have made when they were built.
        self.optimizer = optimizer
        self.schedulers = schedulers

    @property
    def interval(self) -> str:
        """``"epoch"`` if every schedule ticks by epoch, else ``"step"``: when ``LearningRateMonitor`` looks."""
        return "epoch" if all(scheduler.by_epoch for scheduler in self.schedulers) else "step"

    # What torch's schedulers tell, for modules and callbacks that ask ``self.lr_schedulers()``.

    def get_last_lr(self) -> list[Any]:
        """Return the learning rate of each parameter group."""
        return [group["lr"] for group in self.optimizer.param_groups]

    @property
    def base_lrs(self) -> list[float]:  # type: ignore[override]
        """The learning rate of each parameter group from before any schedule."""
        return [group.get("initial_lr", group["lr"]) for group in self.optimizer.param_groups]

    @property
    def last_epoch(self) -> int:  # type: ignore[override]
        """How often the schedules have ticked on the clock of ``interval``: epochs, or batches."""
        by_epoch = self.interval == "epoch"
        return max(s._global_step for s in self.schedulers if s.by_epoch == by_epoch)

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


class ScheduleTicks(ParamSchedulerHook):
    """Tick the schedules of a module in its user's own Trainer, in their place among MMEngine's hooks."""

    def after_train_epoch(self, runner: RunnerLike) -> None:
        """Tick those by epoch, unless ``max_steps`` has cut the epoch short: it is still to be ended then."""
        if runner.trainer.is_last_batch:
            super().after_train_epoch(runner)

    def after_val_epoch(self, runner: RunnerLike, metrics: dict[str, float] | None = None) -> None:
        """Tick those that watch a metric while it trains; here it may be any that Lightning knows."""
        if runner.trainer.state.fn == "fit":
            known: dict[str, Any] = {**runner.trainer.callback_metrics, **(metrics or {})}
            super().after_val_epoch(runner, known)


def schedules_for(trainer: Trainer | None, param_scheduler: Any, optim_wrapper: Any) -> Any:
    """Build schedules whose missing ``end`` is the end of the training.

    Args:
        trainer: Asked how long that is; without one nobody knows, and a schedule goes on for ever.
        param_scheduler: As in an MMEngine config.
        optim_wrapper: What is scheduled.
    """
    if trainer is None:
        return build_param_schedulers(param_scheduler, optim_wrapper)
    loop = runner_of(trainer).train_loop
    trainer.fit_loop.setup_data()  # Lightning looks at the loader only later
    batches = trainer.num_training_batches
    schedules = build_param_schedulers(
        param_scheduler,
        optim_wrapper,
        max_epochs=loop.max_epochs or None,
        max_iters=loop.max_iters or None,
        # inf is Lightning's length of an iterable data set that has none.
        epoch_length=int(batches) if batches != float("inf") else None,
        by_epoch=True,
    )
    for group in schedules.values() if isinstance(schedules, dict) else [schedules]:
        for schedule in group:
            # One of the real MMEngine's knows nothing of the Trainer's accumulation.
            if hasattr(schedule, "stop_watching"):
                schedule.stop_watching()
    return schedules


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
