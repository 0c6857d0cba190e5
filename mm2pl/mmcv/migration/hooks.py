"""``checkpoint_config``, ``log_config`` and ``custom_hooks`` → hooks, loggers and the log processor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mm2pl.mmcv.migration.state import Part, State
from mm2pl.mmcv.migration.toolboxes import LOGGERS, SAME_HOOKS, TOOLBOX_HOOKS

# MMCV 1.7.2's and MMEngine 0.10.7's names have the same numbers.
_PRIORITIES = {
    "HIGHEST": 0,
    "VERY_HIGH": 10,
    "HIGH": 30,
    "ABOVE_NORMAL": 40,
    "NORMAL": 50,
    "BELOW_NORMAL": 60,
    "LOW": 70,
    "VERY_LOW": 90,
    "LOWEST": 100,
}
_OPTIMIZER_PRIORITY = _PRIORITIES["ABOVE_NORMAL"]
_CHECKPOINT_KEYS = (
    *("interval", "by_epoch", "save_optimizer", "out_dir", "max_keep_ckpts", "save_last"),
    "filename_tmpl",
)


def migrate_hooks(state: State) -> None:
    """Put ``default_hooks``, ``custom_hooks``, ``visualizer`` and ``log_processor``."""
    _checkpoint(state)
    _log(state)
    if "custom_hooks" in state:
        hooks = state.peek("custom_hooks")
        # MMCV 1.7.2 takes a single dict as well.
        hooks = [hooks] if isinstance(hooks, Mapping) else list(hooks or ())
        state.left.pop("custom_hooks")
        if not hooks:
            state.exact("custom_hooks", "custom_hooks")
        own = [h for i, hook in enumerate(hooks) for h in _custom_hook(state, hook, i)]
        state.put("custom_hooks", [*state.new.get("custom_hooks", []), *own])


def _checkpoint(state: State) -> None:
    if "checkpoint_config" not in state:
        return
    target = "default_hooks.checkpoint"
    if not isinstance(state.peek("checkpoint_config"), Mapping):
        state.take("checkpoint_config", target, note="no periodic checkpoints")
        # In MMEngine 0.10.7 CheckpointHook also keeps the best checkpoint, which was EvalHook's work in 1.x.
        # So it must stay, without saving periodically.
        keeps_best = "checkpoint" in state.new.get("default_hooks", {})
        none = {"interval": -1, "save_last": False}
        _put_hook(state, "checkpoint", none if keeps_best else None)
        return
    part = state.part("checkpoint_config")
    hook: dict[str, Any] = {"type": "CheckpointHook"}
    kind = part.peek("type", "CheckpointHook")
    if kind != "CheckpointHook":
        write = f"default_hooks = dict(checkpoint=dict(type={kind!r}, ...)), the hook ported to mm2pl.hooks"
        part.take("type", target, f"{kind!r} is a hook of your own", write)
    else:
        part.take("type", f"{target}.type")
    for key in _CHECKPOINT_KEYS:
        if key in part:
            hook[key] = part.take(key, f"{target}.{key}")
    hook = {k: v for k, v in hook.items() if not (k == "out_dir" and v is None)}
    # MMCV 1.7.2's IterBasedRunner sets by_epoch=False unless the
    # config says otherwise; MMEngine's hook counts epochs.
    by_epoch = hook.setdefault("by_epoch", not state.by_iteration)
    if by_epoch and state.by_iteration:
        note = "MMCV 1.7.2 never saved then: IterBasedRunner calls no after_train_epoch; set it to False"
        part.noted("by_epoch", f"{target}.by_epoch", note)
    if by_epoch and not state.by_iteration:
        hook.pop("by_epoch")  # the default; MMDetection's configs leave it out
        # Written by the user, so it stays: a file that inherits may rely on it.
        if "by_epoch" in (state.old["checkpoint_config"] or {}):
            hook["by_epoch"] = True
    if "file_client_args" in part:
        note = "file_client_args → backend_args"
        # MMEngine 0.10.7 has deprecated the old name.
        hook["backend_args"] = part.take("file_client_args", f"{target}.backend_args", note=note)
    part.take(
        "create_symlink",
        target,
        note="a text file last_checkpoint is written instead of latest.pth",
    )
    part.take("meta", note="the data set's meta information is saved anyway")
    if part.take("sync_buffer", "custom_hooks", note="SyncBuffersHook does it"):
        state.put("custom_hooks", [{"type": "SyncBuffersHook"}])
    part.finish("no argument of CheckpointHook", target)
    _put_hook(state, "checkpoint", hook)


def _put_hook(state: State, name: str, hook: dict[str, Any] | None) -> None:
    hooks = dict(state.new.get("default_hooks", {}))
    present = hooks.get(name) or {}
    # `present` is what `evaluation` has put there before: save_best and its rule.
    hooks[name] = None if hook is None else {**hook, **present}
    state.new["default_hooks"] = hooks


def _log(state: State) -> None:
    if "log_config" not in state:
        return
    if not isinstance(state.peek("log_config"), Mapping):
        state.take("log_config", "default_hooks.logger", note="no log lines")
        _put_hook(state, "logger", None)
        return
    part = state.part("log_config")
    interval = part.take("interval", "default_hooks.logger.interval", default=10)
    hook: dict[str, Any] = {"type": "LoggerHook", "interval": interval}
    # TextLoggerHook's JSON lines are LocalVisBackend's scalars.json.
    backends: list[dict[str, Any]] = [{"type": "LocalVisBackend"}]
    hooks = part.left.pop("hooks", None) or []
    if not hooks:
        part.exact("hooks", "visualizer")
    for index, logger in enumerate(hooks):
        where = Part(state, f"log_config.hooks[{index}]", logger)
        _logger(where, hook, backends)
    part.finish("no key of log_config", "default_hooks.logger")
    _put_hook(state, "logger", hook)
    state.put(
        "log_processor", {"window_size": hook["interval"], "by_epoch": not state.by_iteration}
    )
    # LocalVisBackend alone is the default. A toolbox's drawing hooks need its own visualizer.
    if len(backends) > 1 or state.toolbox:
        box = state.toolbox
        kind = box.visualizer if box else "Visualizer"
        state.put("vis_backends", backends)
        state.put("visualizer", {"type": kind, "vis_backends": backends, "name": "visualizer"})


def _logger(part: Part, hook: dict[str, Any], backends: list[dict[str, Any]]) -> None:
    kind = part.peek("type")
    target = "visualizer.vis_backends"
    # One LoggerHook serves all backends in MMEngine 0.10.7, so its settings come from the text logger.
    if kind == "TextLoggerHook":
        part.take("type", "default_hooks.logger")
        part.take("by_epoch", "log_processor.by_epoch")
        if "interval" in part:
            hook["interval"] = part.take("interval", "default_hooks.logger.interval")
        for key in ("ignore_last", "interval_exp_name", "out_dir", "keep_local", "out_suffix"):
            if key in part:
                hook[key] = part.take(key, f"default_hooks.logger.{key}")
        part.take("reset_flag", note="every logger gets the same values, nothing is left to reset")
        if "file_client_args" in part:
            note = "file_client_args → backend_args"
            hook["backend_args"] = part.take(
                "file_client_args", "default_hooks.logger.backend_args", note=note
            )
        part.finish("no argument of LoggerHook", "default_hooks.logger")
        return
    if kind not in LOGGERS:
        write = "a backend in VISBACKENDS, in visualizer.vis_backends"
        part.take("type", target, f"no backend stands for {kind}", write)
        part.left.clear()
        return
    backend, names = LOGGERS[kind]
    part.take("type", target, note=f"{kind} → {backend}")
    new = {name: part.take(old, f"{target}.{name}") for old, name in names.items() if old in part}
    for key in ("by_epoch", "interval", "ignore_last", "reset_flag"):
        part.take(
            key, note="backends get what the logger hook logs, every default_hooks.logger.interval"
        )
    part.finish(f"no argument of {backend}", target)
    backends.append({"type": backend, **new})


def _custom_hook(state: State, hook: object, index: int) -> list[Any]:
    path = f"custom_hooks[{index}]"
    # A config in Python may hold a hook object; it cannot be written as text either.
    if not isinstance(hook, Mapping):
        Part(state, path, {}).needs_you("", "an object; only dicts can be migrated", "a dict")
        return [hook]
    part = Part(state, path, hook)
    kind = hook.get("type")
    priority = part.peek("priority")
    number = _PRIORITIES.get(priority, priority) if isinstance(priority, str) else priority
    # In 1.x OptimizerHook (40) runs backward inside after_train_iter. MMEngine has stepped before any such hook.
    early = isinstance(number, int) and number < _OPTIMIZER_PRIORITY
    if "priority" in part:
        note = _EARLY if early and kind not in _EARLY_IS_FINE else ""
        part.take("priority", f"{path}.priority", note=note)
    if kind == "EMAHook":
        return [_with_priority(_ema(part, path), priority)]
    if kind in ("ExpMomentumEMAHook", "LinearMomentumEMAHook"):
        return [_with_priority(_detection_ema(part, path, str(kind)), priority)]
    if kind in SAME_HOOKS:
        part.take("type", f"{path}.type")
    elif kind in TOOLBOX_HOOKS:
        part.take("type", f"{path}.type", note="the toolbox has it under the same name")
    else:
        write = (
            "the class in HOOKS, with batch_idx and data_batch arguments: `mm2pl migrate --code`"
        )
        part.take("type", f"{path}.type", f"{kind} is a hook of your own", write)
    for key in list(part.left):
        part.take(key, f"{path}.{key}")
    return [dict(hook)]


_EARLY = (
    "in MMCV this hook ran before OptimizerHook (40), so after_train_iter saw the gradients of the iteration "
    "before; MMEngine's optimizer has stepped by then"
)
# These act at epochs, not after iterations, so the gradients do not concern them.
_EARLY_IS_FINE = frozenset({"SyncBuffersHook", "NumClassCheckHook", "SetEpochInfoHook"})


def _with_priority(hook: dict[str, Any], priority: object) -> dict[str, Any]:
    return hook if priority is None else {**hook, "priority": priority}


def _ema(part: Part, path: str) -> dict[str, Any]:
    hook: dict[str, Any] = {"type": "EMAHook"}
    interval = part.take("interval", f"{path}.interval", default=1)
    # MMCV 1.7.2's quirk, which makes the average slower: kept, since the run shall be the same.
    momentum = part.take("momentum", f"{path}.momentum", default=0.0002) ** interval
    warm_up = part.take("warm_up", path, default=100)
    notes = [
        "MMEngine's average starts from the weights after the first iteration, MMCV's from those before"
    ]
    if interval > 1:
        notes.append(f"MMCV uses momentum ** interval = {momentum:g}")
    # Below that the limit starts at 1 / warm_up or more, above the momentum, and never acts.
    if warm_up * momentum > 1:
        notes.append(
            f"MMCV limits the momentum to (1 + i) / ({warm_up} + i) at first, which no averaged model does"
        )
    part.take("type", f"{path}.type", note="; ".join(notes))
    part.take("resume_from", path, note="the average is in the checkpoint that `resume` loads")
    hook.update(ema_type="ExponentialMovingAverage", momentum=momentum)
    if interval > 1:
        hook["interval"] = interval
    part.finish("no argument of EMAHook", path)
    return hook


def _detection_ema(part: Part, path: str, kind: str) -> dict[str, Any]:
    hook: dict[str, Any] = {"type": "EMAHook", "ema_type": "ExponentialMovingAverage"}
    if kind == "ExpMomentumEMAHook":
        hook["ema_type"] = "mmdet.ExpMomentumEMA"
        part.take("type", f"{path}.type", note="MMDetection 3 has it as an averaged model")
        # The time constant of the exponential: `gamma` in MMDetection 3.
        if "total_iter" in part:
            hook["gamma"] = part.take("total_iter", f"{path}.gamma")
    else:
        write = (
            "ema_type='...', a class derived from mm2pl.model.BaseAveragedModel with that warm-up"
        )
        part.take("type", f"{path}.type", f"{kind} has no successor", write)
        part.take("warm_up", path, note="see type")
    hook["momentum"] = part.take("momentum", f"{path}.momentum", default=0.0002)
    if "interval" in part:
        hook["interval"] = part.take("interval", f"{path}.interval")
    skip_buffers = part.take("skip_buffers", f"{path}.update_buffers", default=False)
    part.take("resume_from", path, note="the average is in the checkpoint that `resume` loads")
    part.finish(f"no argument of {hook['ema_type']}", path)
    # MMDetection 2 averages the whole state dict unless skip_buffers is set; MMEngine averages parameters only.
    return {**hook, "update_buffers": not skip_buffers, "strict_load": False}
