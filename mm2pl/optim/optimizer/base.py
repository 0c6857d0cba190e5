"""What the rest of the package may ask of an optimizer wrapper."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch

from mm2pl.optim.simulate import Groups


class BaseOptimWrapper(ABC):
    """A torch optimizer behind MMEngine's interface; stands for `mmengine.optim.BaseOptimWrapper`.

    If ``optimizer`` has more than one param group, it gets a further one, ``base_param_settings``. That group trains
    nothing. It holds the optimizer's defaults and is scheduled like the others, so it shows the learning rate without
    the multipliers of ``paramwise_cfg``.
    """

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self.optimizer = optimizer
        self.base_param_settings: dict[str, Any] | None = None
        # MMEngine's condition: a single group shows the learning rate itself.
        if len(optimizer.param_groups) > 1:
            # A tensor that nobody trains: to a scheduler this is one more param group.
            self.base_param_settings = {"params": torch.tensor([0.0]), **optimizer.defaults}

    @abstractmethod
    def update_params(self, *args: Any, **kwargs: Any) -> None:
        """Make one iteration's update: backward, step and zero_grad."""

    @abstractmethod
    def backward(self, loss: torch.Tensor, **kwargs: Any) -> None:
        """Add the gradients of ``loss``."""

    @abstractmethod
    def zero_grad(self, **kwargs: Any) -> None:
        """Drop the gradients."""

    @abstractmethod
    def step(self, **kwargs: Any) -> None:
        """Update the parameters from their gradients."""

    def state_dict(self) -> dict[str, Any]:
        """Return the optimizer's state, with ``base_param_settings`` if there are any."""
        state_dict = self.optimizer.state_dict()
        if self.base_param_settings is not None:
            state_dict["base_param_settings"] = self.base_param_settings
        return state_dict

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned; ``state_dict`` itself is not changed."""
        # MMEngine 0.10.7 pops from the caller's dict.
        state_dict = dict(state_dict)
        base_param_settings = state_dict.pop("base_param_settings", None)
        if base_param_settings is not None:
            self.base_param_settings = base_param_settings
        self.optimizer.load_state_dict(state_dict)

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """The optimizer's param groups, then ``base_param_settings`` if there are any."""
        if self.base_param_settings is None:
            return self.optimizer.param_groups
        # Last, as in MMEngine: the order of a scheduler's saved `base_values`.
        return [*self.optimizer.param_groups, self.base_param_settings]

    @property
    def defaults(self) -> dict[str, Any]:
        """The optimizer's default settings."""
        return self.optimizer.defaults

    def get_lr(self) -> dict[str, list[float]]:
        """Return ``lr``, one per group, and ``base_lr`` if there are several groups."""
        lr = {"lr": [group["lr"] for group in self.optimizer.param_groups]}
        if self.base_param_settings is None:
            return lr
        # In front: MMEngine's log shows it first.
        return {"base_lr": [self.base_param_settings["lr"]], **lr}

    def get_momentum(self) -> dict[str, list[float]]:
        """Return ``momentum``, one per group: SGD's, else Adam's ``betas[0]``, else 0."""
        return {"momentum": [_momentum(group) for group in self.optimizer.param_groups]}


# A schedule may ask for the class, and a simulated one has groups alone.
BaseOptimWrapper.register(Groups)

OptimizerType = BaseOptimWrapper | torch.optim.Optimizer
"""What a schedule takes."""


def _momentum(group: dict[str, Any]) -> float:
    if "momentum" in group:
        return group["momentum"]
    # A momentum scheduler adds `momentum` to Adam's groups, which then comes first above.
    return group["betas"][0] if "betas" in group else 0
