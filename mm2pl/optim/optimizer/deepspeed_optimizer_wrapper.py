"""The optimizer wrapper of runs that DeepSpeed drives."""

from __future__ import annotations

from torch.optim import Optimizer

from mm2pl.optim.optimizer.optimizer_wrapper import OptimWrapper
from mm2pl.registry import OPTIM_WRAPPERS


@OPTIM_WRAPPERS.register_module()
class DeepSpeedOptimWrapper(OptimWrapper):
    """Leave accumulation, clipping and precision to DeepSpeed's own configuration.

    Stands for `mmengine._strategy.deepspeed.DeepSpeedOptimWrapper`. The Trainer's DeepSpeedStrategy
    makes the backward passes and the steps; a run under any other strategy is refused.

    Args:
        optimizer: The optimizer that the DeepSpeed engine gets.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        # The optimizer and nothing else: DeepSpeed's JSON has its
        # own accumulation and clipping, which must not act twice.
        super().__init__(optimizer)
