"""MMCV 1.x' runners, hooks and helpers, on a Lightning Trainer."""

from typing import Any

from mm2pl.checkpoint.latest import find_latest_checkpoint as find_latest_checkpoint
from mm2pl.mmcv.deep import serve
from mm2pl.mmcv.runner import hooks
from mm2pl.mmcv.runner.base_runner import BaseRunner as BaseRunner
from mm2pl.mmcv.runner.builder import HOOKS as HOOKS
from mm2pl.mmcv.runner.builder import OPTIMIZER_BUILDERS as OPTIMIZER_BUILDERS
from mm2pl.mmcv.runner.builder import OPTIMIZERS as OPTIMIZERS
from mm2pl.mmcv.runner.builder import RUNNER_BUILDERS as RUNNER_BUILDERS
from mm2pl.mmcv.runner.builder import RUNNERS as RUNNERS
from mm2pl.mmcv.runner.builder import DefaultRunnerConstructor as DefaultRunnerConstructor
from mm2pl.mmcv.runner.builder import build_runner as build_runner
from mm2pl.mmcv.runner.checkpoint import CheckpointLoader as CheckpointLoader
from mm2pl.mmcv.runner.checkpoint import _load_checkpoint as _load_checkpoint
from mm2pl.mmcv.runner.checkpoint import (
    _load_checkpoint_with_prefix as _load_checkpoint_with_prefix,
)
from mm2pl.mmcv.runner.checkpoint import load_checkpoint as load_checkpoint
from mm2pl.mmcv.runner.checkpoint import load_state_dict as load_state_dict
from mm2pl.mmcv.runner.checkpoint import save_checkpoint as save_checkpoint
from mm2pl.mmcv.runner.checkpoint import weights_to_cpu as weights_to_cpu
from mm2pl.mmcv.runner.dist_utils import allreduce_grads as allreduce_grads
from mm2pl.mmcv.runner.dist_utils import allreduce_params as allreduce_params
from mm2pl.mmcv.runner.dist_utils import get_dist_info as get_dist_info
from mm2pl.mmcv.runner.dist_utils import init_dist as init_dist
from mm2pl.mmcv.runner.dist_utils import master_only as master_only
from mm2pl.mmcv.runner.epoch_based_runner import EpochBasedRunner as EpochBasedRunner
from mm2pl.mmcv.runner.epoch_based_runner import Runner as Runner
from mm2pl.mmcv.runner.fp16_utils import auto_fp16 as auto_fp16
from mm2pl.mmcv.runner.fp16_utils import force_fp32 as force_fp32
from mm2pl.mmcv.runner.fp16_utils import wrap_fp16_model as wrap_fp16_model
from mm2pl.mmcv.runner.hooks import CheckpointHook as CheckpointHook
from mm2pl.mmcv.runner.hooks import ClosureHook as ClosureHook
from mm2pl.mmcv.runner.hooks import DistEvalHook as DistEvalHook
from mm2pl.mmcv.runner.hooks import DistSamplerSeedHook as DistSamplerSeedHook
from mm2pl.mmcv.runner.hooks import DvcliveLoggerHook as DvcliveLoggerHook
from mm2pl.mmcv.runner.hooks import EMAHook as EMAHook
from mm2pl.mmcv.runner.hooks import EmptyCacheHook as EmptyCacheHook
from mm2pl.mmcv.runner.hooks import EvalHook as EvalHook
from mm2pl.mmcv.runner.hooks import Fp16OptimizerHook as Fp16OptimizerHook
from mm2pl.mmcv.runner.hooks import (
    GradientCumulativeFp16OptimizerHook as GradientCumulativeFp16OptimizerHook,
)
from mm2pl.mmcv.runner.hooks import (
    GradientCumulativeOptimizerHook as GradientCumulativeOptimizerHook,
)
from mm2pl.mmcv.runner.hooks import Hook as Hook
from mm2pl.mmcv.runner.hooks import IterTimerHook as IterTimerHook
from mm2pl.mmcv.runner.hooks import LoggerHook as LoggerHook
from mm2pl.mmcv.runner.hooks import LrUpdaterHook as LrUpdaterHook
from mm2pl.mmcv.runner.hooks import MlflowLoggerHook as MlflowLoggerHook
from mm2pl.mmcv.runner.hooks import MomentumUpdaterHook as MomentumUpdaterHook
from mm2pl.mmcv.runner.hooks import NeptuneLoggerHook as NeptuneLoggerHook
from mm2pl.mmcv.runner.hooks import OptimizerHook as OptimizerHook
from mm2pl.mmcv.runner.hooks import PaviLoggerHook as PaviLoggerHook
from mm2pl.mmcv.runner.hooks import SegmindLoggerHook as SegmindLoggerHook
from mm2pl.mmcv.runner.hooks import SyncBuffersHook as SyncBuffersHook
from mm2pl.mmcv.runner.hooks import TensorboardLoggerHook as TensorboardLoggerHook
from mm2pl.mmcv.runner.hooks import TextLoggerHook as TextLoggerHook
from mm2pl.mmcv.runner.hooks import WandbLoggerHook as WandbLoggerHook
from mm2pl.mmcv.runner.iter_based_runner import IterBasedRunner as IterBasedRunner
from mm2pl.mmcv.runner.iter_based_runner import IterLoader as IterLoader
from mm2pl.mmcv.runner.log_buffer import LogBuffer as LogBuffer
from mm2pl.mmcv.runner.optimizer import DefaultOptimizerConstructor as DefaultOptimizerConstructor
from mm2pl.mmcv.runner.optimizer import build_optimizer as build_optimizer
from mm2pl.mmcv.runner.optimizer import build_optimizer_constructor as build_optimizer_constructor
from mm2pl.mmcv.runner.optimizer import build_optimizers as build_optimizers
from mm2pl.mmcv.runner.utils import get_host_info as get_host_info
from mm2pl.mmcv.runner.utils import get_time_str as get_time_str
from mm2pl.mmcv.runner.utils import init_random_seed as init_random_seed
from mm2pl.mmcv.runner.utils import obj_from_dict as obj_from_dict
from mm2pl.mmcv.runner.utils import set_random_seed as set_random_seed
from mm2pl.model import BaseModule as BaseModule
from mm2pl.model import ModuleDict as ModuleDict
from mm2pl.model import ModuleList as ModuleList
from mm2pl.model import Sequential as Sequential
from mm2pl.run.priority import Priority as Priority
from mm2pl.run.priority import get_priority as get_priority


def __getattr__(name: str) -> Any:
    """Return the hook of a schedule's policy, such as `StepLrUpdaterHook`."""
    if name.endswith("UpdaterHook"):
        return getattr(hooks, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


serve("runner")
