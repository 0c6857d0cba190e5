"""From an optimizer wrapper to a mode of optimization."""

from __future__ import annotations

from typing import Any

from torch import nn

from mm2pl.model import BaseModel
from mm2pl.optim import AmpOptimWrapper, OptimWrapperDict

PLAIN_TRAIN_STEPS = ("mm2pl.model", "mmengine.model.base_model")
"""Modules whose ``train_step`` is the standard one: forward, parse losses, update."""


def wrappers_of(optim_wrapper: Any) -> dict[str, Any]:
    """Return the single wrappers by name; one alone has the name ``""``."""
    return (
        dict(optim_wrapper.items())
        if isinstance(optim_wrapper, OptimWrapperDict)
        else {"": optim_wrapper}
    )


def needs_manual_optimization(model: nn.Module, optim_wrapper: Any) -> bool:
    """Say whether a model or its optimizers leave no choice: own ``train_step``, several optimizers, own autocast."""
    own_step = getattr(type(model), "train_step", BaseModel.train_step)
    if not own_step.__module__.startswith(PLAIN_TRAIN_STEPS):
        return True
    if isinstance(optim_wrapper, dict):
        kind = optim_wrapper.get("type")
        return kind in ("AmpOptimWrapper", AmpOptimWrapper) or "optimizer" not in optim_wrapper
    return isinstance(optim_wrapper, (OptimWrapperDict, AmpOptimWrapper))
