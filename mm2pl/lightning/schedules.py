"""Parameter schedules under a Trainer: stepped by mm2pl, seen by Lightning."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch.optim.lr_scheduler import LRScheduler

from mm2pl.checkpoint.format import scheduler_states
from mm2pl.checkpoint.reader import CheckpointError, naming
from mm2pl.errors import ArgumentError
from mm2pl.hooks.param_scheduler_hook import ParamSchedulerHook
from mm2pl.optim import build_param_schedulers
from mm2pl.optim.scheduler.base import INF
from mm2pl.plan.resume import Choice
from mm2pl.run.facts import facts_of
from mm2pl.run.resuming import Resumption
from mm2pl.run.trainer_view import runner_of

if TYPE_CHECKING:
    from lightning.pytorch import Trainer
    from torch.optim import Optimizer

    from mm2pl.lightning.module import MMLightningModule
    from mm2pl.run.protocols import RunnerLike


class SchedulesOfOptimizer(LRScheduler):
    """Show one optimizer's schedules to Lightning, for ``LearningRateMonitor`` and the checkpoint.

    Lightning would step a scheduler per optimizer step; MMEngine's tick per batch and per epoch: ``step`` does nothing,
    and :class:`ScheduleTicks` steps the schedules. It is one of torch's schedulers in kind only, because Lightning
    refuses others of a module that has no ``lr_scheduler_step`` of its own.

    Args:
        optimizer: Whose schedules these are.
        schedulers: In the order in which they are applied.
        restores: Take the states of a file. Of a module of ours the driver does, which also compares them.
    """

    def __init__(self, optimizer: Optimizer, schedulers: list[Any], restores: bool = False) -> None:
        # Not torch's: it would make a first step, which these schedules have made when they were built.
        self.optimizer = optimizer
        self.schedulers = schedulers
        self.restores = restores

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
        """Restore what ``state_dict`` returned, if that is done here.

        Raises:
            CheckpointError: It is that of another number of schedules.
        """
        if self.restores:
            states = state_dict["schedulers"]
            if len(states) != len(self.schedulers):
                raise CheckpointError(
                    f"the file has the states of {len(states)} schedules, and param_scheduler makes "
                    f"{len(self.schedulers)} → give the schedules that it was written with, or begin a new fit from "
                    "its weights"
                )
            for scheduler, state in zip(self.schedulers, states, strict=True):
                scheduler.load_state_dict(state)


class SchedulesOfModule:
    """Build the schedules of a module in its user's own Trainer, and let them follow a length that changes.

    Lightning's schedules by hand have the length that their user gives; an ``end`` that only the Trainer's length has
    given is not part of what a file says, or the fit before.

    Attributes:
        resumption: Of a file that has been read, until the schedules are built and the optimizer is restored.
        replaced: Whether a callback's schedules stood in their place there; its rates follow no plan.
    """

    def __init__(self, module: MMLightningModule) -> None:
        self._module = module
        self._plan: dict[str, Any] = {}
        self.resumption: Resumption | None = None
        self.replaced = False
        self._before: Any = None

    def build(self, trainer: Trainer) -> None:
        """Build what the module was given as a config, for the Trainer's length."""
        module = self._module
        if module.param_scheduler is None or are_built(module.param_scheduler):
            return
        plan = length_of(trainer)
        if module.param_schedulers is not None and plan == self._plan:
            return
        self._before, self._plan = module.param_schedulers, plan
        module.param_schedulers = schedules_for(
            trainer, module.param_scheduler, module.optim_wrapper
        )

    def start(self, trainer: Trainer) -> None:
        """Let the schedules stand where the run does, and say what differs from the file."""
        schedules, view = self._module.param_schedulers, runner_of(trainer)
        resumption, before = self.resumption, self._before
        self.resumption = self._before = None
        from_file = resumption is not None
        if resumption is None:
            if before is None:
                return
            # Another fit of the same Trainer goes on as from a file of this moment.
            resumption = Resumption({"param_schedulers": scheduler_states(before)}, Choice())
        loop, facts = view.train_loop, facts_of(view)
        progress = resumption.progress(loop.epoch, loop.iter, loop.epoch_length)
        with naming(str(trainer.ckpt_path or "The checkpoint")):
            resumption.match(schedules)
        replaced, self.replaced = self.replaced, False
        other = not from_file or resumption.has_other_length(facts)
        if self._plan and other and not replaced:
            resumption.replan(schedules, progress, keep_rates=True)
        else:
            resumption.load(schedules, progress)
        # Without a path the Trainer itself goes back, such as after its tuner has tried something out.
        if from_file and trainer.ckpt_path:
            view.logger.info(resumption.report(facts))


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


def length_of(trainer: Trainer) -> dict[str, Any]:
    """Return how long a Trainer of the user's own will train: the arguments of ``build_param_schedulers``."""
    trainer.fit_loop.setup_data()  # Lightning looks at the loader only later
    loop, batches = runner_of(trainer).train_loop, trainer.num_training_batches
    return {
        "max_epochs": loop.max_epochs or None,
        "max_iters": loop.max_iters or None,
        # inf is Lightning's length of an iterable data set that has none.
        "epoch_length": int(batches) if batches != float("inf") else None,
    }


def schedules_for(trainer: Trainer | None, param_scheduler: Any, optim_wrapper: Any) -> Any:
    """Build schedules whose missing ``end`` is the end of the training.

    Args:
        trainer: Asked how long that is; without one nobody knows, and a schedule goes on for ever.
        param_scheduler: As in an MMEngine config.
        optim_wrapper: What is scheduled.

    Raises:
        ArgumentError: The Trainer does not know it either, and a schedule would never move.
    """
    length = {} if trainer is None else length_of(trainer)
    schedules = build_param_schedulers(param_scheduler, optim_wrapper, **length, by_epoch=True)
    leave_steps_to_trainer(schedules)
    if trainer is not None:
        _require_end(schedules, length)
    return schedules


SPREAD = {
    "LinearParamScheduler": "total_iters",
    "PolyParamScheduler": "total_iters",
    "CosineAnnealingParamScheduler": "T_max",
    "OneCycleParamScheduler": "total_steps",
}
"""Schedules that spread one change over their whole span → the attribute with its length, of mm2pl and MMEngine."""


def _require_end(schedules: Any, length: dict[str, Any]) -> None:
    """Refuse schedules that are spread over the 1e9 steps which stand for no ``end``.

    MMEngine 0.10.7 refuses data without a length in a loop by epochs, whatever the schedule.
    """
    for group in schedules.values() if isinstance(schedules, dict) else [schedules]:
        for schedule in group:
            known, unit, flag = (
                ("max_epochs", "epochs", "max_epochs")
                if schedule.by_epoch
                else ("max_iters", "iterations", "max_steps")
            )
            names = [base.__name__ for base in type(schedule).__mro__]
            spans = [getattr(schedule, SPREAD[name]) for name in names if name in SPREAD]
            if length[known] is None and any(span >= INF - schedule.begin - 1 for span in spans):
                raise ArgumentError(
                    f"{type(schedule).__name__} has no end, and the number of {unit} is not known: the data have no "
                    f"length, or the Trainer no limit → give the schedule an end=…, in {unit}, or Trainer({flag}=…)"
                )


def leave_steps_to_trainer(schedules: Any) -> None:
    """Have no schedule warn of a tick before the optimizer's first step, which the Trainer's accumulation may delay."""
    for group in schedules.values() if isinstance(schedules, dict) else [schedules or []]:
        for schedule in group:
            # One of the real MMEngine's knows nothing of the Trainer's accumulation.
            if hasattr(schedule, "stop_watching"):
                schedule.stop_watching()


def are_built(schedules: object) -> bool:
    """Return whether schedules are built ones, as opposed to what a config says of them; both may be dicts of lists."""
    groups = schedules.values() if isinstance(schedules, dict) else [schedules]
    lists = [group if isinstance(group, list | tuple) else [group] for group in groups]
    return bool(lists) and all(hasattr(each, "get_last_value") for group in lists for each in group)


def split_schedulers(given: Any) -> tuple[Any, list[Any]]:
    """Return what mm2pl builds and ticks, and what Lightning steps: objects of torch's, alone or in Lightning's dicts.

    >>> split_schedulers([{"type": "ConstantLR"}, {"scheduler": "any", "interval": "step"}])
    ([{'type': 'ConstantLR'}], [{'scheduler': 'any', 'interval': 'step'}])
    """
    parts = given if isinstance(given, list | tuple) else [given]
    lightnings = [
        part if isinstance(part, dict) else {"scheduler": part}
        for part in parts
        if _is_lightnings(part)
    ]
    ours = [part for part in parts if not _is_lightnings(part)]
    return (ours or None) if lightnings else given, lightnings


def _is_lightnings(schedule: object) -> bool:
    if isinstance(schedule, dict):
        return "scheduler" in schedule and "type" not in schedule
    return isinstance(schedule, LRScheduler)


def are_replaced(trainer: Trainer, module: MMLightningModule) -> bool:
    """Return whether a callback such as ``StochasticWeightAveraging`` has put its own schedules into their place."""
    given = [config["scheduler"] for config in module.lightning_schedulers]
    now = [config.scheduler for config in trainer.lr_scheduler_configs]
    return bool(now) and not any(
        isinstance(scheduler, SchedulesOfOptimizer) or any(scheduler is each for each in given)
        for scheduler in now
    )
