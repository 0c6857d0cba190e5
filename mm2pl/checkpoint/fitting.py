"""Whether weights are those of a model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from mm2pl.checkpoint.format import without_prefix
from mm2pl.checkpoint.reader import CheckpointError


def fitting_weights(
    model: nn.Module, state_dict: Mapping[str, Any], strict: bool = True
) -> Mapping[str, Any]:
    """Return weights without Lightning's ``model.`` prefix, if they are such as the model has.

    Raises:
        CheckpointError: If they are those of another model.
    """
    own = model.state_dict()
    # Only if no key fits: a model may have a part of its own that is called `model`.
    if not own.keys() & state_dict.keys():
        state_dict = without_prefix(state_dict)
    misfit = differences(own, state_dict, strict)
    if misfit:
        name = type(model).__name__
        raise CheckpointError(
            f"these weights do not fit {name}: {misfit} → is this the checkpoint of another model or config?"
        )
    return state_dict


def differences(own: Mapping[str, Any], given: Mapping[str, Any], strict: bool) -> str:
    """Describe what keeps weights from fitting a model, or return ``""``.

    >>> differences({"w": torch.zeros(2), "b": torch.zeros(1)}, {"w": torch.zeros(3)}, strict=True)
    'w is (3,) in the file and (2,) in the model; 1 missing (b)'
    """
    found = [
        f"{key} is {tuple(given[key].shape)} in the file and {tuple(value.shape)} in the model"
        for key, value in own.items()
        # `get_extra_state` of a module puts any object into a state dict.
        if isinstance(value, torch.Tensor)
        and isinstance(given.get(key), torch.Tensor)
        and given[key].shape != value.shape
    ]
    parts = [*found[:3], *([f"{len(found) - 3} more shapes differ"] if len(found) > 3 else [])]
    missing, unexpected = own.keys() - given.keys(), given.keys() - own.keys()
    for what, keys in (("missing", missing), ("unexpected", unexpected)):
        # Even where differences are allowed, weights without one common key are another model's.
        if keys and (strict or not own.keys() & given.keys()):
            some = ", ".join(sorted(keys)[:3])
            parts.append(f"{len(keys)} {what} ({some}{', …' if len(keys) > 3 else ''})")
    return "; ".join(parts)
