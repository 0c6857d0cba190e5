"""MMCV 1.x' policies and warm-ups: formulas, arguments and defaults, each once.

The keyword arguments of a formula are those of MMCV 1.7.2's hook, under MMEngine's names for the minimum:
``eta_min`` for ``min_lr`` and ``min_momentum``, ``eta_min_ratio`` for their ratios.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

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
    # A bound, where the other policies head for their minimum.
    return value if eta_min is None else max(value, eta_min)


def _exp(t: int, base: float, length: int, *, gamma: float) -> float:
    # In closed form, as MMCV 1.7.2: a product of many factors, as in MMEngine, would round differently.
    return base * gamma**t


def _inv(t: int, base: float, length: int, *, gamma: float, power: float = 1.0) -> float:
    return base * (1 + gamma * t) ** (-power)


def _poly(t: int, base: float, length: int, *, power: float = 1.0, eta_min: float = 0.0) -> float:
    # MMCV 1.7.2 reaches the minimum at `length`, one step after the last iteration.
    return (base - eta_min) * (1 - t / length) ** power + eta_min


def _cosine_annealing(
    t: int,
    base: float,
    length: int,
    *,
    eta_min: float | None = None,
    eta_min_ratio: float | None = None,
) -> float:
    return annealing_cos(base, _lowest(base, eta_min, eta_min_ratio), t / length)


def _flat_cosine_annealing(
    t: int,
    base: float,
    length: int,
    *,
    start_percent: float = 0.75,
    eta_min: float | None = None,
    eta_min_ratio: float | None = None,
) -> float:
    # As MMCV 1.7.2: Python rounds halves to the even number.
    start = round(length * start_percent)
    # With start_percent=1 nothing is left to anneal over. MMCV never
    # asks there; a scheduler ticks once more at the end.
    if t < start or start >= length:
        return base
    return annealing_cos(
        base, _lowest(base, eta_min, eta_min_ratio), (t - start) / (length - start)
    )


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
            # MMCV 1.7.2 weights the distance from the minimum; MMEngine 0.10.7 weights the base value.
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
    return annealing_linear(base, _lowest(base, eta_min, eta_min_ratio), t / length)


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
    # The iterations that this leaves over begin one more cycle in MMCV 1.7.2.
    period = length // cyclic_times
    up = int(step_ratio_up * period)
    # `gamma` shrinks the peaks only: the low end of each cycle stays, as in MMCV 1.7.2.
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
    # MMCV 1.7.2 replaces the optimizer's learning rate by this one.
    low = max_lr / div_factor
    steps = length if total_steps is None else total_steps
    # Not `max_lr` itself: the product rounds as MMCV 1.7.2's does.
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
    # The momentum falls while the learning rate rises. The optimizer's own value plays no part, as in MMCV 1.7.2.
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
    # Not rounded: in MMCV 1.7.2, as in torch's OneCycleLR, a peak may lie between two iterations.
    up = float(pct_start * steps) - 1
    points = [(up, top), (steps - 1, last)]
    if three_phase:
        # -2, since each of the two phases before it ends one iteration early, as in torch's OneCycleLR.
        points.insert(1, (float(2 * pct_start * steps) - 2, middle))
    start = 0.0
    for end, value in points:
        # The last phase has no end: MMCV 1.7.2 asks for no later
        # iteration, but a scheduler ticks once more at the end.
        if t <= end or end == points[-1][0]:
            return _ANNEALING[anneal_strategy](first, value, (t - start) / (end - start))
        start, first = end, value
    raise AssertionError("the last phase has no end")


def _lowest(base: float, eta_min: float | None, eta_min_ratio: float | None) -> float:
    # MMCV 1.7.2 looks at the ratio first.
    if eta_min_ratio is not None:
        return base * eta_min_ratio
    if eta_min is None:
        raise ValueError("eta_min=None, eta_min_ratio=None: give one of the two.")
    return eta_min


def annealing_cos(start: float, end: float, factor: float, weight: float = 1.0) -> float:
    """Go from ``start`` to ``end`` along half a cosine while ``factor`` goes from 0 to 1."""
    # With MMCV 1.7.2's `weight` it begins at weight * start + (1 - weight) * end.
    return end + 0.5 * weight * (start - end) * (math.cos(math.pi * factor) + 1)


def annealing_linear(start: float, end: float, factor: float) -> float:
    """Go from ``start`` to ``end`` in a straight line while ``factor`` goes from 0 to 1."""
    return start + (end - start) * factor


def get_position_from_periods(iteration: int, cumulative_periods: Sequence[int]) -> int:
    """Return the index of the first period that ends after ``iteration``.

    Raises:
        ValueError: All have ended.

    >>> get_position_from_periods(210, [100, 200, 300])
    2
    """
    for position, end in enumerate(cumulative_periods):
        if iteration < end:
            return position
    raise ValueError(
        f"iteration {iteration} is past all periods, which end at {list(cumulative_periods)}"
    )


_ANNEALING: dict[str, Annealing] = {"cos": annealing_cos, "linear": annealing_linear}

# The keys are those of 1.x configs: MMCV writes lower case where it capitalises the class by itself.
LR: dict[str, Callable[..., float]] = {
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
}
"""The regular value at step ``t`` of ``length``, by MMCV's name of the policy."""

MOMENTUM: dict[str, Callable[..., float]] = {
    # MMCV 1.7.2 has other defaults for the momentum.
    "step": partial(_step, gamma=0.5),
    "CosineAnnealing": _cosine_annealing,
    "LinearAnnealing": _linear_annealing,
    "cyclic": partial(_cyclic, target_ratio=(0.85 / 0.95, 1.0)),
    "OneCycle": _one_cycle_momentum,
}
"""The same for the policies that MMCV also has for the momentum."""

POLICIES = {"lr": LR, "momentum": MOMENTUM}

# For these MMCV 1.7.2 reads `runner.max_epochs` or `runner.max_iters`.
NEEDS_LENGTH = frozenset(
    {"poly", "CosineAnnealing", "FlatCosineAnnealing", "LinearAnnealing", "cyclic", "OneCycle"}
)
PER_GROUP = frozenset({"max_lr", "base_momentum", "max_momentum"})
"""Arguments that may be lists, with one value per param group."""

# In MMCV 1.7.2 by_epoch=True is an assertion error for them.
BY_ITERATION = frozenset({"cyclic", "OneCycle"})
"""Policies that refuse to count epochs."""

# MMCV 1.7.2 divides the momentum by the factor, so 0.1 would start it at ten times its value.
WARMUP_RATIO = {"lr": 0.1, "momentum": 0.9}
"""The default of ``warmup_ratio``."""

WARMUPS: dict[str, Callable[[int, int, float], float]] = {
    "constant": lambda t, steps, ratio: ratio,
    # In this order of operations, to round as MMCV 1.7.2.
    "linear": lambda t, steps, ratio: 1 - (1 - t / steps) * (1 - ratio),
    "exp": lambda t, steps, ratio: ratio ** (1 - t / steps),
}
"""The factor of the regular value at iteration ``t`` of ``steps``."""


def formula(policy: str, param_name: str) -> Callable[..., float]:
    """Return the formula of a policy for ``'lr'``, ``'momentum'`` or any other entry."""
    # Configs that were migrated before the two tables were one name 'OneCycleMomentum'.
    policy = policy.removesuffix("Momentum")
    # MMCV 1.7.2 has no momentum hook for the other policies, but the closed form can take them.
    return MOMENTUM.get(policy, LR[policy]) if param_name == "momentum" else LR[policy]


def defaults(function: Callable[..., float]) -> dict[str, Any]:
    """Return the arguments of a formula with their defaults; without one: `inspect.Parameter.empty`.

    >>> defaults(MOMENTUM["LinearAnnealing"])
    {'eta_min': None, 'eta_min_ratio': None}
    """
    parameters = inspect.signature(function).parameters.values()
    return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}


def argument_of(key: str, param_name: str) -> str:
    """Return the formulas' name of an argument of MMCV's.

    >>> argument_of("min_lr_ratio", "lr"), argument_of("gamma", "lr")
    ('eta_min_ratio', 'gamma')
    """
    renamed = {f"min_{param_name}": "eta_min", f"min_{param_name}_ratio": "eta_min_ratio"}
    return renamed.get(key, key)


def pair_of_ratios(ratio: object) -> list[float]:
    """Return both of ``target_ratio``; MMCV lets a single number, or one in a sequence, fix the other.

    Raises:
        ValueError: It is neither a number nor a sequence of one or two.
    """
    # MMCV 1.7.2 takes a float or a tuple. A config from JSON or YAML has lists.
    ratios = [ratio] if isinstance(ratio, int | float) else ratio
    if not isinstance(ratios, list | tuple) or len(ratios) not in (1, 2):
        raise ValueError(f"target_ratio={ratio!r} must be a number or a pair of numbers.")
    return [ratios[0], ratios[0] / 1e5] if len(ratios) == 1 else list(ratios)


def check_warmup(warmup: str | None, warmup_iters: int, warmup_ratio: float) -> None:
    """Raise ValueError for a warm-up that MMCV refuses."""
    # MMCV 1.7.2 checks the other two only with a warm-up: configs leave warmup_iters=0.
    if warmup is None:
        return
    if warmup not in WARMUPS:
        raise ValueError(f"warmup={warmup!r} must be None or one of {', '.join(WARMUPS)}.")
    if warmup_iters <= 0 or not 0 < warmup_ratio <= 1:
        raise ValueError(
            f"warmup_iters={warmup_iters!r}, warmup_ratio={warmup_ratio!r}: a warm-up needs a positive "
            "number of iterations and a ratio in (0, 1]."
        )
