"""From an ``optim_wrapper`` config to a wrapper, and from a wrapper to a mode of optimization."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from mm2pl.model import BaseModel
from mm2pl.optim import AmpOptimWrapper, BaseOptimWrapper, OptimWrapperDict, build_optim_wrapper
from mm2pl.registry import OPTIM_WRAPPERS

PLAIN_TRAIN_STEPS = ("mm2pl.model", "mmengine.model.base_model")
"""Modules whose ``train_step`` is the standard one: forward, parse losses, update."""


def make_optim_wrapper(model: nn.Module, config: Any) -> Any:
    """Build the optimizer wrapper of a config; a built one is returned as it is.

    Raises:
        TypeError: If ``config`` is neither a wrapper nor a dict.
        ValueError: If a dict names neither ``optimizer`` nor ``constructor`` and holds anything but built wrappers.
    """
    if isinstance(config, BaseOptimWrapper) or hasattr(config, "update_params"):
        return config
    if not isinstance(config, dict):
        raise TypeError(
            f"optim_wrapper={config!r} → an OptimWrapper or a dict such as dict(optimizer=dict(type='SGD', lr=0.01)) is needed"
        )
    optimizer = config.get("optimizer")
    if isinstance(optimizer, torch.optim.Optimizer):
        return OPTIM_WRAPPERS.build({"type": "OptimWrapper", **config})
    if optimizer is not None or "constructor" in config:
        return build_optim_wrapper(model, config)
    unbuilt = [name for name, value in config.items() if not hasattr(value, "update_params")]
    if unbuilt:
        raise ValueError(
            f"optim_wrapper with the keys {list(config)} → either 'optimizer', or 'constructor', or only built wrappers are "
            f"accepted; {unbuilt} are not"
        )
    return OptimWrapperDict(**config)


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
