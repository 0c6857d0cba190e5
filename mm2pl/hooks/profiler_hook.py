"""Profile the beginning of a training."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from torch import profiler

from mm2pl.errors import ArgumentError, UnsupportedError
from mm2pl.hooks.hook import DATA_BATCH, Hook
from mm2pl.registry import HOOKS

if TYPE_CHECKING:
    from mm2pl.run.protocols import RunnerLike


def check_kineto() -> bool:
    """Return whether torch was built with the profiler that the hook uses."""
    return profiler.kineto_available()


@HOOKS.register_module()
class ProfilerHook(Hook):
    """Run :class:`torch.profiler.profile` over the first epoch or iterations.

    Stands for ``mmengine.hooks.ProfilerHook``. In a Lightning Trainer of your own
    ``Trainer(profiler="pytorch")`` does the same.

    Args:
        by_epoch: profile an epoch rather than iterations.
        profile_times: how many; only one epoch is allowed.
        activity_with_cpu: record what the CPU does.
        activity_with_cuda: record what the GPU does.
        schedule: arguments of :func:`torch.profiler.schedule`.
        on_trace_ready: a function of the profile; or ``dict(type="log_trace", …)``, which prints
            ``key_averages().table(…)``; or ``dict(type="tb_trace", …)``, which writes traces for
            TensorBoard, by default into ``<log_dir>/tf_tracing_logs``.
        record_shapes: record the shapes of inputs.
        profile_memory: track allocations.
        with_stack: record file and line of each operation.
        with_flops: estimate FLOPs of matrix products and convolutions.
        json_trace_path: where to write a trace for ``chrome://tracing``.

    Raises:
        ArgumentError: a flag is not a bool, or ``schedule`` not a dict.
        ValueError: ``profile_times`` is less than 1, more than one epoch or (at the start) longer than the run; or
            ``on_trace_ready`` is unknown.
    """

    priority = "VERY_LOW"

    def __init__(
        self,
        *,
        by_epoch: bool = True,
        profile_times: int = 1,
        activity_with_cpu: bool = True,
        activity_with_cuda: bool = False,
        schedule: dict | None = None,
        on_trace_ready: Callable | dict | None = None,
        record_shapes: bool = False,
        profile_memory: bool = False,
        with_stack: bool = False,
        with_flops: bool = False,
        json_trace_path: str | None = None,
    ) -> None:
        flags = {
            "by_epoch": by_epoch,
            "activity_with_cpu": activity_with_cpu,
            "activity_with_cuda": activity_with_cuda,
        }
        for name, flag in flags.items():
            if not isinstance(flag, bool):
                raise ArgumentError(f"`{name}` should be a boolean, but got {flag!r}")
        if profile_times < 1:
            raise ArgumentError(f"profile_times should be greater than 0, but got {profile_times}")
        if by_epoch and profile_times > 1:
            raise ArgumentError(
                f"Profiler will profile 0-{profile_times} epochs, which slows them all down: "
                "profile one epoch (profile_times=1), or iterations (by_epoch=False)"
            )
        if not (schedule is None or isinstance(schedule, dict)):
            raise ArgumentError(f"`schedule` should be a dict or None, but got {schedule!r}")
        self.by_epoch = by_epoch
        self.profile_times = profile_times
        activity = profiler.ProfilerActivity
        wanted = ((activity.CPU, activity_with_cpu), (activity.CUDA, activity_with_cuda))
        self.activities = [each for each, on in wanted if on]
        self.schedule = None if schedule is None else profiler.schedule(**schedule)
        self.on_trace_ready = on_trace_ready
        self.record_shapes = record_shapes
        self.profile_memory = profile_memory
        self.with_stack = with_stack
        self.with_flops = with_flops
        self.json_trace_path = json_trace_path
        self._closed = False

    def before_run(self, runner: RunnerLike) -> None:
        """Start the profiler.

        Raises:
            ValueError: The run is shorter than ``profile_times``.
        """
        last = runner.max_epochs if self.by_epoch else runner.max_iters
        if 0 < last < self.profile_times:  # a Trainer that has no data yet knows no iterations
            raise ArgumentError(
                f"`profile_times` should not be greater than {last}, but got {self.profile_times}"
            )
        self.profiler = profiler.profile(
            activities=self.activities,
            schedule=self.schedule,
            on_trace_ready=self._parse_trace_config(runner),
            record_shapes=self.record_shapes,
            profile_memory=self.profile_memory,
            with_stack=self.with_stack,
            with_flops=self.with_flops,
        )
        self.profiler.__enter__()
        self._closed = False
        runner.logger.info("profiler is profiling...")

    def _parse_trace_config(self, runner: RunnerLike) -> Callable | None:
        if self.on_trace_ready is None or callable(self.on_trace_ready):
            return self.on_trace_ready
        if not isinstance(self.on_trace_ready, dict):
            raise ArgumentError(
                "`on_trace_ready` should be a handler, or dict, or None, "
                f"but got {self.on_trace_ready!r}"
            )
        arguments = dict(self.on_trace_ready)
        kind = arguments.pop("type", None)
        if kind == "log_trace":
            return lambda profile: print(profile.key_averages().table(**arguments))
        if kind != "tb_trace":
            raise ArgumentError(f'trace_type should be "log_trace" or "tb_trace", but got {kind!r}')
        folder = os.path.join(runner.log_dir, arguments.pop("dir_name", "tf_tracing_logs"))
        runner.logger.info(f"trace_files of ProfilerHook will be saved to {folder}.")
        if self.json_trace_path is not None:
            runner.logger.warning(
                "When using tensorboard_trace, it is recommended to save json files by setting "
                "``worker_name`` instead of setting ``json_trace_path``"
            )
        return profiler.tensorboard_trace_handler(folder, **arguments)

    def after_train_epoch(self, runner: RunnerLike) -> None:
        """Stop the profiler, unless its iterations are over."""
        if not self._closed:
            self._export_chrome_trace(runner)

    def after_train_iter(
        self,
        runner: RunnerLike,
        batch_idx: int,
        data_batch: DATA_BATCH = None,
        outputs: dict | None = None,
    ) -> None:
        """Step the profiler, and stop it after the last iteration it is for."""
        if self._closed:
            return
        self.profiler.step()
        if not self.by_epoch and runner.iter == self.profile_times - 1:
            self._export_chrome_trace(runner)

    def _export_chrome_trace(self, runner: RunnerLike) -> None:
        self._closed = True
        runner.logger.info("profiler may take a few minutes...")
        self.profiler.__exit__(None, None, None)
        if self.json_trace_path is not None:
            self.profiler.export_chrome_trace(self.json_trace_path)


@HOOKS.register_module()
class NPUProfilerHook(Hook):
    """Refuse to be built: Ascend's NPUs are out of scope, and the message names what to use.

    Every argument is accepted, so that an old config gets that message.
    """

    priority = "VERY_LOW"

    def __init__(self, **kwargs: Any) -> None:
        raise UnsupportedError(
            f"NPUProfilerHook({', '.join(kwargs)}) profiles Ascend NPUs, which mm2pl does not run "
            "on. Use ProfilerHook(by_epoch=False, profile_times=…), or Trainer(profiler='pytorch')."
        )
