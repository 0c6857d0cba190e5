"""Hooks: MMEngine's points, callable from its own runs and from any Lightning Trainer."""

from mm2pl.hooks.checkpoint_hook import CheckpointHook as CheckpointHook
from mm2pl.hooks.early_stopping_hook import EarlyStoppingHook as EarlyStoppingHook
from mm2pl.hooks.ema_hook import EMAHook as EMAHook
from mm2pl.hooks.empty_cache_hook import EmptyCacheHook as EmptyCacheHook
from mm2pl.hooks.hook import Hook as Hook
from mm2pl.hooks.iter_timer_hook import IterTimerHook as IterTimerHook
from mm2pl.hooks.logger_hook import LoggerHook as LoggerHook
from mm2pl.hooks.naive_visualization_hook import NaiveVisualizationHook as NaiveVisualizationHook
from mm2pl.hooks.param_scheduler_hook import ParamSchedulerHook as ParamSchedulerHook
from mm2pl.hooks.profiler_hook import NPUProfilerHook as NPUProfilerHook
from mm2pl.hooks.profiler_hook import ProfilerHook as ProfilerHook
from mm2pl.hooks.runtime_info_hook import RuntimeInfoHook as RuntimeInfoHook
from mm2pl.hooks.sampler_seed_hook import DistSamplerSeedHook as DistSamplerSeedHook
from mm2pl.hooks.sync_buffer_hook import SyncBuffersHook as SyncBuffersHook
from mm2pl.hooks.test_time_aug_hook import PrepareTTAHook as PrepareTTAHook
