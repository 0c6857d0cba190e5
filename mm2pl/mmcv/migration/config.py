"""The migration of a whole config: pure, from dict to dict."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from mm2pl.errors import ArgumentError
from mm2pl.mmcv.migration.data import migrate_data, migrate_helpers
from mm2pl.mmcv.migration.decisions import AS_SEEN, NONE, Choices
from mm2pl.mmcv.migration.environment import migrate_environment
from mm2pl.mmcv.migration.evaluation import migrate_loops
from mm2pl.mmcv.migration.hooks import migrate_hooks
from mm2pl.mmcv.migration.optimizer import migrate_optimizer
from mm2pl.mmcv.migration.recognition import is_of_unknown, recognise
from mm2pl.mmcv.migration.report import Report
from mm2pl.mmcv.migration.schedule import migrate_schedules
from mm2pl.mmcv.migration.state import State
from mm2pl.mmcv.migration.toolboxes import KNOWN_SCOPES
from mm2pl.plan.containers import as_dicts

# fmt: off
_DICTS = (
    "runner", "optimizer", "optimizer_config", "lr_config", "momentum_config", "fp16", "data",
    "evaluation", "checkpoint_config", "log_config", "dist_params",
)
"""Keys that MMCV 1.x takes as dicts, or None."""
# fmt: on

# The order counts: a data set's own metric needs the new val_dataloader, the checkpoint hook needs `save_best`,
# and helper variables get what the data sets and pipelines have become.
_STEPS: tuple[Callable[[State], None], ...] = (
    migrate_data,
    migrate_optimizer,
    migrate_schedules,
    migrate_loops,
    migrate_hooks,
    migrate_environment,
    migrate_helpers,
)


class NotMigratedError(ArgumentError):
    """A config does not load, is none of MMCV 1.x, or has values that it does not take or that cannot be written."""


class Migrated(NamedTuple):
    """Hold the migrated ``config``, and in ``report`` what became of each key."""

    config: dict[str, Any]
    report: Report


def migrate_config(old: Mapping[str, Any]) -> dict[str, Any]:
    """Return the MMEngine-style config that runs as ``old`` did under MMCV 1.x.

    Args:
        old: A config dict with its ``_base_`` files merged; a `Config` or a plain dict. Not changed.

    Example:
        >>> new = migrate_config(dict(runner=dict(type="EpochBasedRunner", max_epochs=12),
        ...                           lr_config=dict(policy="step", step=[8, 11])))
        >>> new["train_cfg"]
        {'type': 'EpochBasedTrainLoop', 'max_epochs': 12, 'val_interval': 1}
        >>> new["param_scheduler"][0]["milestones"]
        [8, 11]
    """
    return migrate_with_report(old).config


def migrate_with_report(old: Mapping[str, Any], choices: Choices = AS_SEEN) -> Migrated:
    """Return the migrated config and the report; `migrate_config` returns the config alone.

    Args:
        old: See `migrate_config`.
        choices: What you decide, in place of what the config seems to tell.

    Raises:
        NotMigratedError: A value is of a type that MMCV 1.x does not take.
        ValueError: The chosen toolbox is none of the known ones.
    """
    plain = as_dicts(getattr(old, "_cfg_dict", old))
    _check(plain)
    box, why = recognise(plain, choices)
    state = State(plain, box, choices)
    state.decisions += [why] if why is not None else []
    # First of all: a reference may stand for a whole dict that a step takes apart.
    resolve_references(state)
    if "model" in state:
        note = (
            f"kept as it is: {box.scope} builds it, and may have renamed arguments" if box else ""
        )
        state.put("model", state.take("model", "model", note))
    for step in _STEPS:
        step(state)
    # Not in files that only hold a model or data: others inherit from them, and two bases must not set one key.
    chosen = choices.scope
    # Scopes of other names, such as mmcls, are written as the toolbox of today is called.
    if chosen in KNOWN_SCOPES:
        chosen = KNOWN_SCOPES[chosen].scope
    scope = chosen or (box.scope if box else NONE)
    if scope != NONE and "default_scope" not in plain and _is_runtime(plain):
        state.new["default_scope"] = scope
    # Helper variables. Files that inherit from this one may name them, so none is dropped.
    for key in list(state.left):
        state.put(key, state.take(key, key))
    reported = state.report()
    for key in plain:
        # No key is dropped without a word, not even an empty one.
        if not reported.covers(key):
            state.noted(key, "", "empty")
    if is_of_unknown(plain, box):
        note = "pipelines of a toolbox that is not known here are kept as they are"
        state.needs_you("train_pipeline", note, "its own migration guide tells the new names")
    return Migrated(_ordered(plain, state.new), state.report())


def _check(config: Mapping[str, Any]) -> None:
    """Refuse what no 1.x run could have used, all of it at once."""
    wrong = [
        f"{key}={config[key]!r} must be a dict or None"
        for key in _DICTS
        if not isinstance(config.get(key), Mapping | None)
    ]
    # JSON and YAML have lists where MMCV 1.7.2 asks for tuples.
    workflow = config.get("workflow")
    flows = workflow if isinstance(workflow, list | tuple) else [workflow]
    if workflow is not None and not all(_is_flow(flow) for flow in flows):
        wrong.append(f"workflow={workflow!r} must be a list of pairs such as ('train', 1)")
    hooks = config.get("custom_hooks")
    loggers = (config.get("log_config") or {}).get("hooks") if not wrong else None
    for key, value in (("custom_hooks", hooks), ("log_config.hooks", loggers)):
        # MMCV 1.7.2 takes a single dict too.
        values = value if isinstance(value, list | tuple) else [value]
        if value is not None and any(isinstance(v, str | int | float) for v in values):
            wrong.append(f"{key}={value!r} must be a list of dicts")
    if wrong:
        raise NotMigratedError(f"{'; '.join(wrong)} → correct the old config, then migrate again.")


def _is_flow(flow: object) -> bool:
    return isinstance(flow, list | tuple) and len(flow) == 2 and isinstance(flow[0], str)


def _is_runtime(config: Mapping[str, Any]) -> bool:
    return bool({"log_config", "log_level", "dist_params", "runner"} & set(config))


# The pattern of MMDetection 2's `replace_cfg_vals`: a shell's `${NAME}` in a path matches too.
_REFERENCE = re.compile(r"\$\{([a-zA-Z\d_.]*)\}")


def resolve_references(state: State) -> None:
    """Put in the values that MMDetection's ``${key.sub}`` strings stand for."""
    for key, value in list(state.left.items()):
        used: list[str] = []
        resolved = _resolved(value, state.old, used)
        if used:
            state.left[key] = resolved
            state.noted(key, key, f"values of {', '.join(dict.fromkeys(used))} put in")


def _resolved(value: object, config: Mapping[str, Any], used: list[str]) -> Any:
    if isinstance(value, dict):
        return {key: _resolved(child, config, used) for key, child in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_resolved(child, config, used) for child in value)
    if not isinstance(value, str) or "${" not in value:
        return value
    whole = _REFERENCE.fullmatch(value)
    # A string that is one reference takes the value with its type,
    # a dict for instance; inside text it becomes text.
    if whole:
        used.append(value)
        return _look_up(config, whole[1], value)
    used += [match[0] for match in _REFERENCE.finditer(value)]
    return _REFERENCE.sub(lambda m: str(_look_up(config, m[1], m[0])), value)


def _look_up(config: object, path: str, otherwise: str) -> Any:
    for name in path.split("."):
        # MMDetection 2 raises here. Other toolboxes know no references, so the text must stay as it is.
        if not isinstance(config, Mapping) or name not in config:
            return otherwise
        config = config[name]
    return config


def _ordered(old: Mapping[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """Return ``new`` with the keys of ``old`` first, in their order."""
    kept = {key: new[key] for key in old if key in new}
    return {**kept, **new}
