"""The policies for the learning rate."""

from __future__ import annotations

from typing import Any

from mm2pl.optim.scheduler import param_scheduler as policies
from mm2pl.optim.scheduler.policy import named


class LRSchedulerMixin:
    """Fix the param name to ``'lr'``; put before the class it is mixed into."""

    def __init__(self, optimizer: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(optimizer, "lr", *args, **kwargs)  # type: ignore[call-arg]


ConstantLR = named(LRSchedulerMixin, policies.ConstantParamScheduler, "LR")
CosineAnnealingLR = named(LRSchedulerMixin, policies.CosineAnnealingParamScheduler, "LR")
CosineRestartLR = named(LRSchedulerMixin, policies.CosineRestartParamScheduler, "LR")
ExponentialLR = named(LRSchedulerMixin, policies.ExponentialParamScheduler, "LR")
LinearLR = named(LRSchedulerMixin, policies.LinearParamScheduler, "LR")
MultiStepLR = named(LRSchedulerMixin, policies.MultiStepParamScheduler, "LR")
OneCycleLR = named(LRSchedulerMixin, policies.OneCycleParamScheduler, "LR")
PolyLR = named(LRSchedulerMixin, policies.PolyParamScheduler, "LR")
ReduceOnPlateauLR = named(LRSchedulerMixin, policies.ReduceOnPlateauParamScheduler, "LR")
StepLR = named(LRSchedulerMixin, policies.StepParamScheduler, "LR")
