"""Timers, samplers, buffers, averaged weights: the small hooks of 1.x."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch

from mm2pl.dataset.utils import set_sampler_epoch
from mm2pl.errors import ArgumentError
from mm2pl.mmcv.parallel import is_module_wrapper
from mm2pl.mmcv.runner.builder import HOOKS
from mm2pl.mmcv.runner.dist_utils import allreduce_params
from mm2pl.mmcv.runner.hooks.hook import Hook

if TYPE_CHECKING:
    from mm2pl.mmcv.runner.base_runner import BaseRunner


@HOOKS.register_module()
class IterTimerHook(Hook):
    """Log how long an iteration takes, and how long it waited for its data; seconds."""

    def before_epoch(self, runner: BaseRunner) -> None:
        """Start the clock."""
        # Validation epochs start it too: the time between two epochs belongs to no iteration.
        self.t = time.time()

    def before_iter(self, runner: BaseRunner) -> None:
        """Log the waiting time."""
        runner.log_buffer.update({"data_time": time.time() - self.t})

    def after_iter(self, runner: BaseRunner) -> None:
        """Log the whole time, and start the clock again."""
        # With MMCV 1.7.2's priority LOW this includes the optimizer's step and the writing of a checkpoint.
        runner.log_buffer.update({"time": time.time() - self.t})
        self.t = time.time()


@HOOKS.register_module()
class DistSamplerSeedHook(Hook):
    """Tell the sampler, or the batch sampler's, which epoch begins."""

    def before_epoch(self, runner: BaseRunner) -> None:
        """Call ``set_epoch``."""
        # `runner.epoch` is the index of the epoch to come. MMCV 1.7.2
        # falls back on the sampler of the batch sampler.
        set_sampler_epoch(runner.data_loader, runner.epoch)


@HOOKS.register_module()
class SyncBuffersHook(Hook):
    """Average the model's buffers over all processes after each epoch.

    Args:
        distributed: Whether there are several processes.
    """

    def __init__(self, distributed: bool = True) -> None:
        self.distributed = distributed

    def after_epoch(self, runner: BaseRunner) -> None:
        """Average."""
        # Priority NORMAL is before EvalHook's LOW, so that each process evaluates the same statistics.
        if self.distributed:
            allreduce_params(runner.model.buffers())


@HOOKS.register_module()
class EmptyCacheHook(Hook):
    """Free CUDA's cached memory at the points asked for.

    Args:
        before_epoch: A point.
        after_epoch: A point.
        after_iter: A point.
    """

    def __init__(
        self, before_epoch: bool = False, after_epoch: bool = True, after_iter: bool = False
    ) -> None:
        self._at = {
            "before_epoch": before_epoch,
            "after_epoch": after_epoch,
            "after_iter": after_iter,
        }

    def _empty(self, point: str) -> None:
        if self._at[point]:
            torch.cuda.empty_cache()

    def before_epoch(self, runner: BaseRunner) -> None:
        """Free, if asked to."""
        self._empty("before_epoch")

    def after_epoch(self, runner: BaseRunner) -> None:
        """Free, if asked to."""
        self._empty("after_epoch")

    def after_iter(self, runner: BaseRunner) -> None:
        """Free, if asked to."""
        self._empty("after_iter")


@HOOKS.register_module()
class ClosureHook(Hook):
    """Call a function at one point.

    Args:
        fn_name: The point, such as ``'after_run'``.
        fn: Takes the runner.

    Raises:
        TypeError: ``fn`` cannot be called.
        ValueError: There is no such point.
    """

    def __init__(self, fn_name: str, fn: Callable[[Any], Any]) -> None:
        if not hasattr(self, fn_name):
            raise ArgumentError(
                f"fn_name={fn_name!r} is not a point of a hook: {', '.join(self.stages)}."
            )
        if not callable(fn):
            raise ArgumentError(f"fn={fn!r} must be callable.")
        # On the instance, as in MMCV 1.7.2: `fn` gets the runner alone, not the hook.
        setattr(self, fn_name, fn)


@HOOKS.register_module()
class EMAHook(Hook):
    """Keep an average of the parameters as buffers ``ema_*``, and validate and save it.

    Args:
        momentum: Weight of the new parameters; MMCV 1.7.2 raises it to the power of ``interval``.
        interval: Iterations between updates.
        warm_up: At iteration i the momentum is at most ``(1 + i) / (warm_up + i)``.
        resume_from: A checkpoint to resume, average included.

    Raises:
        ValueError: ``momentum`` or ``interval`` is out of range.
    """

    def __init__(
        self,
        momentum: float = 0.0002,
        interval: int = 1,
        warm_up: int = 100,
        resume_from: str | None = None,
    ) -> None:
        if not isinstance(interval, int) or interval <= 0 or not 0 < momentum < 1:
            raise ArgumentError(
                f"momentum={momentum!r}, interval={interval!r}: momentum must be between 0 and 1, interval positive."
            )
        # A quirk of MMCV 1.7.2: a longer interval makes the momentum much smaller, 0.0002 ** 2 = 4e-8.
        self.momentum = momentum**interval
        self.interval = interval
        self.warm_up = warm_up
        self.checkpoint = resume_from

    def before_run(self, runner: BaseRunner) -> None:
        """Register the buffers."""
        model: Any = runner.model
        model = model.module if is_module_wrapper(model) else model
        self.pairs = []
        # Buffers, so that they are saved and moved with the model. A buffer's name must have no dots.
        # MMCV 1.7.2 averages parameters only: BatchNorm's statistics stay those of the trained model.
        for name, parameter in model.named_parameters():
            buffer = "ema_" + name.replace(".", "_")
            model.register_buffer(buffer, parameter.data.clone())
            self.pairs.append((parameter, buffer))
        self.model = model
        if self.checkpoint is not None:
            # After the buffers exist: loading would otherwise drop the saved averages as unexpected keys.
            runner.resume(self.checkpoint)

    def after_train_iter(self, runner: BaseRunner) -> None:
        """Update the average."""
        step = runner.iter
        # `runner.iter` counts from 0, so the first iteration of the run updates the average.
        if step % self.interval:
            return
        # MMCV 1.7.2 lets the average move more slowly at first. This acts only where momentum * warm_up exceeds 1.
        momentum = min(self.momentum, (1 + step) / (self.warm_up + step))
        for parameter, buffer in self.pairs:
            average = getattr(self.model, buffer)
            average.mul_(1 - momentum).add_(parameter.data, alpha=momentum)

    def after_train_epoch(self, runner: BaseRunner) -> None:
        """Put the average in the parameters' place, for validation and checkpoints."""
        # Only a priority above CheckpointHook's makes the file hold the average: 1.x configs give 49.
        self._swap_ema_parameters()

    def before_train_epoch(self, runner: BaseRunner) -> None:
        """Put the parameters back."""
        # Before the first epoch both are equal. After a resume the
        # file has them exchanged, and this puts them right.
        self._swap_ema_parameters()

    def _swap_ema_parameters(self) -> None:
        for parameter, buffer in self.pairs:
            average = getattr(self.model, buffer)
            kept = parameter.data.clone()
            parameter.data.copy_(average)
            average.copy_(kept)
