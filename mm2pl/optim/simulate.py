"""The curve of a schedule, without a model or an optimizer."""

from __future__ import annotations

import logging
from typing import Any

from mm2pl.errors import ArgumentError
from mm2pl.logging import print_log
from mm2pl.optim.scheduler.builder import build_param_schedulers
from mm2pl.optim.scheduler.tick import tick
from mm2pl.registry import PARAM_SCHEDULERS


def simulate(
    param_scheduler: Any,
    base: float,
    iters: int,
    epoch_length: int,
    param_name: str = "lr",
    *,
    by_epoch: bool = True,
) -> list[float]:
    """Return the value in effect during each iteration of a run.

    Args:
        param_scheduler: As in a config: a dict or a list of dicts. Schedules of other entries than
            ``param_name`` do no harm. One that waits for a metric never acts, and a warning is
            logged, since no metric is known.
        base: The optimizer's own value.
        iters: The number of iterations.
        epoch_length: Iterations per epoch.
        param_name: What to look at; ``'momentum'`` for Adam's ``betas[0]`` too.
        by_epoch: False for a run that counts iterations: there, schedulers by epoch only tick at
            the end.

    Returns:
        ``iters`` values, in the unit of ``base``.

    Raises:
        ValueError: ``iters`` is negative, ``epoch_length`` not positive, a schedule's arguments are
            out of range, or ``param_scheduler`` has a list per optimizer.
        TypeError: ``base`` is not a number, or a schedule's arguments have other names.
        KeyError: A schedule has no ``type``, or one that nothing is registered for.

    Example:
        >>> simulate(dict(type="StepLR", step_size=1, gamma=0.5), 0.1, iters=6, epoch_length=2)
        [0.1, 0.1, 0.05, 0.05, 0.025, 0.025]
    """
    if not isinstance(base, int | float):
        raise ArgumentError(f"base={base!r} must be a number, such as the optimizer's lr.")
    for each in param_scheduler if isinstance(param_scheduler, list | tuple) else [param_scheduler]:
        if waits_for_metric(each):
            print_log(
                f"simulate: {each['type']} waits for a metric that is not known here; the values "
                "are those of a run in which it never acts.",
                logger="current",
                level=logging.WARNING,
            )
    groups = [{param_name: base}]
    return trace(param_scheduler, groups, iters, epoch_length, by_epoch=by_epoch)[0][param_name]


def waits_for_metric(cfg: object) -> bool:
    """Return whether a schedule's config is one of `ReduceOnPlateauLR` and its kin."""
    kind = cfg.get("type") if isinstance(cfg, dict) else None
    cls = PARAM_SCHEDULERS.get(kind) if isinstance(kind, str) else kind
    return getattr(cls, "need_val_args", False)


def trace(
    param_scheduler: object,
    groups: list[dict[str, float]],
    iters: int,
    epoch_length: int,
    *,
    by_epoch: bool = True,
) -> list[dict[str, list[float]]]:
    """Do what :func:`simulate` does for several param groups, and for every entry they have.

    Args:
        param_scheduler: As in a config.
        groups: The entries of each group before the run; not changed.
        iters: The number of iterations.
        epoch_length: Iterations per epoch.
        by_epoch: Whether the run counts epochs.

    Returns:
        For each group, the values of each entry.

    Raises:
        ValueError: ``iters`` or ``epoch_length`` is not positive.
    """
    if iters < 0 or epoch_length < 1:
        raise ArgumentError(
            f"iters={iters!r}, epoch_length={epoch_length!r}: give a number of iterations, and how "
            "many of them are an epoch."
        )
    optim_wrapper = Groups(groups)
    schedulers: Any = build_param_schedulers(
        param_scheduler or [],
        optim_wrapper,
        # Rounded up: the run's last epoch may be shorter.
        max_epochs=-(-iters // epoch_length),
        max_iters=iters,
        epoch_length=epoch_length,
        by_epoch=by_epoch,
    )
    curves: list[dict[str, list[float]]] = [{entry: [] for entry in group} for group in groups]
    seen = [
        (curve.append, group, entry)
        for curves_of_group, group in zip(curves, optim_wrapper.param_groups, strict=True)
        for entry, curve in curves_of_group.items()
    ]
    for iteration in range(1, iters + 1):
        # Before the tick: iteration n runs with what tick n - 1 has left.
        for note, group, entry in seen:
            note(group[entry])
        # By iteration first: after_train_iter comes before after_train_epoch.
        tick(schedulers, by_epoch=False)
        # In a run by iteration MMEngine's epoch ends with the run.
        if by_epoch and iteration % epoch_length == 0:
            tick(schedulers, by_epoch=True)
    return curves


class Groups:
    """Param groups without parameters: all that a scheduler needs of an optimizer.

    Attributes:
        param_groups: The groups; an entry that was not given is 1.
        defaults: They have momentum, so that a momentum schedule takes the entry as it is, without ``betas``.
    """

    def __init__(self, groups: list[dict[str, Any]]) -> None:
        self.param_groups: list[dict[str, Any]] = [_Group(group) for group in groups]
        self.defaults = {"momentum": 1.0}


class _Group(dict[str, Any]):
    def __missing__(self, name: str) -> float:
        # Only a scheduler may set these: one that resumes must notice that they are missing.
        if name.startswith("initial_"):
            raise KeyError(name)
        return 1.0
