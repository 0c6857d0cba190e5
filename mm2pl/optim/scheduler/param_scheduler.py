"""The policies, for any entry of the param groups: functions, and the schedulers made of them.

Formulas are written so that each operation rounds as MMEngine's does: only factors that are the
same for all groups are computed once.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from mm2pl.errors import ArgumentError
from mm2pl.optim.scheduler.base import INF as INF
from mm2pl.optim.scheduler.base import _ParamScheduler as _ParamScheduler
from mm2pl.optim.scheduler.one_cycle import OneCycleParamScheduler as OneCycleParamScheduler
from mm2pl.optim.scheduler.plateau import (
    ReduceOnPlateauParamScheduler as ReduceOnPlateauParamScheduler,
)
from mm2pl.optim.scheduler.policy import policy_scheduler

if TYPE_CHECKING:
    from mm2pl.optim.optimizer.base import OptimizerType as OptimizerType
else:

    def __getattr__(name):
        """Return MMEngine's name for what a schedule takes, for which torch is imported."""
        if name == "OptimizerType":
            from mm2pl.optim.optimizer.base import OptimizerType

            return OptimizerType
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


Values = list[float]


def _step(t: int, values: Values, bases: Values, *, step_size: int, gamma: float = 0.1) -> Values:
    """Multiply by ``gamma`` every ``step_size`` steps."""
    # 0 is a multiple of every step size, but building a scheduler must not reduce anything.
    if t == 0 or t % step_size:
        return values
    return [value * gamma for value in values]


StepParamScheduler = policy_scheduler("StepParamScheduler", _step, durations=("step_size",))


def _multi_step(
    t: int, values: Values, bases: Values, *, milestones: Sequence[int], gamma: float = 0.1
) -> Values:
    """Multiply by ``gamma`` at each of ``milestones`` (twice at one that is listed twice)."""
    if t not in milestones:
        return values
    # A Counter at first, a dict after a resume.
    factor = gamma ** milestones[t]
    return [value * factor for value in values]


MultiStepParamScheduler = policy_scheduler(
    "MultiStepParamScheduler",
    _multi_step,
    lambda span, milestones, gamma: {"milestones": Counter(milestones)},
    durations=("milestones",),
    order=("milestones", "gamma", "last_step", "begin", "end", "by_epoch", "verbose"),
)


def _constant(
    t: int, values: Values, bases: Values, total_iters: int, *, factor: float = 1.0 / 3
) -> Values:
    """Multiply by ``factor``, in [0, 1], at ``begin``; divide by it at the last step before ``end``."""
    if t == 0:
        return [value * factor for value in values]
    if t != total_iters:
        return values
    # Not `value / factor`, which rounds otherwise.
    inverse = 1.0 / factor
    return [value * inverse for value in values]


def _total_iters(span: int, **factors: float) -> dict[str, Any]:
    # `n` values have `n - 1` steps between them.
    return {"total_iters": span - 1}


def _factors_in_range(span: int, **factors: float) -> dict[str, Any]:
    for name, factor in factors.items():
        if not 0 <= factor <= 1:
            raise ArgumentError(f"{name}={factor!r} must be between 0 and 1.")
    return _total_iters(span)


ConstantParamScheduler = policy_scheduler("ConstantParamScheduler", _constant, _factors_in_range)


def _exponential(t: int, values: Values, bases: Values, *, gamma: float) -> Values:
    """Multiply by ``gamma`` at each step after ``begin``."""
    return values if t == 0 else [value * gamma for value in values]


ExponentialParamScheduler = policy_scheduler("ExponentialParamScheduler", _exponential)


def _linear(
    t: int,
    values: Values,
    bases: Values,
    total_iters: int,
    *,
    start_factor: float = 1.0 / 3,
    end_factor: float = 1.0,
) -> Values:
    """Change a factor linearly from ``start_factor`` at ``begin`` to ``end_factor`` at ``end - 1``.

    Without ``end`` (1e9 steps) it stays near ``start_factor``. That is in (0, 1]; 0 only for a
    schedule of a single step, because every step multiplies the value before. ``end_factor`` is in
    [0, 1].
    """
    if t == 0:
        return [value * start_factor for value in values]
    # The ratio of this step's factor to that of the one before, since the value holds the latter.
    rise = end_factor - start_factor
    factor = 1.0 + rise / (total_iters * start_factor + (t - 1) * rise)
    return [value * factor for value in values]


def _linear_settings(span: int, start_factor: float, end_factor: float) -> dict[str, Any]:
    if start_factor == 0 and span > 1:
        raise ArgumentError(
            "start_factor=0 can never grow, since every step multiplies the value before: give a "
            "small factor such as 1e-6."
        )
    return _factors_in_range(span, start_factor=start_factor, end_factor=end_factor)


LinearParamScheduler = policy_scheduler("LinearParamScheduler", _linear, _linear_settings)


def _poly(
    t: int,
    values: Values,
    bases: Values,
    total_iters: int,
    *,
    eta_min: float = 0,
    power: float = 1.0,
) -> Values:
    """Decay to ``eta_min`` at ``end - 1`` along ``(1 - t / (end - begin)) ** power``.

    With ``power`` 1 it is a line; a greater one falls faster at first.
    """
    if t == 0:
        return values
    # Again a ratio, of what is left above `eta_min`; so a stack of schedules multiplies.
    factor = (1 - 1 / (total_iters - t + 1)) ** power
    return [(value - eta_min) * factor + eta_min for value in values]


PolyParamScheduler = policy_scheduler("PolyParamScheduler", _poly, _total_iters)


def _cosine_annealing(
    t: int,
    values: Values,
    bases: Values,
    *,
    T_max: int | None = None,
    eta_min: float | None = None,
    eta_min_ratio: float | None = None,
) -> Values:
    """Decay along half a cosine from the base value to ``eta_min`` in ``T_max`` steps, and back.

    ``T_max`` is ``end - begin`` if it is left out, and ``eta_min`` 0. ``eta_min_ratio`` gives the
    same as a fraction of the base value: only one of the two.
    """
    assert T_max is not None  # `_cosine_settings` has replaced it
    if t == 0:
        return values
    if (t - 1 - T_max) % (2 * T_max) == 0:
        # The step before was the minimum: nothing is left there that could be multiplied.
        rise = 1 - math.cos(math.pi / T_max)
        minima = _minima(bases, eta_min, eta_min_ratio)
        return [
            value + (base - low) * rise / 2
            for value, base, low in zip(values, bases, minima, strict=False)
        ]
    return _along_cosine(t, T_max, values, _minima(bases, eta_min, eta_min_ratio))


def _cosine_settings(
    span: int, T_max: int | None, eta_min: float | None, eta_min_ratio: float | None
) -> dict[str, Any]:
    if eta_min is None and eta_min_ratio is None:
        eta_min = 0.0
    _check_minimum(eta_min, eta_min_ratio)
    # `or`, not `is None`: MMEngine takes 0 for "not given" too.
    return {"T_max": T_max or span, "eta_min": eta_min}


CosineAnnealingParamScheduler = policy_scheduler(
    "CosineAnnealingParamScheduler",
    _cosine_annealing,
    _cosine_settings,
    durations=("T_max",),
    # MMEngine added the ratio later, behind all others.
    order=(
        "T_max",
        "eta_min",
        *["begin", "end", "last_step", "by_epoch", "verbose"],
        "eta_min_ratio",
    ),
)


def _cosine_restart(
    t: int,
    values: Values,
    bases: Values,
    cumulative_periods: list[int],
    *,
    periods: list[int],
    restart_weights: Sequence[float] = (1,),
    eta_min: float | None = None,
    eta_min_ratio: float | None = None,
) -> Values:
    """Decay along half a cosine in each of ``periods``, and start each from the base value again.

    ``restart_weights`` are factors of the base value at the start of each period, as many as
    ``periods``, which are numbers of steps. ``eta_min`` is the lowest value, and ``eta_min_ratio``
    the same as a fraction of the base value: exactly one of the two. After the last period the
    value stays.
    """
    index = _position_in_periods(t, cumulative_periods)
    if index is None:
        return values
    since_restart = t - (cumulative_periods[index - 1] if index else 0)
    if since_restart == 0:
        # From the base value, not the one now: a restart forgets the schedules before it in the list.
        weight = restart_weights[index]
        return [base * weight for base in bases]
    minima = _minima(bases, eta_min, eta_min_ratio)
    return _along_cosine(since_restart, periods[index], values, minima)


def _restart_settings(
    span: int,
    periods: list[int],
    restart_weights: Sequence[float],
    eta_min: float | None,
    eta_min_ratio: float | None,
) -> dict[str, Any]:
    _check_minimum(eta_min, eta_min_ratio)
    if len(periods) != len(restart_weights):
        raise ArgumentError(
            f"periods={periods!r} and restart_weights={restart_weights!r} must have the same "
            "length: give one weight per period."
        )
    return {"cumulative_periods": list(accumulate(periods))}


def _position_in_periods(iteration: int, cumulative_periods: list[int]) -> int | None:
    """Return the index of the period that ``iteration`` is in, or None after the last.

    Example:
        >>> [_position_in_periods(iteration, [3, 5]) for iteration in (2, 3, 5)]
        [0, 1, None]
    """
    ends = enumerate(cumulative_periods)
    return next((index for index, end in ends if iteration < end), None)


CosineRestartParamScheduler = policy_scheduler(
    "CosineRestartParamScheduler", _cosine_restart, _restart_settings, durations=("periods",)
)
# Public in MMEngine, as a static method.
CosineRestartParamScheduler.get_position_from_periods = staticmethod(_position_in_periods)


def _along_cosine(t: int, half_period: int, values: Values, minima: Values) -> Values:
    """Return the values one step further on half a cosine, ``t`` steps after its start."""
    # No closed form: chained schedulers need the step from the value before.
    now, before = (1 + math.cos(math.pi * s / half_period) for s in (t, t - 1))
    ratio = now / before
    return [ratio * (value - low) + low for value, low in zip(values, minima, strict=False)]


def _minima(bases: Values, eta_min: float | None, ratio: float | None) -> Values:
    if ratio is None:
        return [eta_min] * len(bases)  # type: ignore[list-item]
    return [base * ratio for base in bases]


def _check_minimum(eta_min: float | None, eta_min_ratio: float | None) -> None:
    if (eta_min is None) == (eta_min_ratio is None):
        raise ArgumentError(
            f"eta_min={eta_min!r}, eta_min_ratio={eta_min_ratio!r}: give one of the two."
        )
