"""Optimizers from 1.x configs: `build_optimizer` and its constructors."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from torch import nn
from torch.optim import Optimizer

from mm2pl.errors import ArgumentError
from mm2pl.mmcv.runner.builder import OPTIMIZER_BUILDERS, OPTIMIZERS
from mm2pl.optim import DefaultOptimWrapperConstructor


@OPTIMIZER_BUILDERS.register_module()
class DefaultOptimizerConstructor(DefaultOptimWrapperConstructor):
    """Build an optimizer with ``paramwise_cfg``; stands for `mmcv.runner.DefaultOptimizerConstructor`.

    Args:
        optimizer_cfg: Type and arguments of the optimizer.
        paramwise_cfg: As in `DefaultOptimWrapperConstructor`.

    Raises:
        TypeError: ``optimizer_cfg`` is not a dict with a type.
    """

    def __init__(
        self, optimizer_cfg: dict[str, Any], paramwise_cfg: dict[str, Any] | None = None
    ) -> None:
        if not isinstance(optimizer_cfg, Mapping):
            raise ArgumentError(f"optimizer_cfg={optimizer_cfg!r} must be a dict with a type.")
        super().__init__({"optimizer": dict(optimizer_cfg)}, paramwise_cfg)

    def __call__(self, model: nn.Module) -> Optimizer:  # type: ignore[override]
        """Return the optimizer over the parameters of ``model``, or of the model that it wraps."""
        # MMCV 1.7.2 names parameters without the wrapper's 'module.', so that `custom_keys` match in both cases.
        model = getattr(model, "module", model)
        params: Any = model.parameters()
        # MMCV 1.7.2 makes one group of all parameters. With `paramwise_cfg` each parameter has its own group.
        if self.paramwise_cfg:
            params = []
            self.add_params(params, model)
        return OPTIMIZERS.build({**self.optimizer_cfg, "params": params})


def build_optimizer_constructor(cfg: Mapping[str, Any]) -> Any:
    """Build the constructor that the ``type`` of ``cfg`` names in OPTIMIZER_BUILDERS, with its other keys."""
    return OPTIMIZER_BUILDERS.build(dict(cfg))


def build_optimizer(model: nn.Module, cfg: Mapping[str, Any]) -> Optimizer:
    """Build the optimizer of a 1.x config; stands for `mmcv.runner.build_optimizer`.

    Args:
        model: Whose parameters are optimized.
        cfg: Type and arguments, ``paramwise_cfg`` and ``constructor``; not changed.

    Example:
        >>> build_optimizer(nn.Linear(1, 1), dict(type="SGD", lr=0.1)).defaults["lr"]
        0.1
    """
    config = copy.deepcopy(dict(cfg))
    constructor = build_optimizer_constructor(
        {
            "type": config.pop("constructor", "DefaultOptimizerConstructor"),
            "paramwise_cfg": config.pop("paramwise_cfg", None),
            "optimizer_cfg": config,
        }
    )
    return constructor(model)


def build_optimizers(model: nn.Module, cfgs: Mapping[str, Any]) -> Any:
    """Build one optimizer, or with several configs one per sub-module of that name.

    Args:
        model: Whose parameters are optimised; a wrapper is looked through.
        cfgs: One optimizer's config, or such configs by the name of a sub-module.
    """
    # MMGeneration's and MMEditing's configs have no type at the top, but one optimizer config per sub-module.
    if "type" in cfgs or not all(isinstance(cfg, Mapping) for cfg in cfgs.values()):
        return build_optimizer(model, cfgs)
    model = getattr(model, "module", model)
    return {name: build_optimizer(getattr(model, name), cfg) for name, cfg in cfgs.items()}
