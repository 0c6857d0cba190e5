"""From a config's ``param_scheduler`` to schedulers."""

from __future__ import annotations

import copy
import logging
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

from mm2pl.errors import ArgumentError, ReadableKeyError, under_key
from mm2pl.logging import print_log
from mm2pl.optim.abilities import holds_several, is_optim_wrapper, wrappers_of
from mm2pl.optim.scheduler.base import _ParamScheduler
from mm2pl.registry import PARAM_SCHEDULERS


def build_param_schedulers(
    cfg: Any,
    optim_wrapper: Any,
    *,
    max_epochs: int | None = None,
    max_iters: int | None = None,
    epoch_length: int | None = None,
    by_epoch: bool = True,
) -> list[_ParamScheduler] | dict[str, list[_ParamScheduler]]:
    """Build the schedulers of a run; stands for `mmengine.runner.Runner.build_param_scheduler`.

    Args:
        cfg: A config or a built scheduler, or a list of them; for an `OptimWrapperDict` also a dict
            from its names to such lists. Not changed.
        optim_wrapper: What is scheduled.
        max_epochs: The default ``end`` of schedulers by epoch.
        max_iters: That of schedulers by iteration; default: ``max_epochs * epoch_length``.
        epoch_length: Iterations per epoch, for ``convert_to_iter_based``.
        by_epoch: Whether the run counts epochs. One that counts iterations is a single epoch.

    Returns:
        A list, or for an `OptimWrapperDict` a list for each of its names.

    Raises:
        TypeError: A scheduler is neither a dict nor built.
        KeyError: A scheduler's dict has no ``type``.
        ValueError: A dict of lists does not have the names of the optimizers.
    """
    if not by_epoch:
        # MMEngine's IterBasedTrainLoop calls after_train_epoch once, after the last validation.
        max_epochs = 1
    elif max_iters is None and max_epochs is not None and epoch_length is not None:
        max_iters = max_epochs * epoch_length
    ends = {True: max_epochs, False: max_iters}
    if not holds_several(optim_wrapper):
        return _build_all(cfg, optim_wrapper, ends, epoch_length)
    wrappers = wrappers_of(optim_wrapper)
    per_name = per_optimizer(cfg, list(wrappers))
    return {
        name: _build_all(per_name[name], wrapper, ends, epoch_length)
        for name, wrapper in wrappers.items()
    }


def per_optimizer(cfg: Any, names: list[str]) -> dict[str, Any]:
    """Return the part of each optimizer: its own, or the whole where it is not by optimizer.

    Raises:
        ValueError: It is by optimizer, and lacks one.
    """
    by_name = isinstance(cfg, dict) and "type" not in cfg
    per_name = cfg if by_name else dict.fromkeys(names, cfg)
    if missing := [name for name in names if name not in per_name]:
        raise ArgumentError(
            f"param_scheduler for {list(per_name)} lacks {missing}: give one list per optimizer, or "
            "a single list for all."
        )
    if unknown := [name for name in per_name if name not in names]:
        print_log(
            f"param_scheduler for {unknown} has no effect: the optimizers are {names}.",
            logger="current",
            level=logging.WARNING,
        )
    return per_name


def _as_list(cfg: Any) -> Sequence[Any]:
    return cfg if isinstance(cfg, Sequence) and not isinstance(cfg, str) else [cfg]


def _build_all(
    cfg: Any, optim_wrapper: Any, ends: dict[bool, int | None], epoch_length: int | None
) -> list[_ParamScheduler]:
    made = []
    for number, each in enumerate(_as_list(cfg)):
        with nullcontext() if each is cfg else under_key(str(number)):
            made.append(_build(each, optim_wrapper, ends, epoch_length))
    return made


def _build(
    cfg: Any, optim_wrapper: Any, ends: dict[bool, int | None], epoch_length: int | None
) -> _ParamScheduler:
    if isinstance(cfg, _ParamScheduler):
        # As it is: a built scheduler keeps its own optimizer and `end`.
        return cfg
    if not isinstance(cfg, dict):
        raise ArgumentError(f"param_scheduler={cfg!r} must be a dict or a scheduler.")
    # The user's config is logged, dumped and maybe built again: `end` is not for it.
    cfg = copy.deepcopy(cfg)
    if "type" not in cfg and cfg and all(isinstance(value, list | dict) for value in cfg.values()):
        raise ArgumentError(
            f"param_scheduler has a list per optimizer ({list(cfg)}), but there is one optimizer: "
            "give a single list."
        )
    if "type" not in cfg:
        raise ReadableKeyError(
            f"param_scheduler={dict(cfg)!r} lacks `type` → add e.g. type='MultiStepLR'."
        )
    # The bare class keeps 1e9; only a Runner knows when the run ends (Linear, Constant and Poly depend on it).
    end = ends[bool(cfg.get("by_epoch", True))]
    if end is not None:
        cfg.setdefault("end", end)
    default_args = {"optimizer": _optimizer_for(cfg["type"], optim_wrapper)}
    if epoch_length is not None:
        # Only for `convert_to_iter_based`; the build function drops it otherwise.
        default_args["epoch_length"] = epoch_length
    return PARAM_SCHEDULERS.build(cfg, default_args=default_args)


def _optimizer_for(kind: Any, optim_wrapper: Any) -> Any:
    """Return what a scheduler drives: one of the real MMEngine's classes wants a wrapper of MMEngine's."""
    cls = PARAM_SCHEDULERS.get(kind) if isinstance(kind, str) else kind
    homes = {base.__module__.partition(".")[0] for base in getattr(cls, "__mro__", ())}
    if "mmengine" not in homes or not is_optim_wrapper(optim_wrapper):
        return optim_wrapper
    # Loaded for sure: the class comes from there. Importing it here would make MMEngine a requirement.
    theirs: Any = sys.modules["mmengine.optim"].OptimWrapper
    if isinstance(optim_wrapper, theirs):
        return optim_wrapper

    class Twin(theirs):
        """The same param groups; its own step is never called, and need not be."""

        param_groups = property(lambda self: optim_wrapper.param_groups)
        _global_step = property(lambda self: 0, lambda self, count: None)

    return Twin(optim_wrapper.optimizer)
