"""A second runner like a first one, whose training leaves the first as it is."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from mm2pl.config import Config
from mm2pl.lightning.assembly import assemble
from mm2pl.run.building import DEFAULT_HOOKS
from mm2pl.run.facade import RunnerFacade
from mm2pl.run.run import Run

if TYPE_CHECKING:
    from mm2pl.plan.translate import Plan
    from mm2pl.runner.runner import Runner

ONE_PROCESS = {"strategy": "auto", "devices": 1, "num_nodes": 1, "sync_batchnorm": False}
SILENT: dict[str, Any] = {
    "logger": False,
    "enable_progress_bar": False,
    "profiler": {"class_path": "mm2pl.lightning.NoProfiler"},
    "fast_dev_run": False,
}
"""Trainer arguments of a trial."""


def in_folder(settings: Mapping[str, Any], folder: str) -> dict[str, Any]:
    """Return the settings of a run for a trial in ``folder``, which writes, tells and continues nothing else.

    Args:
        settings: The keys of a config, or those of a plan's run.
        folder: Where the trial may write.
    """
    name = os.path.basename(os.path.normpath(settings.get("work_dir") or "run"))
    changed = {
        **settings,
        "work_dir": os.path.join(folder, name),
        "launcher": "none",
        "log_level": "ERROR",
        "resume": False,
        "visualizer": _silent_visualizer(settings.get("visualizer")),
    }
    if settings.get("resume"):  # then it names the checkpoint to go on from
        changed["load_from"] = None
    return changed


def _silent_visualizer(given: Any) -> dict[str, Any] | None:
    """Return the same visualizer with a local backend: a service must not hear of a trial."""
    if not isinstance(given, Mapping):
        return None
    own = {k: v for k, v in given.items() if k != "save_dir"}
    return {**own, "vis_backends": [{"type": "LocalVisBackend"}]}


def twin_of(runner: Runner, folder: str) -> Runner:
    """Make a runner of the same class from copies of another one's parts.

    A data set that cannot be copied is shared; arrays in one always are.

    Raises:
        TypeError: The model, the optimizer or a schedule cannot be copied.
    """
    run, plan = runner._run, runner._run.plan
    memo: dict[int, Any] = dict(_arrays(_datasets(run.loaders)))
    # First, so that a live optimizer is copied with the parameters of the copied model.
    model = copy.deepcopy({**plan.model, **_current(run)}, memo)
    data = _copied({f"{stage}_dataloader": loader for stage, loader in run.loaders.items()}, memo)
    settings = _copied(plan.run, memo)
    hooks = [_copied(hook, memo) for hook in run.hooks]
    no_hooks: dict[str, Any] = {"default_hooks": dict.fromkeys(DEFAULT_HOOKS), "custom_hooks": None}
    twin_plan: Plan = replace(
        plan,
        trainer={
            **_copied(plan.trainer, memo),
            **ONE_PROCESS,
            **SILENT,
            "default_root_dir": folder,
        },
        model=model,
        data=data,
        run={**in_folder(settings, folder), **no_hooks},
        warnings=(),
        notes=(),
    )
    twin = object.__new__(type(runner))
    own = {k: v for k, v in vars(runner).items() if k not in ("_run", "_methods")}
    vars(twin).update(_copied(own, memo))
    RunnerFacade.__init__(twin, Run(twin_plan, Config(_copied(dict(run.cfg.items()), memo))))
    assemble(twin._run)
    for hook in hooks:
        twin.register_hook(hook)
    return twin


def _current(run: Run) -> dict[str, Any]:
    """Return what may have been assigned since the plan was made."""
    module = run.module
    evaluators = {f"{stage}_evaluator": given for stage, given in run.evaluators.items()}
    return {
        "optim_wrapper": module.optim_wrapper,
        "param_scheduler": run.param_schedulers,
        "auto_scale_lr": run.auto_scale_lr,
        **evaluators,
    }


def _copied(value: Any, memo: dict[int, Any]) -> Any:
    if isinstance(value, Mapping):
        return {key: _copied(item, memo) for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)(_copied(item, memo) for item in value)
    try:
        return copy.deepcopy(value, memo)
    except Exception:  # an open file, a database: nothing else is left than to share it
        return value


def _datasets(loaders: Mapping[str, Any]) -> Iterator[Any]:
    for loader in loaders.values():
        if isinstance(loader, Mapping):
            yield loader.get("dataset")
        else:
            yield getattr(loader, "dataset", None)


def _arrays(holders: Iterator[Any]) -> Iterator[tuple[int, Any]]:
    """Yield, by identity, the arrays and tensors in data sets and in the data sets that these wrap."""
    todo, seen = list(holders), set()
    while todo:
        holder = todo.pop()
        if isinstance(holder, torch.Tensor | np.ndarray):
            yield id(holder), holder
        elif id(holder) not in seen and hasattr(holder, "__dict__"):
            seen.add(id(holder))
            for value in vars(holder).values():
                todo += value if isinstance(value, list | tuple) and len(value) < 1000 else [value]
