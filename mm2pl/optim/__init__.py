"""Optimizer wrappers, and schedules of what they optimize with.

Schedules are numbers: they are imported without torch. What optimizes is imported on first use.
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

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

if TYPE_CHECKING:
    # What `__getattr__` finds, for type checkers and editors.
    from mm2pl.optim.optimizer import *  # noqa: F403
    from mm2pl.optim.optimizer.zero_optimizer import (
        ZeroRedundancyOptimizer as ZeroRedundancyOptimizer,
    )
else:

    def __getattr__(name):
        """Take over the public names of `mm2pl.optim.optimizer`, and return one of them."""
        # Python and its tools ask modules for names such as __path__, which must not import torch.
        if name.startswith("_") and name != "__all__":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        optimizer = import_module("mm2pl.optim.optimizer")
        if name == "optimizer":  # the import has put it here
            return optimizer
        globals().update({**_public(vars(optimizer)), **globals()})
        if name == "__all__":
            return [*_public(globals()), "ZeroRedundancyOptimizer", "_ParamScheduler"]
        found = getattr(optimizer, name)
        if isinstance(found, ModuleType):  # a file of that package is none of this one
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return found

    def __dir__():
        return sorted({*globals(), *__getattr__("__all__")})

    def _public(names):
        def is_ours(value):
            return str(getattr(value, "__module__", "")).startswith("mm2pl.")

        return {n: v for n, v in names.items() if not n.startswith("_") and is_ours(v)}
