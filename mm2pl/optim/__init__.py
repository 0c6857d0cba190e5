"""Optimizer wrappers, and schedules of what they optimize with."""

from __future__ import annotations

from typing import Any

from mm2pl.optim.optimizer import OPTIM_WRAPPER_CONSTRUCTORS as OPTIM_WRAPPER_CONSTRUCTORS
from mm2pl.optim.optimizer import OPTIMIZERS as OPTIMIZERS
from mm2pl.optim.optimizer import AmpOptimWrapper as AmpOptimWrapper
from mm2pl.optim.optimizer import ApexOptimWrapper as ApexOptimWrapper
from mm2pl.optim.optimizer import BaseOptimWrapper as BaseOptimWrapper
from mm2pl.optim.optimizer import DefaultOptimWrapperConstructor as DefaultOptimWrapperConstructor
from mm2pl.optim.optimizer import OptimWrapper as OptimWrapper
from mm2pl.optim.optimizer import OptimWrapperDict as OptimWrapperDict
from mm2pl.optim.optimizer import TorchExecutor as TorchExecutor
from mm2pl.optim.optimizer import as_optim_wrapper as as_optim_wrapper
from mm2pl.optim.optimizer import build_optim_wrapper as build_optim_wrapper
from mm2pl.optim.optimizer import require_loss as require_loss
from mm2pl.optim.optimizer import scale_lr as scale_lr
from mm2pl.optim.scheduler import ConstantLR as ConstantLR
from mm2pl.optim.scheduler import ConstantMomentum as ConstantMomentum
from mm2pl.optim.scheduler import ConstantParamScheduler as ConstantParamScheduler
from mm2pl.optim.scheduler import CosineAnnealingLR as CosineAnnealingLR
from mm2pl.optim.scheduler import CosineAnnealingMomentum as CosineAnnealingMomentum
from mm2pl.optim.scheduler import CosineAnnealingParamScheduler as CosineAnnealingParamScheduler
from mm2pl.optim.scheduler import CosineRestartLR as CosineRestartLR
from mm2pl.optim.scheduler import CosineRestartMomentum as CosineRestartMomentum
from mm2pl.optim.scheduler import CosineRestartParamScheduler as CosineRestartParamScheduler
from mm2pl.optim.scheduler import ExponentialLR as ExponentialLR
from mm2pl.optim.scheduler import ExponentialMomentum as ExponentialMomentum
from mm2pl.optim.scheduler import ExponentialParamScheduler as ExponentialParamScheduler
from mm2pl.optim.scheduler import LinearLR as LinearLR
from mm2pl.optim.scheduler import LinearMomentum as LinearMomentum
from mm2pl.optim.scheduler import LinearParamScheduler as LinearParamScheduler
from mm2pl.optim.scheduler import MultiStepLR as MultiStepLR
from mm2pl.optim.scheduler import MultiStepMomentum as MultiStepMomentum
from mm2pl.optim.scheduler import MultiStepParamScheduler as MultiStepParamScheduler
from mm2pl.optim.scheduler import OneCycleLR as OneCycleLR
from mm2pl.optim.scheduler import OneCycleParamScheduler as OneCycleParamScheduler
from mm2pl.optim.scheduler import PolyLR as PolyLR
from mm2pl.optim.scheduler import PolyMomentum as PolyMomentum
from mm2pl.optim.scheduler import PolyParamScheduler as PolyParamScheduler
from mm2pl.optim.scheduler import ReduceOnPlateauLR as ReduceOnPlateauLR
from mm2pl.optim.scheduler import ReduceOnPlateauMomentum as ReduceOnPlateauMomentum
from mm2pl.optim.scheduler import ReduceOnPlateauParamScheduler as ReduceOnPlateauParamScheduler
from mm2pl.optim.scheduler import StepLR as StepLR
from mm2pl.optim.scheduler import StepMomentum as StepMomentum
from mm2pl.optim.scheduler import StepParamScheduler as StepParamScheduler
from mm2pl.optim.scheduler import _ParamScheduler as _ParamScheduler
from mm2pl.optim.scheduler.builder import build_param_schedulers as build_param_schedulers
from mm2pl.optim.simulate import simulate as simulate


def __getattr__(name: str) -> Any:
    # torch.distributed.optim takes as long to import as torch itself.
    if name == "ZeroRedundancyOptimizer":
        from mm2pl.optim.optimizer.zero_optimizer import ZeroRedundancyOptimizer

        return ZeroRedundancyOptimizer
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
