"""The hooks of MMCV 1.x."""

from typing import Any

from mm2pl.mmcv.runner.builder import HOOKS as HOOKS
from mm2pl.mmcv.runner.hooks.checkpoint import CheckpointHook as CheckpointHook
from mm2pl.mmcv.runner.hooks.evaluation import DistEvalHook as DistEvalHook
from mm2pl.mmcv.runner.hooks.evaluation import EvalHook as EvalHook
from mm2pl.mmcv.runner.hooks.hook import Hook as Hook
from mm2pl.mmcv.runner.hooks.logger import LoggerHook as LoggerHook
from mm2pl.mmcv.runner.hooks.logger import TextLoggerHook as TextLoggerHook
from mm2pl.mmcv.runner.hooks.optimizer import Fp16OptimizerHook as Fp16OptimizerHook
from mm2pl.mmcv.runner.hooks.optimizer import (
    GradientCumulativeFp16OptimizerHook as GradientCumulativeFp16OptimizerHook,
)
from mm2pl.mmcv.runner.hooks.optimizer import (
    GradientCumulativeOptimizerHook as GradientCumulativeOptimizerHook,
)
from mm2pl.mmcv.runner.hooks.optimizer import OptimizerHook as OptimizerHook
from mm2pl.mmcv.runner.hooks.others import ClosureHook as ClosureHook
from mm2pl.mmcv.runner.hooks.others import DistSamplerSeedHook as DistSamplerSeedHook
from mm2pl.mmcv.runner.hooks.others import EMAHook as EMAHook
from mm2pl.mmcv.runner.hooks.others import EmptyCacheHook as EmptyCacheHook
from mm2pl.mmcv.runner.hooks.others import IterTimerHook as IterTimerHook
from mm2pl.mmcv.runner.hooks.others import SyncBuffersHook as SyncBuffersHook
from mm2pl.mmcv.runner.hooks.services import DvcliveLoggerHook as DvcliveLoggerHook
from mm2pl.mmcv.runner.hooks.services import MlflowLoggerHook as MlflowLoggerHook
from mm2pl.mmcv.runner.hooks.services import NeptuneLoggerHook as NeptuneLoggerHook
from mm2pl.mmcv.runner.hooks.services import PaviLoggerHook as PaviLoggerHook
from mm2pl.mmcv.runner.hooks.services import SegmindLoggerHook as SegmindLoggerHook
from mm2pl.mmcv.runner.hooks.services import TensorboardLoggerHook as TensorboardLoggerHook
from mm2pl.mmcv.runner.hooks.services import WandbLoggerHook as WandbLoggerHook
from mm2pl.mmcv.runner.hooks.updater import POLICY_HOOKS as _POLICY_HOOKS
from mm2pl.mmcv.runner.hooks.updater import LrUpdaterHook as LrUpdaterHook
from mm2pl.mmcv.runner.hooks.updater import MomentumUpdaterHook as MomentumUpdaterHook


def __getattr__(name: str) -> Any:
    """Return the hook of a schedule's policy, such as `StepLrUpdaterHook`."""
    if name in _POLICY_HOOKS:
        return _POLICY_HOOKS[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
