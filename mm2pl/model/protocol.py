"""What makes a module a model that a run can drive, whoever wrote its base class."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

STEPS = ("train_step", "val_step", "test_step")
"""The methods that a run calls."""

_STANDARD_STEPS = ("mm2pl.model.", "mmengine.model.base_model")


def is_mm_model(module: Any) -> bool:
    """Say whether ``module`` has the three steps: ours, MMEngine's own BaseModel, a wrapper of one, or a user's module.

    >>> from mm2pl.model import BaseModel
    >>> class Net(BaseModel):
    ...     def forward(self, x, mode): ...
    >>> is_mm_model(Net()), is_mm_model(nn.Linear(1, 1))
    (True, False)
    """
    return isinstance(module, nn.Module) and all(
        callable(getattr(module, step, None)) for step in STEPS
    )


def has_own_train_step(model: nn.Module) -> bool:
    """Say whether a model updates itself in its own way, rather than by the standard ``train_step``."""
    step = getattr(type(model), "train_step", None)
    return step is not None and not step.__module__.startswith(_STANDARD_STEPS)


def set_preprocessor_device(model: nn.Module, device: torch.device) -> None:
    """Tell MMEngine's own data preprocessors within ``model`` where they are.

    They remember the device of their last ``.to()``, which is not called when a module around the model is moved
    (ours look at a buffer).
    """
    for module in model.modules():
        if isinstance(module.__dict__.get("_device"), torch.device):
            module._device = device  # type: ignore[assignment]
