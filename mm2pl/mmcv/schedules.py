"""MMCV 1.x' schedules in closed form, for what MMEngine's chainable ones cannot express.

An `LrUpdaterHook` sets ``regular(progress, base) * warmup(iteration)`` anew in every iteration. MMEngine's
schedulers change the value that they find, so the two agree only where the policy is a mere factor: a lower
bound (``min_lr``), a warm-up counted in epochs, an exponential warm-up or a cycle need the closed form.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from mm2pl.mmcv.migration.policies import PER_GROUP
from mm2pl.optim.scheduler.base import INF, OptimizerType, _ParamScheduler
from mm2pl.optim.scheduler.lr_scheduler import LRSchedulerMixin
from mm2pl.optim.scheduler.momentum_scheduler import MomentumSchedulerMixin
from mm2pl.optim.scheduler.policy import named
from mm2pl.registry import PARAM_SCHEDULERS

Annealing = Callable[[float, float, float], float]


def _fixed(t: int, base: float, length: int) -> float:
    return base


def _step(
    t: int,
    base: float,
    length: int,
    *,
    step: int | Sequence[int],
    gamma: float = 0.1,
    eta_min: float | None = None,
) -> float:
    # MMCV 1.7.2 takes the first later step, also where the list is not sorted.
    later = (i for i, at in enumerate([] if isinstance(step, int) else step) if t < at)
    power = t // step if isinstance(step, int) else next(later, len(step))
    value = base * gamma**power
    return value if eta_min is None else max(value, eta_min)


def _exp(t: int, base: float, length: int, *, gamma: float) -> float:
    return base * gamma**t


def _inv(t: int, base: float, length: int, *, gamma: float, power: float = 1.0) -> float:
    return base * (1 + gamma * t) ** (-power)


def _poly(t: int, base: float, length: int, *, power: float = 1.0, eta_min: float = 0.0) -> float:
    return (base - eta_min) * (1 - t / length) ** power + eta_min


def _cosine_annealing(
    t: int,
    base: float,
    length: int,
    *,
    eta_min: float | None = None,
    eta_min_ratio: float | None = None,
) -> float:
    return _cosine(base, _lowest(base, eta_min, eta_min_ratio), t / length)


def _flat_cosine_annealing(
    t: int,
    base: float,
    length: int,
    *,
    start_percent: float = 0.75,
    eta_min: float | None = None,
    eta_min_ratio: float | None = None,
) -> float:
    start = round(length * start_percent)
    if t < start or start >= length:
        return base
    return _cosine(base, _lowest(base, eta_min, eta_min_ratio), (t - start) / (length - start))


def _cosine_restart(
    t: int,
    base: float,
    length: int,
    *,
    periods: Sequence[int],
    restart_weights: Sequence[float] = (1,),
    eta_min: float | None = None,
    eta_min_ratio: float | None = None,
) -> float:
    start = 0
    for period, weight in zip(periods, restart_weights, strict=True):
        if t < start + period or t == start + period == sum(periods):  # the tick that ends the run
            low = _lowest(base, eta_min, eta_min_ratio)
            return low + 0.5 * weight * (base - low) * (
                math.cos(math.pi * ((t - start) / period)) + 1
            )
        start += period
    raise ValueError(
        f"step {t} of the schedule is after its last period, {list(periods)!r} → they cover {start} "
        "steps: add a period, or train shorter."
    )


def _linear_annealing(
    t: int,
    base: float,
    length: int,
    *,
    eta_min: float | None = None,
    eta_min_ratio: float | None = None,
) -> float:
    return _straight(base, _lowest(base, eta_min, eta_min_ratio), t / length)


def _cyclic(
    t: int,
    base: float,
    length: int,
    *,
    target_ratio: Sequence[float] = (10, 1e-4),
    cyclic_times: int = 1,
    step_ratio_up: float = 0.4,
    anneal_strategy: str = "cos",
    gamma: float = 1.0,
) -> float:
    period = length // cyclic_times
    up = int(step_ratio_up * period)
    scale = gamma ** (t // period)
    t %= period
    peak, last = target_ratio
    if t < up:
        first, last, start, end = 1.0, 1 - scale + peak * scale, 0, up
    elif up:
        first, start, end = 1 - scale + peak * scale, up, period
    else:  # MMCV 1.7.2 scales the end of the only phase here
        first, last, start, end = peak, 1 - scale + last * scale, 0, period
    return _ANNEALING[anneal_strategy](base * first, base * last, (t - start) / (end - start))


def _one_cycle(
    t: int,
    base: float,
    length: int,
    *,
    max_lr: float,
    total_steps: int | None = None,
    pct_start: float = 0.3,
    anneal_strategy: str = "cos",
    div_factor: float = 25,
    final_div_factor: float = 1e4,
    three_phase: bool = False,
) -> float:
    low = max_lr / div_factor
    steps = length if total_steps is None else total_steps
    values = (low, low * div_factor, low / final_div_factor)
    return _through_phases(t, steps, pct_start, three_phase, values, low, anneal_strategy)


def _one_cycle_momentum(
    t: int,
    base: float,
    length: int,
    *,
    base_momentum: float = 0.85,
    max_momentum: float = 0.95,
    pct_start: float = 0.3,
    anneal_strategy: str = "cos",
    three_phase: bool = False,
) -> float:
    values = (max_momentum, base_momentum, max_momentum)
    return _through_phases(t, length, pct_start, three_phase, values, max_momentum, anneal_strategy)


def _through_phases(
    t: int,
    steps: int,
    pct_start: float,
    three_phase: bool,
    values: tuple[float, float, float],
    middle: float,
    anneal_strategy: str,
) -> float:
    """Go from ``values[0]`` to ``values[1]``, if ``three_phase`` back to ``middle``, to ``values[2]``."""
    first, top, last = values
    up = float(pct_start * steps) - 1
    points = [(up, top), (steps - 1, last)]
    if three_phase:
        points.insert(1, (float(2 * pct_start * steps) - 2, middle))
    start = 0.0
    for end, value in points:
        if t <= end or end == points[-1][0]:
            return _ANNEALING[anneal_strategy](first, value, (t - start) / (end - start))
        start, first = end, value
    raise AssertionError("the last phase has no end")


def _of_group(group: int, args: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments for one param group: some may be lists with one value per group."""
    return {
        key: value[group] if key in PER_GROUP and isinstance(value, Sequence) else value
        for key, value in args.items()
    }


def _lowest(base: float, eta_min: float | None, eta_min_ratio: float | None) -> float:
    if eta_min_ratio is not None:
        return base * eta_min_ratio
    if eta_min is None:
        raise ValueError("eta_min=None, eta_min_ratio=None: give one of the two.")
    return eta_min


def _cosine(start: float, end: float, done: float) -> float:
    return end + 0.5 * (start - end) * (math.cos(math.pi * done) + 1)


def _straight(start: float, end: float, done: float) -> float:
    return start + (end - start) * done


_ANNEALING: dict[str, Annealing] = {"cos": _cosine, "linear": _straight}

POLICIES: dict[str, Callable[..., float]] = {
    "fixed": _fixed,
    "step": _step,
    "exp": _exp,
    "poly": _poly,
    "inv": _inv,
    "CosineAnnealing": _cosine_annealing,
    "FlatCosineAnnealing": _flat_cosine_annealing,
    "CosineRestart": _cosine_restart,
    "LinearAnnealing": _linear_annealing,
    "cyclic": _cyclic,
    "OneCycle": _one_cycle,
    "OneCycleMomentum": _one_cycle_momentum,
}
"""The regular value at step ``t`` of ``length``, by MMCV's name of the policy."""

WARMUPS: dict[str, Callable[[int, int, float], float]] = {
    "constant": lambda t, steps, ratio: ratio,
    "linear": lambda t, steps, ratio: 1 - (1 - t / steps) * (1 - ratio),
    "exp": lambda t, steps, ratio: ratio ** (1 - t / steps),
}
"""The factor of the regular value at iteration ``t`` of ``steps``."""


@PARAM_SCHEDULERS.register_module()
class MMCVParamScheduler(_ParamScheduler):
    """Set MMCV 1.x' ``regular(progress, base) * warmup(iteration)``, whatever the value was before.

    So it stands alone in a ``param_scheduler`` list. With ``convert_to_iter_based=True`` in a config it ticks by
    iteration, while ``length``, ``begin`` and ``end`` are given in epochs, and ``progress='epoch'`` keeps the
    regular value the same throughout an epoch. Momentum is divided by the warm-up's factor, as in MMCV.

    Args:
        optimizer: What has the param groups.
        param_name: ``'lr'`` or ``'momentum'``.
        policy: A key of `POLICIES`; ``policy_args`` are its arguments (``eta_min`` and ``eta_min_ratio`` for
            MMCV's ``min_lr``, ``min_momentum`` and their ratios).
        length: The whole run, for policies that need it: epochs if ``by_epoch``, else iterations.
        progress: What the policy counts, ``'epoch'`` or ``'iter'``; default: the clock, ``by_epoch``.
        warmup: None, or a key of `WARMUPS`.
        warmup_iters: How long; iterations, or epochs if ``warmup_by_epoch``.
        warmup_ratio: The factor that the warm-up starts at, in (0, 1].
        warmup_by_epoch: See ``warmup_iters``.
        epoch_length: Iterations per epoch; given by `build_iter_from_epoch`.
        begin: As in every scheduler, like the arguments after it.
        end: See ``begin``.
        last_step: See ``begin``.
        by_epoch: See ``begin``.
        verbose: See ``begin``.
        policy_args: See ``policy``.

    Raises:
        ValueError: The policy needs the length of an epoch, or counts otherwise than ``by_epoch``
            says.
    """

    def __init__(
        self,
        optimizer: OptimizerType,
        param_name: str,
        policy: str,
        length: int | None = None,
        progress: str | None = None,
        warmup: str | None = None,
        warmup_iters: int = 0,
        warmup_ratio: float = 0.1,
        warmup_by_epoch: bool = False,
        epoch_length: int | None = None,
        begin: int = 0,
        end: int = INF,
        last_step: int = -1,
        by_epoch: bool = True,
        verbose: bool = False,
        **policy_args: Any,
    ) -> None:
        self._check(policy, warmup, warmup_iters, warmup_ratio)
        in_epochs = progress == "epoch" or warmup_by_epoch
        if epoch_length is None and (in_epochs if not by_epoch else warmup is not None):
            raise ValueError(
                f"policy={policy!r}, by_epoch={by_epoch!r}: this schedule counts epochs and iterations "
                "→ it needs the epoch's length: give convert_to_iter_based=True, and no by_epoch=False."
            )
        per_epoch = epoch_length or 1
        self.policy = policy
        self.policy_args = policy_args
        self.stride = per_epoch if progress == "epoch" else 1
        self.length = None if length is None else length * per_epoch // self.stride
        self.warmup = warmup
        self.warmup_steps = warmup_iters * (per_epoch if warmup_by_epoch else 1)
        self.warmup_ratio = warmup_ratio
        super().__init__(optimizer, param_name, begin, end, last_step, by_epoch, verbose)

    @staticmethod
    def _check(policy: str, warmup: str | None, warmup_iters: int, warmup_ratio: float) -> None:
        if policy not in POLICIES:
            raise ValueError(f"policy={policy!r} is none of MMCV's: {', '.join(POLICIES)}.")
        if warmup is None:
            return
        if warmup not in WARMUPS:
            raise ValueError(f"warmup={warmup!r} must be None or one of {', '.join(WARMUPS)}.")
        if warmup_iters <= 0 or not 0 < warmup_ratio <= 1:
            raise ValueError(
                f"warmup_iters={warmup_iters!r}, warmup_ratio={warmup_ratio!r}: a warm-up needs a "
                "positive number of iterations and a ratio in (0, 1]."
            )

    @classmethod
    def build_iter_from_epoch(
        cls,
        *args: Any,
        begin: int = 0,
        end: int = INF,
        by_epoch: bool = True,
        epoch_length: int | None = None,
        **kwargs: Any,
    ) -> Any:
        """Build the schedule on the iteration clock, from ``begin``, ``end`` and ``length`` in epochs.

        Raises:
            ValueError: The schedule is none by epoch, or ``epoch_length`` is not positive.
        """
        if not by_epoch or not epoch_length:
            raise ValueError(
                f"by_epoch={by_epoch!r}, epoch_length={epoch_length!r}: only a schedule by epoch is "
                "converted, with a positive epoch_length."
            )
        end = end if end == INF else int(end * epoch_length)
        begin = int(begin * epoch_length)
        kwargs |= {"begin": begin, "end": end, "by_epoch": False, "epoch_length": epoch_length}
        return cls(*args, **kwargs)

    def _get_value(self) -> list[float]:
        t = self.last_step
        regular = POLICIES[self.policy]
        length = self.length
        step = t // self.stride if length is None else min(t // self.stride, length)
        values = [
            regular(step, base, length, **_of_group(group, self.policy_args))
            for group, base in enumerate(self.base_values)
        ]
        if self.warmup is None or t >= self.warmup_steps:
            return values
        factor = WARMUPS[self.warmup](t, self.warmup_steps, self.warmup_ratio)
        if self.param_name == "momentum":
            return [value / factor for value in values]
        return [value * factor for value in values]


MMCVLR = named(LRSchedulerMixin, MMCVParamScheduler, "LR")
MMCVMomentum = named(MomentumSchedulerMixin, MMCVParamScheduler, "Momentum")
