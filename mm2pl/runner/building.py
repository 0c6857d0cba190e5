"""The ``build_*`` methods of a Runner: from a config's dicts to objects, as MMEngine's Runner offers them."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

from torch import nn

from mm2pl.dataset import build_dataloader
from mm2pl.hooks import Hook
from mm2pl.lightning.module import build_model
from mm2pl.logging import MessageHub, MMLogger
from mm2pl.optim import as_optim_wrapper, build_param_schedulers
from mm2pl.plan.containers import as_config
from mm2pl.registry import HOOKS, LOG_PROCESSORS, LOOPS, VISUALIZERS
from mm2pl.run.facade import RunnerFacade
from mm2pl.run.log_processor import LogProcessor
from mm2pl.run.loops import (
    BaseLoop,
    EpochBasedTrainLoop,
    IterBasedTrainLoop,
    TestLoop,
    ValLoop,
    refuse_own_run,
)
from mm2pl.runner.priority import Priority, get_priority
from mm2pl.utils.errors import ArgumentError

DEFAULT_HOOKS: dict[str, dict[str, Any]] = {
    "runtime_info": {"type": "RuntimeInfoHook"},
    "timer": {"type": "IterTimerHook"},
    "sampler_seed": {"type": "DistSamplerSeedHook"},
    "logger": {"type": "LoggerHook"},
    "param_scheduler": {"type": "ParamSchedulerHook"},
    "checkpoint": {"type": "CheckpointHook", "interval": 1},
}


class RunnerBuilders(RunnerFacade):
    """Build each part of a run; a subclass may override any of these methods."""

    build_dataloader = staticmethod(build_dataloader)
    unused_loops: set[str]
    _train_loop: Any = None
    _val_loop: Any = None
    _test_loop: Any = None

    def stage_config(self, stage: str) -> Any:
        """Return ``train_cfg``, ``val_cfg`` or ``test_cfg``."""
        raise NotImplementedError

    def build_model(self, model: Any) -> nn.Module:
        """Build a model from its dict; a module is returned as it is."""
        return build_model(model)

    def build_optim_wrapper(self, optim_wrapper: Any) -> Any:
        """Build an optimizer wrapper over the model; a built one is returned as it is."""
        return as_optim_wrapper(self.model, optim_wrapper)

    def build_param_scheduler(self, scheduler: Any) -> Any:
        """Build schedules over the built optimizer wrapper: a list, or a dict of lists for several optimizers.

        Raises:
            ArgumentError: If there is no built optimizer wrapper yet.
        """
        wrapper = self.optim_wrapper
        if isinstance(wrapper, dict) or not hasattr(wrapper, "param_groups"):
            raise ArgumentError(
                f"optim_wrapper={wrapper!r} → `build_optim_wrapper` should be called before "
                "`build_param_scheduler`"
            )
        loop = self.train_loop
        return build_param_schedulers(
            scheduler,
            self.optim_wrapper,
            max_epochs=loop.max_epochs,
            max_iters=loop.max_iters,
            epoch_length=len(loop.dataloader),
            by_epoch=isinstance(loop, EpochBasedTrainLoop),
        )

    @property
    def train_loop(self) -> Any:
        """The training loop, built when it is first read; ``None`` for a run without ``train_cfg``."""
        loop = self._train_loop
        return self.loop_of("train") if isinstance(loop, dict) else loop

    @property
    def val_loop(self) -> Any:
        """The validation loop, built when it is first read; ``None`` for a run without ``val_cfg``."""
        loop = self._val_loop
        return self.loop_of("val") if isinstance(loop, dict) else loop

    @property
    def test_loop(self) -> Any:
        """The test loop, built when it is first read; ``None`` for a run without ``test_cfg``."""
        loop = self._test_loop
        return self.loop_of("test") if isinstance(loop, dict) else loop

    def loop_of(self, stage: str) -> Any:
        """Return the loop of ``train``, ``val`` or ``test``, built now if the run has not needed it yet.

        Raises:
            ValueError: If the config has no such stage.
        """
        loop = getattr(self, f"_{stage}_loop")
        if loop is None or isinstance(loop, dict):
            loop = self.new_loop(stage)
            setattr(self, f"_{stage}_loop", loop)
            self.unused_loops.add(stage)
        return loop

    def new_loop(self, stage: str) -> Any:
        """Build the loop of a stage, or return the one that :meth:`loop_of` has built and nothing has run."""
        if stage in self.unused_loops:
            self.unused_loops.remove(stage)
            return getattr(self, f"_{stage}_loop")
        config = self.stage_config(stage)
        return getattr(self, f"build_{stage}_loop")({} if config is None else config)

    def build_train_loop(self, loop: BaseLoop | dict[str, Any]) -> Any:
        """Build the training loop from a ``train_cfg``.

        Raises:
            RuntimeError: If the dict has both ``type`` and ``by_epoch``.
            TypeError: If a custom loop replaces what Lightning's Trainer does.
            ValueError: If the dict has neither.
        """
        if isinstance(loop, dict) and "type" not in loop:
            if "by_epoch" not in loop:
                raise ValueError(
                    f"train_cfg={dict(loop)!r} → by_epoch or type is needed: dict(by_epoch=True, max_epochs=10)"
                )
            default = EpochBasedTrainLoop if loop["by_epoch"] else IterBasedTrainLoop
            loop = {k: v for k, v in loop.items() if k != "by_epoch"}
            return self._build_loop(loop, default, dataloader=self.dataloader_of("train"))
        if isinstance(loop, dict) and "by_epoch" in loop:
            raise RuntimeError(
                f"train_cfg has type={loop['type']!r} and by_epoch={loop['by_epoch']!r} → Only one of the two can be "
                "given"
            )
        return self._build_loop(loop, EpochBasedTrainLoop, dataloader=self.dataloader_of("train"))

    def build_val_loop(self, loop: BaseLoop | dict[str, Any]) -> Any:
        """Build the validation loop from a ``val_cfg``."""
        return self._build_eval_loop(loop, ValLoop, "val")

    def build_test_loop(self, loop: BaseLoop | dict[str, Any]) -> Any:
        """Build the test loop from a ``test_cfg``."""
        return self._build_eval_loop(loop, TestLoop, "test")

    def _build_eval_loop(self, loop: Any, default: type[BaseLoop], stage: str) -> Any:
        evaluator = self.module.evaluators[stage]
        return self._build_loop(
            loop, default, dataloader=self.dataloader_of(stage), evaluator=evaluator
        )

    def _build_loop(self, loop: Any, default: type[BaseLoop], **parts: Any) -> Any:
        if isinstance(loop, BaseLoop):
            return loop
        if not isinstance(loop, dict):
            raise TypeError(f"the loop should be a loop object or a dict, but got {loop!r}")
        loop = as_config(copy.deepcopy(dict(loop)))
        if "type" not in loop:
            return default(runner=self, **parts, **loop)
        cls = LOOPS.get(loop["type"]) if isinstance(loop["type"], str) else loop["type"]
        if isinstance(cls, type) and issubclass(cls, BaseLoop):
            refuse_own_run(cls)
        return LOOPS.build(loop, default_args={"runner": self, **parts})

    def dataloader_of(self, stage: str) -> Any:
        """Return the loader config (or loader) of ``train``, ``val`` or ``test``.

        Raises:
            ValueError: If the run has none.
        """
        config = self.datamodule.configs.get(stage)  # type: ignore[attr-defined]
        if config is None:
            raise ValueError(
                f"there is no {stage}_dataloader in this run → add one, or leave out {stage}_cfg"
            )
        return config

    def build_log_processor(self, log_processor: Any) -> LogProcessor:
        """Build the log processor from its dict; a built one is returned as it is."""
        if not isinstance(log_processor, dict):
            return _built(log_processor, "log_processor", "get_log_after_iter")
        return LOG_PROCESSORS.build({"type": LogProcessor, **as_config(log_processor)})

    def build_logger(
        self, log_level: int | str = "INFO", log_file: str | None = None, **kwargs: Any
    ) -> MMLogger:
        """Make the run's logger; it writes to the console and to ``work_dir/<timestamp>/<timestamp>.log``."""
        log_file = log_file or str(Path(self.log_dir) / f"{self.timestamp}.log")
        options = {"name": self.experiment_name, "file_mode": "a", **kwargs}
        return MMLogger.get_instance(log_level=log_level, log_file=log_file, **options)

    def build_message_hub(self, message_hub: Any = None) -> MessageHub:
        """Make the run's message hub; a built one is returned as it is."""
        if not isinstance(message_hub, dict | None):
            return _built(message_hub, "message_hub", "update_info")
        return MessageHub.get_instance(**{"name": self.experiment_name, **(message_hub or {})})

    def build_visualizer(self, visualizer: Any = None) -> Any:
        """Build the visualizer; without a config it writes scalars to ``vis_data/`` in the log folder."""
        if visualizer is None:
            visualizer = {"type": "Visualizer", "vis_backends": [{"type": "LocalVisBackend"}]}
        if not isinstance(visualizer, dict):
            return _built(visualizer, "visualizer", "add_scalars")
        defaults = {"name": self.experiment_name, "save_dir": self.log_dir}
        return VISUALIZERS.build({**defaults, **as_config(copy.deepcopy(dict(visualizer)))})

    # Hooks

    def register_hook(self, hook: Any, priority: int | str | Priority | None = None) -> None:
        """Insert a hook behind those of the same or a higher priority.

        Args:
            hook: A hook, or its dict, which may hold ``priority``.
            priority: Overrides the hook's own; a name such as ``"VERY_LOW"`` or a number from 0 to 100.

        Raises:
            TypeError: If ``hook`` is neither a hook nor a dict.
        """
        if isinstance(hook, dict):
            hook = as_config(copy.deepcopy(dict(hook)))
            own = hook.pop("priority", None)
            priority = own if priority is None else priority
            hook = HOOKS.build(hook)
        elif not isinstance(hook, Hook) and not hasattr(hook, "priority"):
            raise TypeError(f"hook should be an instance of Hook or dict(type=…), but got {hook!r}")
        if not hasattr(hook, "get_triggered_stages"):
            self.lightning_callbacks.append(hook)  # type: ignore[attr-defined]
            return
        if priority is not None:
            hook.priority = priority
        rank = get_priority(hook.priority)
        behind = [i for i, other in enumerate(self.hooks) if get_priority(other.priority) <= rank]
        self.hooks.insert(behind[-1] + 1 if behind else 0, hook)
        self._dispatch.clear()

    def register_default_hooks(self, hooks: dict[str, Any] | None = None) -> None:
        """Register the six default hooks, changed and extended by ``hooks``; ``None`` as a value removes one."""
        chosen = {**DEFAULT_HOOKS, **(hooks or {})}
        for hook in chosen.values():
            if hook is not None:
                self.register_hook(hook)

    def register_custom_hooks(self, hooks: list[Any]) -> None:
        """Register further hooks."""
        for hook in hooks:
            self.register_hook(hook)

    def register_hooks(
        self, default_hooks: dict[str, Any] | None = None, custom_hooks: list[Any] | None = None
    ) -> None:
        """Register the default hooks and then the custom ones."""
        self.register_default_hooks(default_hooks)
        self.register_custom_hooks(custom_hooks or [])

    def get_hooks_info(self) -> str:
        """Describe which hooks act at which point, in their order."""
        blocks = []
        for stage in Hook.stages:
            lines = [
                f"({_priority_name(hook):<12}) {type(hook).__name__:<35}"
                for hook in self.hooks
                if stage in hook.get_triggered_stages()
            ]
            if lines:
                blocks.append("\n".join([f"{stage}:", *lines, " -------------------- "]))
        return "\n".join(blocks)


def _built(part: Any, name: str, method: str) -> Any:
    """Return ``part``, which is told from a misplaced value by one method of its kind."""
    if not hasattr(part, method):
        raise TypeError(f"{name} should be a built object or a dict, but got {part!r}")
    return part


def _priority_name(hook: Any) -> str:
    try:
        return Priority(get_priority(hook.priority)).name
    except ValueError:
        return str(hook.priority)
