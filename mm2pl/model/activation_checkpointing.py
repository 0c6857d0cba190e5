"""Less memory for activations, by computing them twice."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from operator import attrgetter
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint


def turn_on_activation_checkpointing(model: nn.Module, modules: list[str] | str) -> None:
    """Let parts of ``model`` recompute their activations in the backward pass.

    Stands for `mmengine.runner.activation_checkpointing.turn_on_activation_checkpointing`.

    Args:
        model: Changed in place.
        modules: Paths of submodules, such as ``"backbone.layer1"``.

    Raises:
        AttributeError: There is no such submodule.
    """
    for path in [modules] if isinstance(modules, str) else modules:
        module = attrgetter(path)(model)
        # On the instance, as in MMEngine: the module's hooks and the keys of its state dict stay.
        module.forward = _checkpointed(module.forward)


def _checkpointed(forward: Callable[..., Any]) -> Any:
    @wraps(forward)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        # torch's reentrant variant, MMEngine's only one, sees nothing but tensors that are arguments themselves. Where
        # none of them has a gradient (images; lists of feature maps) MMEngine 0.10.7 leaves the part untrained.
        seen = any(isinstance(arg, torch.Tensor) and arg.requires_grad for arg in args)
        return checkpoint(forward, *args, use_reentrant=seen and not kwargs, **kwargs)

    return wrapper
