"""Parameters on the meta device: shapes without values, of a model too large for each process to have it whole."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from mm2pl.errors import ArgumentError


@contextmanager
def parameters_on_meta() -> Iterator[None]:
    """Let the modules that are made inside have parameters without values, which take no memory.

    Buffers keep theirs: many are in no file, such as the mean of a data preprocessor.

    Example:
        >>> with parameters_on_meta():
        ...     norm = nn.BatchNorm1d(3)
        >>> norm.weight.is_meta, norm.running_var
        (True, tensor([1., 1., 1.]))
    """
    handle = register_module_parameter_registration_hook(_emptied)
    try:
        yield
    finally:
        handle.remove()


def _emptied(module: nn.Module, name: str, parameter: nn.Parameter | None) -> Any:
    if parameter is None or parameter.is_meta:  # the second name of one that two modules share
        return parameter
    known = vars(parameter)
    if "_mm2pl_on_meta" not in known:  # else two modules were given the same object
        known["_mm2pl_on_meta"] = _like(parameter, "meta")
    return known["_mm2pl_on_meta"]


def _like(parameter: nn.Parameter, device: torch.device | str) -> nn.Parameter:
    empty = torch.empty_like(parameter.detach(), device=device)
    made = nn.Parameter(empty, requires_grad=parameter.requires_grad)
    vars(made).update(
        vars(parameter)
    )  # what projects note at a parameter, such as its share of the learning rate
    return made


def give_memory(parameter: nn.Parameter, device: torch.device) -> None:
    """Put a parameter that has no values on a device, in place: optimizers and other modules have it too."""
    torch.utils.swap_tensors(parameter, _like(parameter, device))


def refuse_meta(model: nn.Module) -> None:
    """Refuse a model that nobody would give values.

    Raises:
        ArgumentError: Some of its weights are on the meta device.
    """
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    found = [name for name, tensor in tensors.items() if tensor.is_meta]
    if found:
        raise ArgumentError(
            f"{', '.join(found[:3])}{', …' if found[3:] else ''} on the meta device, without values → build the model "
            "outside of torch.device('meta'). For one that is too large for each process strategy=dict(type='FSDP2', "
            "meta_init=True) builds it in the first one only"
        )
