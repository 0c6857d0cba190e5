"""The policies, for any entry of the param groups.

Formulas are written so that each operation rounds as MMEngine's does: only factors that are the
same for all groups are computed once.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

from mm2pl.optim.scheduler.base import INF as INF
from mm2pl.optim.scheduler.base import OptimizerType as OptimizerType
from mm2pl.optim.scheduler.base import _ParamScheduler as _ParamScheduler
from mm2pl.optim.scheduler.one_cycle import OneCycleParamScheduler as OneCycleParamScheduler
from mm2pl.optim.scheduler.plateau import (
    ReduceOnPlateauParamScheduler as ReduceOnPlateauParamScheduler,
)
from mm2pl.optim.scheduler.policy import PolicyScheduler
from mm2pl.utils.errors import ArgumentError

Values = list[float]


class StepParamScheduler(PolicyScheduler):
    """Multiply by ``gamma`` every ``step_size`` steps."""

    durations = ("step_size",)

    @staticmethod
    def _settings(span: int, *, step_size: int, gamma: float = 0.1) -> dict[str, Any]:
        return {"step_size": step_size, "gamma": gamma}

    @staticmethod
    def _transition(
        t: int, values: Values, bases: Values, *, step_size: int, gamma: float
    ) -> Values:
        if t == 0 or t % step_size:
            return values
        return [value * gamma for value in values]


class MultiStepParamScheduler(PolicyScheduler):
    """Multiply by ``gamma`` at each of ``milestones`` (twice at one that is listed twice)."""

    durations = ("milestones",)
    order = ("milestones", "gamma", "last_step", "begin", "end", "by_epoch", "verbose")

    @staticmethod
    def _settings(span: int, *, milestones: Sequence[int], gamma: float = 0.1) -> dict[str, Any]:
        return {"milestones": Counter(milestones), "gamma": gamma}

    @staticmethod
    def _transition(
        t: int, values: Values, bases: Values, *, milestones: dict[int, int], gamma: float
    ) -> Values:
        if t not in milestones:
            return values
        factor = gamma ** milestones[t]
        return [value * factor for value in values]


class ConstantParamScheduler(PolicyScheduler):
    """Multiply by ``factor`` at ``begin``, and divide by it at the last step before ``end``.

    Args:
        factor: In [0, 1].
    """

    @staticmethod
    def _settings(span: int, *, factor: float = 1.0 / 3) -> dict[str, Any]:
        _check_factors(factor=factor)
        return {"factor": factor, "total_iters": span - 1}

    @staticmethod
    def _transition(
        t: int, values: Values, bases: Values, *, factor: float, total_iters: int
    ) -> Values:
        if t == 0:
            return [value * factor for value in values]
        if t != total_iters:
            return values
        inverse = 1.0 / factor
        return [value * inverse for value in values]


class ExponentialParamScheduler(PolicyScheduler):
    """Multiply by ``gamma`` at each step after ``begin``."""

    @staticmethod
    def _settings(span: int, *, gamma: float) -> dict[str, Any]:
        return {"gamma": gamma}

    @staticmethod
    def _transition(t: int, values: Values, bases: Values, *, gamma: float) -> Values:
        return values if t == 0 else [value * gamma for value in values]


class LinearParamScheduler(PolicyScheduler):
    """Change a factor linearly from ``start_factor`` at ``begin`` to ``end_factor`` at ``end - 1``.

    Without ``end`` (1e9 steps) it stays near ``start_factor``.

    Args:
        start_factor: In (0, 1]; 0 only for a schedule of a single step, because every step
            multiplies the value before.
        end_factor: In [0, 1].
    """

    @staticmethod
    def _settings(
        span: int, *, start_factor: float = 1.0 / 3, end_factor: float = 1.0
    ) -> dict[str, Any]:
        _check_factors(start_factor=start_factor, end_factor=end_factor)
        if start_factor == 0 and span > 1:
            raise ValueError(
                "start_factor=0 can never grow, since every step multiplies the value before: "
                "give a small factor such as 1e-6."
            )
        return {"start_factor": start_factor, "end_factor": end_factor, "total_iters": span - 1}

    @staticmethod
    def _transition(
        t: int,
        values: Values,
        bases: Values,
        *,
        start_factor: float,
        end_factor: float,
        total_iters: int,
    ) -> Values:
        if t == 0:
            return [value * start_factor for value in values]
        rise = end_factor - start_factor
        factor = 1.0 + rise / (total_iters * start_factor + (t - 1) * rise)
        return [value * factor for value in values]


class PolyParamScheduler(PolicyScheduler):
    """Decay to ``eta_min`` at ``end - 1`` along ``(1 - t / (end - begin)) ** power``."""

    @staticmethod
    def _settings(span: int, *, eta_min: float = 0, power: float = 1.0) -> dict[str, Any]:
        return {"eta_min": eta_min, "power": power, "total_iters": span - 1}

    @staticmethod
    def _transition(
        t: int, values: Values, bases: Values, *, eta_min: float, power: float, total_iters: int
    ) -> Values:
        if t == 0:
            return values
        factor = (1 - 1 / (total_iters - t + 1)) ** power
        return [(value - eta_min) * factor + eta_min for value in values]


class CosineAnnealingParamScheduler(PolicyScheduler):
    """Decay along half a cosine from the base value to ``eta_min`` in ``T_max`` steps, and back.

    Args:
        T_max: Steps of the half period; default: ``end - begin``.
        eta_min: The lowest value; default 0.
        eta_min_ratio: The same as a fraction of the base value; only one of the two.
    """

    durations = ("T_max",)
    order = (
        *("T_max", "eta_min", "begin", "end", "last_step", "by_epoch", "verbose"),
        "eta_min_ratio",
    )

    @staticmethod
    def _settings(
        span: int,
        *,
        T_max: int | None = None,
        eta_min: float | None = None,
        eta_min_ratio: float | None = None,
    ) -> dict[str, Any]:
        if eta_min is None and eta_min_ratio is None:
            eta_min = 0.0
        _check_minimum(eta_min, eta_min_ratio)
        return {"T_max": T_max or span, "eta_min": eta_min, "eta_min_ratio": eta_min_ratio}

    @staticmethod
    def _transition(
        t: int,
        values: Values,
        bases: Values,
        *,
        T_max: int,
        eta_min: float | None,
        eta_min_ratio: float | None,
    ) -> Values:
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


class CosineRestartParamScheduler(PolicyScheduler):
    """Decay along half a cosine in each of ``periods``, and start each from the base value again.

    After the last period the value stays.

    Args:
        periods: The steps of each half period.
        restart_weights: Factors of the base value at the start of each period; as many.
        eta_min: The lowest value.
        eta_min_ratio: The same as a fraction of the base value; exactly one of the two.
    """

    durations = ("periods",)

    @staticmethod
    def _settings(
        span: int,
        *,
        periods: list[int],
        restart_weights: Sequence[float] = (1,),
        eta_min: float | None = None,
        eta_min_ratio: float | None = None,
    ) -> dict[str, Any]:
        _check_minimum(eta_min, eta_min_ratio)
        if len(periods) != len(restart_weights):
            raise ArgumentError(
                f"periods={periods!r} and restart_weights={restart_weights!r} must have the same "
                "length: give one weight per period."
            )
        return {
            "periods": periods,
            "eta_min": eta_min,
            "eta_min_ratio": eta_min_ratio,
            "restart_weights": restart_weights,
            "cumulative_periods": list(accumulate(periods)),
        }

    @staticmethod
    def _transition(
        t: int,
        values: Values,
        bases: Values,
        *,
        periods: list[int],
        cumulative_periods: list[int],
        restart_weights: Sequence[float],
        eta_min: float | None,
        eta_min_ratio: float | None,
    ) -> Values:
        index = CosineRestartParamScheduler.get_position_from_periods(t, cumulative_periods)
        if index is None:
            return values
        since_restart = t - (cumulative_periods[index - 1] if index else 0)
        if since_restart == 0:
            weight = restart_weights[index]
            return [base * weight for base in bases]
        minima = _minima(bases, eta_min, eta_min_ratio)
        return _along_cosine(since_restart, periods[index], values, minima)

    @staticmethod
    def get_position_from_periods(iteration: int, cumulative_periods: list[int]) -> int | None:
        """Return the index of the period that ``iteration`` is in, or None after the last.

        Example:
            >>> [CosineRestartParamScheduler.get_position_from_periods(i, [3, 5]) for i in (2, 3, 5)]
            [0, 1, None]
        """
        ends = enumerate(cumulative_periods)
        return next((index for index, end in ends if iteration < end), None)


def _along_cosine(t: int, half_period: int, values: Values, minima: Values) -> Values:
    """Return the values one step further on half a cosine, ``t`` steps after its start."""
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


def _check_factors(**factors: float) -> None:
    for name, factor in factors.items():
        if not 0 <= factor <= 1:
            raise ValueError(f"{name}={factor!r} must be between 0 and 1.")
