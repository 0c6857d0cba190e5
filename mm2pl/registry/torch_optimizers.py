"""Register torch's optimizers; imported when an optimizer is first looked up."""

from __future__ import annotations

import inspect

import torch

from mm2pl.registry.located import locations
from mm2pl.registry.root import OPTIMIZERS


def register_torch_optimizers() -> list[str]:
    """Register the classes of `torch.optim` and return their names there."""
    optimizers = {
        name: found
        for name, found in vars(torch.optim).items()
        if inspect.isclass(found) and issubclass(found, torch.optim.Optimizer)
    }
    for name, optimizer in sorted(optimizers.items()):
        OPTIMIZERS._register_own(optimizer, locations().RENAMED.get(name, name))
    return sorted(optimizers)


# At import, which the registry does at its first miss.
TORCH_OPTIMIZERS = register_torch_optimizers()
