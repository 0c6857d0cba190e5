"""Optimizer wrappers, and the constructors that build them from a config."""

from __future__ import annotations

from typing import Any

from mm2pl.optim.optimizer.amp_optimizer_wrapper import AmpOptimWrapper as AmpOptimWrapper
from mm2pl.optim.optimizer.base import BaseOptimWrapper as BaseOptimWrapper
from mm2pl.optim.optimizer.builder import OPTIM_WRAPPER_CONSTRUCTORS as OPTIM_WRAPPER_CONSTRUCTORS
from mm2pl.optim.optimizer.builder import OPTIMIZERS as OPTIMIZERS
from mm2pl.optim.optimizer.builder import as_optim_wrapper as as_optim_wrapper
from mm2pl.optim.optimizer.builder import build_optim_wrapper as build_optim_wrapper
from mm2pl.optim.optimizer.builder import scale_lr as scale_lr
from mm2pl.optim.optimizer.deepspeed_optimizer_wrapper import (
    DeepSpeedOptimWrapper as DeepSpeedOptimWrapper,
)
from mm2pl.optim.optimizer.default_constructor import (
    DefaultOptimWrapperConstructor as DefaultOptimWrapperConstructor,
)
from mm2pl.optim.optimizer.executor import TorchExecutor as TorchExecutor
from mm2pl.optim.optimizer.optimizer_wrapper import OptimWrapper as OptimWrapper
from mm2pl.optim.optimizer.optimizer_wrapper import require_loss as require_loss
from mm2pl.optim.optimizer.optimizer_wrapper_dict import OptimWrapperDict as OptimWrapperDict
from mm2pl.optim.optimizer.replaced import ApexOptimWrapper as ApexOptimWrapper


def __getattr__(name: str) -> Any:
    # torch.distributed.optim takes as long to import as torch itself.
    if name == "ZeroRedundancyOptimizer":
        from mm2pl.optim.optimizer.zero_optimizer import ZeroRedundancyOptimizer

        return ZeroRedundancyOptimizer
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
