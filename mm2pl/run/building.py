"""From the dicts of a config to the parts of a run."""

from __future__ import annotations

import copy
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mm2pl.config import as_config
from mm2pl.errors import ArgumentError, StateError, under_key
from mm2pl.logging import MessageHub, MMLogger
from mm2pl.registry import HOOKS, LOG_PROCESSORS, LOOPS, VISUALIZERS
from mm2pl.run.base_loop import BaseLoop, as_own
from mm2pl.run.eval_loops import TestLoop, ValLoop
from mm2pl.run.log_processor import LogProcessor
from mm2pl.run.loops import EpochBasedTrainLoop, IterBasedTrainLoop
from mm2pl.run.points import STAGES
from mm2pl.run.priority import Priority, get_priority
from mm2pl.run.several_sets import SeveralSets

if TYPE_CHECKING:
    from mm2pl.run.facade import RunnerFacade
    from mm2pl.run.protocols import HookLike, LoaderLike
    from mm2pl.visualization import Visualizer

DEFAULT_HOOKS: dict[str, dict[str, Any]] = {
    "runtime_info": {"type": "RuntimeInfoHook"},
    "timer": {"type": "IterTimerHook"},
    "sampler_seed": {"type": "DistSamplerSeedHook"},
    "logger": {"type": "LoggerHook"},
    "param_scheduler": {"type": "ParamSchedulerHook"},
    "checkpoint": {"type": "CheckpointHook", "interval": 1},
}
"""The hooks of every run, in MMEngine's order; ``None`` under one of these names takes it out."""


def train_loop(runner: RunnerFacade, loop: BaseLoop | dict, dataloader: LoaderLike | dict) -> Any:
    """Build the training loop from a ``train_cfg``; a built one is returned as it is.

    Raises:
        RuntimeError: If the dict has both ``type`` and ``by_epoch``.
        TypeError: If it is neither dict nor loop.
    """
    if isinstance(loop, dict) and "type" not in loop:
        # MMEngine 0.10.7 pops it from a ConfigDict, which has None for a key that is missing.
        default = EpochBasedTrainLoop if loop.get("by_epoch") else IterBasedTrainLoop
        loop = {k: v for k, v in loop.items() if k != "by_epoch"}
        return _loop(runner, loop, default, dataloader=dataloader)
    if isinstance(loop, dict) and "by_epoch" in loop:
        raise StateError(
            f"train_cfg has type={loop['type']!r} and by_epoch={loop['by_epoch']!r} → Only one of the two can be given"
        )
    if isinstance(loop, dict):
        loop = _with_own_type(loop)
    return _loop(runner, loop, EpochBasedTrainLoop, dataloader=dataloader)


def _with_own_type(loop: dict[str, Any]) -> dict[str, Any]:
    # Where MMEngine is installed, a toolbox derives its loops from MMEngine's own.
    kind = loop["type"]
    if isinstance(kind, str):
        with LOOPS.switch_scope_and_registry(loop.get("_scope_")) as registry:
            kind = registry.get(kind)
    return {**loop, "type": as_own(kind)} if isinstance(kind, type) else loop


def val_loop(runner: RunnerFacade, loop: BaseLoop | dict, **parts: Any) -> Any:
    """Build the validation loop from a ``val_cfg``; ``parts`` are its ``dataloader`` and ``evaluator``."""
    return _loop(runner, loop, ValLoop, **parts)


def test_loop(runner: RunnerFacade, loop: BaseLoop | dict, **parts: Any) -> Any:
    """Build the test loop from a ``test_cfg``; ``parts`` are its ``dataloader`` and ``evaluator``."""
    return _loop(runner, loop, TestLoop, **parts)


def _loop(runner: RunnerFacade, loop: BaseLoop | dict, default: type[Any], **parts: Any) -> Any:
    if isinstance(loop, BaseLoop):
        return loop
    if not isinstance(loop, dict):
        raise ArgumentError(f"the loop should be a loop object or a dict, but got {loop!r}")
    config = as_config(copy.deepcopy(dict(loop)))
    if "type" not in config:
        if isinstance(parts["dataloader"], list | tuple) and "evaluator" in parts:
            return SeveralSets(runner, kind=default, **parts, **config)
        return default(runner=runner, **parts, **config)
    return LOOPS.build(config, default_args={"runner": runner, **parts})


def log_processor(given: LogProcessor | dict) -> LogProcessor:
    """Build the log processor from its dict; a built one is returned as it is."""
    if not isinstance(given, dict):
        return _built(given, "log_processor", "get_log_after_iter")
    return LOG_PROCESSORS.build({"type": LogProcessor, **as_config(given)})


def logger(owner: object, run_name: str, file: Path, level: int | str, **options: Any) -> MMLogger:
    """Make the logger of a run; it writes to the console, and to ``file``, which is closed when its owner is gone."""
    options = {"name": run_name, "log_file": str(file), "file_mode": "a", **options}
    made = MMLogger.get_instance(log_level=level, **options)
    # The logger stays known by its name; a process that makes a thousand runs may not have that many files open.
    weakref.finalize(owner, made.rest).atexit = False
    return made


def message_hub(name: str, given: MessageHub | dict | None) -> MessageHub:
    """Make the message hub of a run; a built one is returned as it is."""
    if not isinstance(given, dict | None):
        return _built(given, "message_hub", "update_info")
    return MessageHub.get_instance(**{"name": name, **(given or {})})


def visualizer(name: str, save_dir: str, given: Visualizer | dict | None) -> Any:
    """Build the visualizer; without a config it writes scalars to ``vis_data/`` in the log folder."""
    if given is None:
        given = {"type": "Visualizer", "vis_backends": [{"type": "LocalVisBackend"}]}
    if not isinstance(given, dict):
        return _built(given, "visualizer", "add_scalars")
    defaults = {"name": name, "save_dir": save_dir}
    return VISUALIZERS.build({**defaults, **as_config(copy.deepcopy(dict(given)))})


def _built(part: object, name: str, method: str) -> Any:
    """Return ``part``, which is told from a misplaced value by one method of its kind."""
    if not hasattr(part, method):
        raise ArgumentError(f"{name} should be a built object or a dict, but got {part!r}")
    return part


# Hooks


def hook_of(given: HookLike | Mapping[str, Any], priority: int | str | Priority | None) -> Any:
    """Build a hook from its dict, which may hold ``priority``; a built one is returned as it is.

    Args:
        given: A hook, its dict, or a Lightning callback.
        priority: Overrides the hook's own.

    Raises:
        TypeError: If ``given`` is none of these.
    """
    made: Any = given
    if isinstance(given, Mapping):
        config = as_config(copy.deepcopy(dict(given)))
        own = config.pop("priority", None)
        priority = own if priority is None else priority
        made = HOOKS.build(config)
    elif not hasattr(given, "priority"):
        raise ArgumentError(
            f"hook should be an instance of Hook or dict(type=…), but got {given!r}"
        )
    if priority is not None:
        # Among the hooks it is too late: nothing there knows that the word is the config's.
        with under_key("priority"):
            get_priority(priority)
        made.priority = priority
    return made


def insert_by_priority(hooks: list[HookLike], hook: HookLike) -> None:
    """Put a hook behind those of the same or a higher priority."""
    rank = get_priority(hook.priority)
    behind = [i for i, other in enumerate(hooks) if get_priority(other.priority) <= rank]
    hooks.insert(behind[-1] + 1 if behind else 0, hook)


def hooks_by_stage(hooks: Sequence[HookLike]) -> str:
    """Describe which hooks act at which point, in their order."""
    blocks = []
    for stage in STAGES:
        lines = [
            f"({_priority_name(hook):<12}) {type(hook).__name__:<35}"
            for hook in hooks
            if stage in hook.get_triggered_stages()
        ]
        if lines:
            blocks.append("\n".join([f"{stage}:", *lines, " -------------------- "]))
    return "\n".join(blocks)


def _priority_name(hook: HookLike) -> str:
    try:
        return Priority(get_priority(hook.priority)).name
    except ValueError:
        return str(hook.priority)
