"""The parameters and the FLOPs of a model by module, counted on a batch of its training."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from mm2pl.analysis import parameter_count
from mm2pl.analysis.counter import OperationCounter
from mm2pl.model.forward import run_forward

DEPTH = 2
"""Levels of modules that are told apart."""


@dataclass(frozen=True, kw_only=True)
class ModuleCost:
    """What a module costs.

    Attributes:
        flops: Of a forward pass of the batch, counted as MMEngine's `get_model_complexity_info` does: a multiply-add is
            one, and ``scaled_dot_product_attention`` none. ``None`` where they could not be counted.
        attention: Those of ``scaled_dot_product_attention``, in addition.
    """

    name: str
    parameters: int
    flops: int | None = None
    attention: int | None = None


@dataclass(frozen=True, kw_only=True)
class Complexity:
    """What a model costs.

    Attributes:
        whole: The model itself.
        trained: Its parameters that have gradients.
        modules: What is in it, as it lies in it.
        uncounted: Why there are no FLOPs.
    """

    whole: ModuleCost
    trained: int
    modules: list[ModuleCost] = field(default_factory=list)
    uncounted: str = ""


def complexity_of(model: nn.Module, batch: Any) -> Complexity:
    """Count a model's parameters, and the FLOPs of ``forward(mode="tensor")``; leaves it in evaluation mode.

    Args:
        model: The model.
        batch: A batch as the loader gives it.
    """
    parameters = parameter_count(model)
    counter, uncounted = _counted(model, batch)
    names = [name for name, _ in model.named_modules() if name and name.count(".") < DEPTH]
    costs = [_cost(model, name, parameters, counter) for name in names]
    return Complexity(
        whole=_cost(model, "", parameters, counter),
        trained=sum(each.numel() for each in model.parameters() if each.requires_grad),
        modules=[each for each in costs if each.parameters or each.flops or each.attention],
        uncounted=uncounted,
    )


def _counted(model: nn.Module, batch: Any) -> tuple[OperationCounter | None, str]:
    preprocess = getattr(model, "data_preprocessor", None)
    if preprocess is None:
        return None, f"{type(model).__name__} has no data_preprocessor that says what forward takes"
    # As get_model_complexity_info is called by the toolboxes' get_flops.py.
    model.eval()
    try:
        with torch.no_grad(), OperationCounter(model) as counter:
            run_forward(model, preprocess(batch, False), "tensor")
    # Anything that a user's code raises: not every forward has this mode.
    except Exception as error:
        said = " ".join(str(error).split())[:200]
        return None, f"forward(mode='tensor') → {type(error).__name__}: {said}"
    return counter, ""


def _cost(
    model: nn.Module, name: str, parameters: Counter[str], counter: OperationCounter | None
) -> ModuleCost:
    if counter is None:
        return ModuleCost(name=name, parameters=parameters[name])
    return ModuleCost(
        name=name,
        parameters=parameters[name],
        flops=_inside(counter.flops, model.get_submodule(name), name),
        attention=_inside(counter.attention, model.get_submodule(name), name),
    )


def _inside(counts: Counter[str], module: nn.Module, name: str) -> int:
    """Return what was counted in a module; a ModuleList never runs itself."""
    if name in counts or not name:
        return counts[name]
    below = ((f"{name}.{child}", each) for child, each in module.named_children())
    return sum(_inside(counts, each, path) for path, each in below)
