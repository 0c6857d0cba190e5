"""MMEngine's optimizers and schedules for any LightningModule."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mm2pl.config import as_config
from mm2pl.dataset import batch_size_of
from mm2pl.errors import ArgumentError
from mm2pl.hooks.param_scheduler_hook import ParamSchedulerHook
from mm2pl.hooks.stages import HookStages
from mm2pl.lightning.optimization import UPDATES
from mm2pl.lightning.private import trainer_of
from mm2pl.lightning.schedules import SchedulesOfOptimizer, ScheduleTicks, schedules_for
from mm2pl.lightning.settings import Settings, SettingsList
from mm2pl.optim import OptimWrapper, _ParamScheduler, as_optim_wrapper, scale_lr
from mm2pl.optim.abilities import wrappers_of

if TYPE_CHECKING:
    from lightning.pytorch import LightningModule, Trainer
    from lightning.pytorch.utilities.types import OptimizerLRScheduler
    from torch import nn


def configure_optimizers(
    module: LightningModule,
    optim_wrapper: Settings | OptimWrapper,
    param_scheduler: Settings | SettingsList | _ParamScheduler | None = None,
    auto_scale_lr: Settings | None = None,
    model: nn.Module | None = None,
) -> OptimizerLRScheduler:
    """Make MMEngine's optimizers and schedules, for any LightningModule's ``configure_optimizers`` to return.

    As in::

        def configure_optimizers(self):
            return mm2pl.lightning.configure_optimizers(
                self,
                optim_wrapper=dict(optimizer=dict(type="AdamW", lr=1e-3), paramwise_cfg=dict(norm_decay_mult=0)),
                param_scheduler=[dict(type="LinearLR", by_epoch=False, end=500), dict(type="CosineAnnealingLR")],
            )

    The schedules tick when MMEngine's do, under automatic and manual optimization: by iteration after each batch, also
    where gradients are accumulated, and by epoch after its last batch, before the validation. A hook that is added to
    the Trainer's callbacks sees to that, unless there is a ``ParamSchedulerHook``; Lightning calls ``step`` of what is
    returned, which does nothing. A checkpoint of Lightning's holds their states.

    Args:
        module: Whose method this is. Without a Trainer, for Fabric or a test, a schedule without an ``end`` goes on for
            ever, and nobody ticks it.
        optim_wrapper: As in an MMEngine config, or built. What the module's Trainer does is refused here: accumulation,
            clipping, precision.
        param_scheduler: As in an MMEngine config: a dict, a list, or a dict of lists for several optimizers.
        auto_scale_lr: As in an MMEngine config.
        model: The part of the module to train. The rules of ``paramwise_cfg`` match on the names that it has there;
            default: all of the module.

    Raises:
        ValueError: ``optim_wrapper`` asks for what only the Trainer can do.
    """
    trainer = trainer_of(module)
    built = as_optim_wrapper(module if model is None else model, as_config(optim_wrapper))
    wrappers = wrappers_of(built)
    for wrapper in wrappers.values():
        refuse_what_trainers_do(wrapper)
    if trainer is not None:
        scale_by_batch(trainer, built, auto_scale_lr)
    schedules = schedules_for(trainer, as_config(param_scheduler), built) if param_scheduler else []
    views = [
        SchedulesOfOptimizer(
            wrapper.optimizer,
            schedules[name] if isinstance(schedules, dict) else schedules,
            restores=True,
        )
        for name, wrapper in wrappers.items()
    ]
    if trainer is not None and schedules:
        let_schedules_tick(trainer)
    return (
        [wrapper.optimizer for wrapper in wrappers.values()],
        [{"scheduler": view, "interval": view.interval} for view in views if view.schedulers],
    )  # type: ignore[return-value]


def refuse_what_trainers_do(wrapper: OptimWrapper) -> None:
    """Reject settings that a module's own loop would not follow, as it takes the optimizer out of the wrapper.

    Raises:
        ValueError: Naming the Trainer's flag.
    """
    counts = getattr(wrapper, "_accumulative_counts", 1)
    clip = getattr(wrapper, "clip_grad_kwargs", None) or {}
    asked = {
        f"accumulative_counts={counts!r}": (
            counts != 1,
            f"Trainer(accumulate_grad_batches={counts!r})",
        ),
        f"clip_grad={clip!r}": (
            clip,
            f"Trainer(gradient_clip_val={clip.get('max_norm', clip.get('clip_value'))!r})",
        ),
        f"type={type(wrapper).__name__!r}": (
            any(
                getattr(type(wrapper), name, None) is not getattr(OptimWrapper, name)
                for name in UPDATES
            ),
            "type='OptimWrapper', and Trainer(precision=…) for mixed precision",
        ),
    }
    for setting, (given, instead) in asked.items():
        if given:
            raise ArgumentError(
                f"optim_wrapper's {setting} → here the Trainer, or under manual optimization your training_step, "
                f"updates the weights → {instead}"
            )


def scale_by_batch(trainer: Trainer, optim_wrapper: Any, auto_scale_lr: Any) -> bool:
    """Scale the learning rates to the real total batch size, if that is wanted; return whether it was."""
    wanted = bool((auto_scale_lr or {}).get("enable"))
    if wanted:
        trainer.fit_loop.setup_data()  # Lightning looks at the loader only later
        batch_size = batch_size_of(trainer.train_dataloader) * trainer.world_size
        scale_lr(optim_wrapper, auto_scale_lr, batch_size)
    return wanted


def let_schedules_tick(trainer: Trainer) -> None:
    """Add who ticks the schedules to the Trainer's callbacks, unless one of them does so already."""
    callbacks: list[Any] = trainer.callbacks  # type: ignore[attr-defined]
    if not any(isinstance(callback, ParamSchedulerHook) for callback in callbacks):
        callbacks.append(ScheduleTicks())
    HookStages.drive_added(trainer)
