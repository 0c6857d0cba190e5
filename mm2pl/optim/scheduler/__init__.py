"""Schedules of learning rate, momentum and any other entry of an optimizer's param groups."""

from mm2pl.optim.scheduler.lr_scheduler import ConstantLR as ConstantLR
from mm2pl.optim.scheduler.lr_scheduler import CosineAnnealingLR as CosineAnnealingLR
from mm2pl.optim.scheduler.lr_scheduler import CosineRestartLR as CosineRestartLR
from mm2pl.optim.scheduler.lr_scheduler import ExponentialLR as ExponentialLR
from mm2pl.optim.scheduler.lr_scheduler import LinearLR as LinearLR
from mm2pl.optim.scheduler.lr_scheduler import MultiStepLR as MultiStepLR
from mm2pl.optim.scheduler.lr_scheduler import OneCycleLR as OneCycleLR
from mm2pl.optim.scheduler.lr_scheduler import PolyLR as PolyLR
from mm2pl.optim.scheduler.lr_scheduler import ReduceOnPlateauLR as ReduceOnPlateauLR
from mm2pl.optim.scheduler.lr_scheduler import StepLR as StepLR
from mm2pl.optim.scheduler.momentum_scheduler import ConstantMomentum as ConstantMomentum
from mm2pl.optim.scheduler.momentum_scheduler import (
    CosineAnnealingMomentum as CosineAnnealingMomentum,
)
from mm2pl.optim.scheduler.momentum_scheduler import CosineRestartMomentum as CosineRestartMomentum
from mm2pl.optim.scheduler.momentum_scheduler import ExponentialMomentum as ExponentialMomentum
from mm2pl.optim.scheduler.momentum_scheduler import LinearMomentum as LinearMomentum
from mm2pl.optim.scheduler.momentum_scheduler import MultiStepMomentum as MultiStepMomentum
from mm2pl.optim.scheduler.momentum_scheduler import PolyMomentum as PolyMomentum
from mm2pl.optim.scheduler.momentum_scheduler import (
    ReduceOnPlateauMomentum as ReduceOnPlateauMomentum,
)
from mm2pl.optim.scheduler.momentum_scheduler import StepMomentum as StepMomentum
from mm2pl.optim.scheduler.param_scheduler import ConstantParamScheduler as ConstantParamScheduler
from mm2pl.optim.scheduler.param_scheduler import (
    CosineAnnealingParamScheduler as CosineAnnealingParamScheduler,
)
from mm2pl.optim.scheduler.param_scheduler import (
    CosineRestartParamScheduler as CosineRestartParamScheduler,
)
from mm2pl.optim.scheduler.param_scheduler import (
    ExponentialParamScheduler as ExponentialParamScheduler,
)
from mm2pl.optim.scheduler.param_scheduler import LinearParamScheduler as LinearParamScheduler
from mm2pl.optim.scheduler.param_scheduler import MultiStepParamScheduler as MultiStepParamScheduler
from mm2pl.optim.scheduler.param_scheduler import OneCycleParamScheduler as OneCycleParamScheduler
from mm2pl.optim.scheduler.param_scheduler import PolyParamScheduler as PolyParamScheduler
from mm2pl.optim.scheduler.param_scheduler import (
    ReduceOnPlateauParamScheduler as ReduceOnPlateauParamScheduler,
)
from mm2pl.optim.scheduler.param_scheduler import StepParamScheduler as StepParamScheduler
from mm2pl.optim.scheduler.param_scheduler import _ParamScheduler as _ParamScheduler
