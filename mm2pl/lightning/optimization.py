"""Who drives the optimizer, Lightning's loop or the model's ``train_step``, and what each of them rules out."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch.callbacks import GradientAccumulationScheduler
from lightning.pytorch.strategies import DeepSpeedStrategy
from torch import nn

from mm2pl.errors import ArgumentError
from mm2pl.lightning.precision import trainers_precision
from mm2pl.model import BaseModel
from mm2pl.optim import AmpOptimWrapper, OptimWrapper
from mm2pl.optim.abilities import has_executor, holds_several
from mm2pl.optim.optimizer import DeepSpeedOptimWrapper
from mm2pl.registry import OPTIM_WRAPPERS
from mm2pl.run.base_loop import drives

if TYPE_CHECKING:
    from lightning.pytorch import Trainer

PLAIN_TRAIN_STEPS = ("mm2pl.model", "mmengine.model.base_model")
"""Modules whose ``train_step`` is the standard one: forward, parse losses, update."""


INSTEAD_OF = {
    "GradientAccumulationScheduler": "set accumulative_counts in optim_wrapper",
    "StochasticWeightAveraging": "use EMAHook with ema_type='StochasticWeightAverage'",
    "LearningRateFinder": "leave it out, and set lr in optim_wrapper",
}
"""Callbacks of Lightning that work on the loop of automatic optimization, and what to do without it."""


def is_config(optim_wrapper: object) -> bool:
    """Return whether an optimizer can be built anew from what was given."""
    return isinstance(optim_wrapper, dict) and isinstance(optim_wrapper.get("optimizer"), dict)


def needs_manual_optimization(model: nn.Module, optim_wrapper: object) -> bool:
    """Return whether a model or its optimizers leave no choice: own ``train_step``, several optimizers."""
    own_step = getattr(type(model), "train_step", BaseModel.train_step)
    if not own_step.__module__.startswith(PLAIN_TRAIN_STEPS):
        return True
    if isinstance(optim_wrapper, dict):
        # Then it is a dict of wrappers by name, from which a constructor makes an OptimWrapperDict.
        return "optimizer" not in optim_wrapper
    return holds_several(optim_wrapper)


UPDATES = (
    "update_params",
    "backward",
    "step",
    "zero_grad",
    "optim_context",
    "scale_loss",
    "should_update",
    "should_sync",
)
"""Methods of an optimizer wrapper in whose place the loop of automatic optimization stands."""

FOLLOWED = (OptimWrapper, AmpOptimWrapper)
"""Classes whose methods do the same as that loop and its precision plugin."""


def updates_its_own_way(wrapper: object) -> bool:
    """Return whether a built wrapper does what automatic optimization would leave out."""
    return holds_several(wrapper) or not has_executor(wrapper) or _overrides(type(wrapper))


def _overrides(kind: Any) -> bool:
    """Return whether a class has methods of its own in place of those that are followed."""
    return any(
        all(getattr(kind, name, None) is not getattr(each, name) for each in FOLLOWED)
        for name in UPDATES
    )


FLAGS = {
    "accumulate_grad_batches": (1, "accumulative_counts"),
    "gradient_clip_val": (None, "clip_grad"),
}
"""The Trainer's flags that only automatic optimization can follow: their default, and what stands for them in
``optim_wrapper``."""


def given_flags(trainer: Trainer) -> dict[str, Any]:
    """Return those of the flags that the Trainer was given."""
    given = {name: getattr(trainer, name) for name in FLAGS}
    return {name: value for name, value in given.items() if value != FLAGS[name][0]}


def refuse_flags(trainer: Trainer, model: nn.Module) -> None:
    """Reject flags and callbacks that a model under manual optimization cannot follow.

    Raises:
        ValueError: Naming what to write into ``optim_wrapper``.
    """
    kind = type(model).__name__
    why = f"{kind} has a train_step of its own or several optimizers, which Lightning's loop cannot drive"
    for name, value in given_flags(trainer).items():
        if value == 0:  # no clipping
            continue
        raise ArgumentError(
            f"Trainer({name}={value!r}) → {why} → set {FLAGS[name][1]} in optim_wrapper"
        )
    for name in automatic_callbacks(trainer):
        raise ArgumentError(f"{name} → {why} → {INSTEAD_OF[name]}")


def refuse_batch_size_finder(trainer: Trainer) -> None:
    """Reject Lightning's batch size finder in a run whose loader, schedules and clocks are those of its config.

    Raises:
        ValueError: The Trainer was given one.
    """
    if "BatchSizeFinder" in kinds_of_callbacks(trainer):
        raise ArgumentError(
            "BatchSizeFinder → the length of a config's run follows from its batch size, which cannot change in it → "
            "leave it out, and set train_dataloader.batch_size"
        )


def require_deepspeed(trainer: Trainer, wrappers: Iterable[Any]) -> None:
    """Reject a :class:`~mm2pl.optim.optimizer.DeepSpeedOptimWrapper` that no DeepSpeed engine would drive.

    Raises:
        ValueError: The Trainer has another strategy.
    """
    if isinstance(trainer.strategy, DeepSpeedStrategy):
        return
    if any(isinstance(wrapper, DeepSpeedOptimWrapper) for wrapper in wrappers):
        raise ArgumentError(
            f"DeepSpeedOptimWrapper under {type(trainer.strategy).__name__} → strategy=dict(type='DeepSpeedStrategy'), "
            f"--trainer.strategy deepspeed, or type='OptimWrapper'"
        )


def reasons_for_automatic(trainer: Trainer) -> list[str]:
    """Return what the Trainer was given that only automatic optimization can do, as users write it."""
    reasons = [f"{name}={value!r}" for name, value in given_flags(trainer).items()]
    precision: Any = trainers_precision(trainer)
    # Such a plugin scales the loss in backward and unscales in step. By hand, the wrapper's `clip_grad`
    # comes between the two and would clip scaled gradients.
    if getattr(precision, "scaler", None) is not None:
        reasons.append(f"precision={precision.precision!r}")
    return reasons + automatic_callbacks(trainer)


def automatic_callbacks(trainer: Trainer) -> list[str]:
    """Return the Trainer's callbacks that need automatic optimization."""
    return [name for name in kinds_of_callbacks(trainer) if name in INSTEAD_OF]


def kinds_of_callbacks(trainer: Trainer) -> list[str]:
    """Return the names of the classes of the Trainer's callbacks, base classes included."""
    callbacks: list[Any] = trainer.callbacks  # type: ignore[attr-defined]
    return [base.__name__ for callback in callbacks for base in type(callback).__mro__]


def let_trainer_clip_and_accumulate(
    trainer: Trainer, wrapper: OptimWrapper, flags_win: bool
) -> list[str]:
    """Decide, for automatic optimization, between settings that optimizer wrapper and Trainer were both given.

    Args:
        trainer: Gets the wrapper's accumulation.
        wrapper: Loses what the Trainer's flags replace.
        flags_win: Whether a flag replaces the wrapper's setting, or giving both is an error.

    Returns:
        What was replaced, as sentences.

    Raises:
        ValueError: Both were given, and ``flags_win`` is false; or a callback and the wrapper say how to accumulate.
    """
    callbacks: list[Any] = trainer.callbacks  # type: ignore[attr-defined]
    for callback in callbacks:
        if isinstance(callback, GradientAccumulationScheduler) and wrapper._accumulative_counts > 1:
            # Lightning would name a flag that nobody has given: below, the Trainer gets the wrapper's setting there.
            raise ArgumentError(
                f"{type(callback).__name__}({callback.scheduling}) and optim_wrapper's accumulative_counts="
                f"{wrapper._accumulative_counts} both say it → keep one of the two"
            )
    settings = {
        "gradient_clip_val": wrapper.clip_grad_kwargs or None,
        "accumulate_grad_batches": wrapper._accumulative_counts,
    }
    replaced = []
    for flag, value in given_flags(trainer).items():
        (default, key), setting = FLAGS[flag], settings[flag]
        if setting == default:
            continue
        if not flags_win:
            raise ArgumentError(
                f"Trainer({flag}={value!r}) and optim_wrapper's {key}={setting!r} both say it → keep one of the two"
            )
        replaced.append(f"{flag}={value!r} replaces optim_wrapper's {key}={setting!r}")
        if key == "clip_grad":
            wrapper.clip_grad_kwargs = None
        else:
            wrapper._accumulative_counts = value
    # The loop that counts the windows is Lightning's, and it reads only its Trainer.
    if trainer.accumulate_grad_batches == 1:
        trainer.accumulate_grad_batches = wrapper._accumulative_counts
    return replaced


def batches_of_max_steps(trainer: Trainer, module: Any, loop: Any) -> float:
    """Return after how many batches ``max_steps`` ends a run; ``inf`` without it, and where no one knows before.

    Args:
        trainer: Counts the steps of the optimizer.
        module: Of the run; its optimizer wrapper need not be built yet.
        loop: The train loop.
    """
    given, theirs = module.optim_wrapper, module.follows_lightning
    by_hand = (
        not module.automatic_optimization
        if theirs
        else needs_manual_optimization(module.model, given)
    )
    if trainer.max_steps < 0 or by_hand or drives(loop) or loop.overrides_run_iter:
        return math.inf
    if "GradientAccumulationScheduler" in kinds_of_callbacks(trainer):
        return math.inf
    window = trainer.accumulate_grad_batches
    if not module.brings_optimizers:
        own = _window(given)
        if own is None:
            return math.inf
        window = own if window == 1 else window
    if loop.by_epoch and (theirs or reasons_for_automatic(trainer)):
        # Lightning's loop also steps after the last batch of an epoch.
        epochs, rest = divmod(trainer.max_steps, math.ceil(loop.epoch_length / window))
        return epochs * loop.epoch_length + min(rest * window, loop.epoch_length)
    return trainer.max_steps * window


def _window(optim_wrapper: Any) -> int | None:
    """Return after how many batches a wrapper, built or not, makes a step; ``None`` if its class decides that."""
    if not isinstance(optim_wrapper, dict):
        return None if updates_its_own_way(optim_wrapper) else optim_wrapper._accumulative_counts
    kind = optim_wrapper.get("type", OptimWrapper)
    # An unknown name is told of where the wrapper is built.
    kind = OPTIM_WRAPPERS.get(kind) if isinstance(kind, str) else kind
    return None if _overrides(kind) else optim_wrapper.get("accumulative_counts", 1)


def with_tensor_loss(outputs: object) -> Any:
    """Return a step's log variables with ``loss`` as a tensor: a model that only logs has the number 0 there.

    Lightning 2.6 calls ``detach`` of what a step under manual optimization returns by that name.

    >>> with_tensor_loss({"loss": 0, "acc": 1.0})
    {'loss': tensor(0), 'acc': 1.0}
    """
    if isinstance(outputs, dict) and "loss" in outputs and not hasattr(outputs["loss"], "detach"):
        return {**outputs, "loss": torch.as_tensor(outputs["loss"])}
    return outputs
