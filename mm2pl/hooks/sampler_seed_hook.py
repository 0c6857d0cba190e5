"""Shuffle every epoch differently."""

from __future__ import annotations

from typing import Any

from mm2pl.hooks.hook import Hook
from mm2pl.registry import HOOKS


@HOOKS.register_module()
class DistSamplerSeedHook(Hook):
    """Call ``set_epoch`` of the training sampler before each epoch.

    The sampler of a custom batch sampler is found too (``mmengine.hooks.DistSamplerSeedHook``).
    """

    priority = "NORMAL"

    def before_train_epoch(self, runner: Any) -> None:
        """Tell the sampler the epoch."""
        dataloader = runner.train_loop.dataloader
        batch_sampler = getattr(dataloader, "batch_sampler", None)
        for sampler in (
            getattr(dataloader, "sampler", None),
            getattr(batch_sampler, "sampler", None),
        ):
            if sampler is not None and hasattr(sampler, "set_epoch"):
                sampler.set_epoch(runner.epoch)
                return
