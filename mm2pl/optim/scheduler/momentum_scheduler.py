"""The policies for the momentum: SGD's ``momentum``, or the first of Adam's ``betas``."""

from __future__ import annotations

from typing import Any

from mm2pl.errors import ArgumentError
from mm2pl.optim.scheduler import param_scheduler as policies
from mm2pl.optim.scheduler.base import check_optimizer
from mm2pl.optim.scheduler.policy import named


class MomentumSchedulerMixin:
    """Fix the param name to ``'momentum'``; put before the class it is mixed into.

    With Adam and its kin each group gets an entry ``momentum``, which is scheduled and copied to
    ``betas[0]`` at each step.

    Raises:
        ValueError: The optimizer has no momentum.
    """

    def __init__(self, optimizer: Any, *args: Any, **kwargs: Any) -> None:
        check_optimizer(optimizer)
        # Before `super().__init__`, whose first `step` reads it.
        self.use_betas = "momentum" not in optimizer.defaults
        if self.use_betas:
            if "betas" not in optimizer.defaults:
                raw = getattr(optimizer, "optimizer", optimizer)
                raise ArgumentError(
                    "optimizer must support momentum when using momentum scheduler, but "
                    f"{type(raw).__name__} has none: use one with `momentum` or `betas`, or remove "
                    "the momentum scheduler."
                )
            # A schedule changes one entry: the pair is unpacked here and packed again after each step.
            for group in optimizer.param_groups:
                group["momentum"] = group["betas"][0]
        super().__init__(optimizer, "momentum", *args, **kwargs)  # type: ignore[call-arg]

    def step(self, *args: Any, **kwargs: Any) -> None:
        """Step the schedule, and copy the momentum to ``betas``."""
        super().step(*args, **kwargs)  # type: ignore[misc]
        if self.use_betas:
            for group in self.optimizer.param_groups:  # type: ignore[attr-defined]
                group["betas"] = (group["momentum"], group["betas"][1])


ConstantMomentum = named(MomentumSchedulerMixin, policies.ConstantParamScheduler, "Momentum")
CosineAnnealingMomentum = named(
    MomentumSchedulerMixin, policies.CosineAnnealingParamScheduler, "Momentum"
)
CosineRestartMomentum = named(
    MomentumSchedulerMixin, policies.CosineRestartParamScheduler, "Momentum"
)
ExponentialMomentum = named(MomentumSchedulerMixin, policies.ExponentialParamScheduler, "Momentum")
LinearMomentum = named(MomentumSchedulerMixin, policies.LinearParamScheduler, "Momentum")
MultiStepMomentum = named(MomentumSchedulerMixin, policies.MultiStepParamScheduler, "Momentum")
PolyMomentum = named(MomentumSchedulerMixin, policies.PolyParamScheduler, "Momentum")
ReduceOnPlateauMomentum = named(
    MomentumSchedulerMixin, policies.ReduceOnPlateauParamScheduler, "Momentum"
)
StepMomentum = named(MomentumSchedulerMixin, policies.StepParamScheduler, "Momentum")
