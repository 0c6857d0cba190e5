"""Shuffle every epoch differently."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mm2pl.dataset.utils import set_sampler_epoch
from mm2pl.hooks.hook import Hook
from mm2pl.registry import HOOKS

if TYPE_CHECKING:
    from mm2pl.run.protocols import RunnerLike


@HOOKS.register_module()
class DistSamplerSeedHook(Hook):
    """Call ``set_epoch`` of the training sampler before each epoch.

    The sampler of a custom batch sampler is found too (``mmengine.hooks.DistSamplerSeedHook``).
    """

    priority = "NORMAL"

    def before_train_epoch(self, runner: RunnerLike) -> None:
        """Tell the sampler the epoch."""
        set_sampler_epoch(runner.train_loop.dataloader, runner.epoch)
