"""One cycle up and down; not chainable, so no plain policy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mm2pl.errors import ArgumentError
from mm2pl.optim.scheduler.base import INF, check_optimizer, per_group
from mm2pl.optim.scheduler.policy import PolicyScheduler
from mm2pl.registry import PARAM_SCHEDULERS

if TYPE_CHECKING:
    from mm2pl.optim.optimizer.base import OptimizerType


@PARAM_SCHEDULERS.register_module()
class OneCycleParamScheduler(PolicyScheduler):
    """Rise from ``eta_max / div_factor`` to ``eta_max``, then fall far below where it started.

    The value does not depend on the one before. ``eta_max``, not the optimizer's lr, is the base:
    each group's ``initial_lr`` is overwritten, and it gets ``max_lr`` and ``min_lr``.

    Args:
        optimizer: What has the param groups.
        param_name: Must be ``'lr'``.
        eta_max: The top; one number, or one per group.
        total_steps: Steps of the whole cycle; default: ``end - begin``.
        pct_start: Fraction of the steps that rise; a float in [0, 1].
        anneal_strategy: ``'cos'`` or ``'linear'``.
        div_factor: ``eta_max`` over the initial value.
        final_div_factor: The initial value over the last one.
        three_phase: Fall to the initial value first, as fast as it rose, then to the last one.
        begin: As in every scheduler, like the arguments after it.
        end: See ``begin``.
        last_step: See ``begin``.
        by_epoch: See ``begin``.
        verbose: See ``begin``.

    Raises:
        ArgumentError: Something else than the lr is to be scheduled.
    """

    built_in = True
    durations = ("total_steps",)
    chained = False

    def __init__(
        self,
        optimizer: OptimizerType,
        param_name: str,
        eta_max: float | Sequence[float] = 0,
        total_steps: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
        begin: int = 0,
        end: int = INF,
        last_step: int = -1,
        by_epoch: bool = True,
        verbose: bool = False,
    ) -> None:
        check_optimizer(optimizer)
        if param_name != "lr":
            raise ArgumentError(f"param_name={param_name!r}: one cycle only schedules 'lr'.")
        _check(total_steps, pct_start, anneal_strategy)
        self.eta_max = eta_max
        self.div_factor = div_factor
        self.final_div_factor = final_div_factor
        self.total_steps = end - begin if total_steps is None else total_steps
        self.anneal_func = _ANNEALING[anneal_strategy]
        self._schedule_phases = _phases(pct_start, self.total_steps, three_phase)
        maxima = per_group("eta_max", eta_max, len(optimizer.param_groups))
        # A resumed optimizer has these three entries in its groups already.
        if last_step == -1:
            for group, top in zip(optimizer.param_groups, maxima, strict=True):
                # Before `super().__init__`, whose setdefault then leaves it.
                group["initial_lr"] = top / div_factor
                group["max_lr"] = top
                group["min_lr"] = group["initial_lr"] / final_div_factor
        super().__init__(optimizer, param_name, begin, end, last_step, by_epoch, verbose)

    def _get_value(self) -> list[float]:
        # MMEngine's bound, one step late: the step at `total_steps` goes beyond the end of the curve.
        if self.last_step > self.total_steps:
            raise ArgumentError(
                f"one cycle of total_steps={self.total_steps} was stepped {self.last_step + 1} "
                "times: give as many total_steps as the run has steps, or an `end`."
            )
        start, phase = 0, self._schedule_phases[0]
        for phase in self._schedule_phases:
            if self.last_step <= phase["end_step"] or phase is self._schedule_phases[-1]:
                break
            start = phase["end_step"]
        done = (self.last_step - start) / (phase["end_step"] - start)
        first, last = phase["start_lr"], phase["end_lr"]
        ends = [(group[first], group[last]) for group in self.optimizer.param_groups]
        # Not `base_values`: a resumed state brings the groups with their `max_lr` and `min_lr`.
        return self.anneal_func(ends, done)


def _anneal_cos(ends: list[tuple[float, float]], done: float) -> list[float]:
    weight = math.cos(math.pi * done) + 1
    return [end + (start - end) / 2.0 * weight for start, end in ends]


def _anneal_linear(ends: list[tuple[float, float]], done: float) -> list[float]:
    return [(end - start) * done + start for start, end in ends]


_ANNEALING = {"cos": _anneal_cos, "linear": _anneal_linear}


def _check(total_steps: object, pct_start: object, anneal_strategy: object) -> None:
    if total_steps is not None and not (isinstance(total_steps, int) and total_steps > 0):
        raise ArgumentError(f"total_steps={total_steps!r} must be a positive integer.")
    if not (isinstance(pct_start, float) and 0 <= pct_start <= 1):
        raise ArgumentError(f"pct_start={pct_start!r} must be a float between 0 and 1.")
    if anneal_strategy not in _ANNEALING:
        raise ArgumentError(
            f"anneal_strategy={anneal_strategy!r} must be one of {list(_ANNEALING)}."
        )


def _phases(pct_start: float, total_steps: int, three_phase: bool) -> list[dict[str, Any]]:
    """Return where each phase ends (in steps) and between which entries of a group it goes."""
    # Ends are fractions of a step, as in torch's OneCycleLR: the top itself may fall between two steps.
    up = float(pct_start * total_steps) - 1
    back = float(2 * pct_start * total_steps) - 2
    end = total_steps - 1
    rise = (up, "initial_lr", "max_lr")
    falls = [(back, "max_lr", "initial_lr"), (end, "initial_lr", "min_lr")]
    rows = [rise, *falls] if three_phase else [rise, (end, "max_lr", "min_lr")]
    return [{"end_step": e, "start_lr": first, "end_lr": last} for e, first, last in rows]
