"""``lr_config`` and ``momentum_config`` → ``param_scheduler``, equal to MMCV 1.7.2 in every iteration.

Where the policy is a mere factor of the value, MMEngine's own schedules say the same, with ``end`` one step
later than the count: they reach their end value at ``end - 1``, MMCV at its ``warmup_iters`` or ``max_iters``.
Elsewhere the closed form takes over, `mm2pl.mmcv.schedules`.
"""

from __future__ import annotations

from collections.abc import Mapping
from inspect import Parameter
from typing import Any

from mm2pl.errors import ArgumentError
from mm2pl.mmcv.migration.policies import TARGET, Schedule, parse_schedule
from mm2pl.mmcv.migration.state import Part, State
from mm2pl.mmcv.policies import NEEDS_LENGTH, PER_GROUP, pair_of_ratios


def migrate_schedules(state: State) -> None:
    """Put ``param_scheduler``."""
    schedulers = []
    found = False
    for key in ("lr_config", "momentum_config"):
        if key not in state:
            continue
        found = True
        content = state.peek(key)
        if not isinstance(content, Mapping):
            state.take(key, note="no schedule: the value stays what the optimizer has")
            continue
        schedulers += _migrate(state, key)
    if found:
        # Not absent: a file that inherits a schedule must be able to switch it off.
        state.put("param_scheduler", schedulers or None)


def _migrate(state: State, key: str) -> list[dict[str, Any]]:
    schedule = parse_schedule(state, key)
    if schedule is None:
        return []
    part = Part(state, key, {})
    # No scheduler at all reproduces a schedule that never acted.
    if not schedule.run_by_epoch and schedule.by_epoch:
        part.noted("by_epoch", TARGET, _NEVER_ACTED)
        return []
    try:
        standard = _standard(schedule)
        return [closed_form(schedule)] if standard is None else standard
    # One bad schedule must not hide what the report says of the rest.
    except ValueError as error:
        part.needs_you("", str(error), "a valid value, then migrate again", TARGET)
        return []


_NEVER_ACTED = (
    "IterBasedRunner of MMCV 1.7.2 never calls before_train_epoch, so this schedule never acted: left out, "
    "the value stays constant as it did. For the schedule you meant, set by_epoch=False and count iterations"
)


def _standard(s: Schedule) -> list[dict[str, Any]] | None:
    """Return MMEngine's own schedules, or None where they cannot express it exactly."""
    needed = [name for name, default in s.defaults.items() if default is Parameter.empty]
    if missing := [name for name in needed if name not in s.args]:
        raise ArgumentError(f"{s.policy} needs {', '.join(missing)}")
    warmup = _standard_warmup(s)
    regular = _STANDARD[s.policy](s) if s.policy in _STANDARD else None
    if warmup is None or regular is None:
        return None
    # MMEngine 0.10.7's warm-up scales the value that it finds. With a lower bound the order of both would matter.
    if warmup and not _is_factor(s):
        return None
    name = regular.pop("type", None)
    if name is None:
        return warmup
    return [*warmup, {"type": name + s.suffix, "by_epoch": s.by_epoch, **regular}]


def _standard_warmup(s: Schedule) -> list[dict[str, Any]] | None:
    if s.warmup is None:
        return []
    names = {"linear": ("Linear", "start_factor"), "constant": ("Constant", "factor")}
    # MMEngine has no exponential warm-up, and its momentum schedulers multiply where MMCV divides.
    if s.warmup not in names or s.warmup_by_epoch or s.suffix == "Momentum":
        return None
    name, argument = names[s.warmup]
    return [
        {
            "type": name + s.suffix,
            argument: s.warmup_ratio,
            "by_epoch": False,
            "begin": 0,
            # MMEngine 0.10.7's LinearLR arrives at `end - 1`, MMCV 1.7.2 at `warmup_iters`.
            "end": s.warmup_iters + 1,
        }
    ]


def _is_factor(s: Schedule) -> bool:
    """Return whether the policy multiplies, so that it commutes with a warm-up."""
    if s.policy == "LinearAnnealing":
        return "eta_min_ratio" in s.args or not s.args.get("eta_min")
    return s.policy in ("fixed", "step", "exp") or (
        s.policy in ("poly", "CosineAnnealing", "FlatCosineAnnealing")
        and not s.args.get("eta_min")
        and not s.args.get("eta_min_ratio")
    )


def _fixed(s: Schedule) -> dict[str, Any]:
    return {}


def _step(s: Schedule) -> dict[str, Any] | None:
    step = s.args.get("step")
    gamma = s.value("gamma")
    numbers: list[Any] = list(step) if isinstance(step, list | tuple) else [step]
    if not all(isinstance(n, int) and n > 0 for n in numbers):
        raise ArgumentError(f"step={step!r} must be a positive integer, or a list of them")
    # MultiStepLR counts milestones, and has no lower bound. MMCV 1.7.2 looks for the first later step.
    if "eta_min" in s.args or numbers != sorted(numbers):
        return None
    if isinstance(step, int):
        return {"type": "Step", "begin": 0, **_end(s), "step_size": step, "gamma": gamma}
    return {"type": "MultiStep", "begin": 0, **_end(s), "milestones": step, "gamma": gamma}


def _exp(s: Schedule) -> dict[str, Any]:
    return {"type": "Exponential", "begin": 0, **_end(s), "gamma": s.args["gamma"]}


def _poly(s: Schedule) -> dict[str, Any] | None:
    if not _in_run_units(s):
        return None
    assert s.length is not None
    power, eta_min = s.value("power"), s.value("eta_min")
    # PolyLR arrives at `end - 1`, MMCV 1.7.2 at its length.
    return {"type": "Poly", "power": power, "eta_min": eta_min, "begin": 0, "end": s.length + 1}


def _cosine(s: Schedule) -> dict[str, Any] | None:
    return _cosine_from(s, 0)


def _flat_cosine(s: Schedule) -> dict[str, Any] | None:
    if not _in_run_units(s):
        return None
    assert s.length is not None
    start = round(s.length * s.value("start_percent"))
    # {} is "constant": with start_percent=1 nothing anneals.
    return _cosine_from(s, start) if start < s.length else {}


def _cosine_from(s: Schedule, begin: int) -> dict[str, Any] | None:
    lowest = _eta_min(s)
    if not s.by_epoch and not any(lowest.values()):
        return None  # so close to 0 the products of many ratios lose digits
    # MMCV 1.7.2's by_epoch=False in an epoch run goes by iterations, whose number no config says.
    convert = {} if _in_run_units(s) else {"by_epoch": True, "convert_to_iter_based": True}
    assert s.length is not None
    span = {"begin": begin, "T_max": s.length - begin, "end": s.length}
    return {"type": "CosineAnnealing", **lowest, **span, **convert}


def _cosine_restart(s: Schedule) -> dict[str, Any] | None:
    lowest = _eta_min(s)
    weights = list(s.value("restart_weights"))
    periods = list(s.args.get("periods", ()))
    if len(periods) != len(weights):
        raise ArgumentError(f"periods={periods!r} needs as many restart_weights, not {weights!r}")
    # MMCV 1.7.2 raises at the first iteration after the last period.
    if _in_run_units(s) and s.length is not None and sum(periods) < s.length:
        raise ArgumentError(
            f"periods={periods!r} end after {sum(periods)}, the run after {s.length}: MMCV fails"
        )
    # MMEngine restarts from base * weight; MMCV 1.7.2 weights the distance from the minimum.
    if s.warmup or set(weights) != {1} or (not s.by_epoch and not any(lowest.values())):
        return None
    return {"type": "CosineRestart", "periods": periods, "restart_weights": weights, **lowest}


def _linear(s: Schedule) -> dict[str, Any] | None:
    if not _in_run_units(s):
        return None
    assert s.length is not None
    span = {"begin": 0, "end": s.length + 1}
    if "eta_min_ratio" in s.args:
        ratio = s.args["eta_min_ratio"]
        # MMEngine 0.10.7's LinearLR refuses other factors.
        if not 0 <= ratio <= 1:
            return None
        return {"type": "Linear", "start_factor": 1.0, "end_factor": ratio, **span}
    # LinearLR has no absolute end value; PolyLR of power 1 is a straight line to one.
    return {"type": "Poly", "power": 1.0, **_eta_min(s), **span}


def _one_cycle(s: Schedule) -> dict[str, Any] | None:
    mappings = [key for key in PER_GROUP & set(s.args) if isinstance(s.args[key], Mapping)]
    if mappings:
        raise ArgumentError(f"{mappings[0]} by optimizer: param_scheduler is a dict of lists then")
    # MMEngine 0.10.7 has OneCycle for the learning rate only, and sets it regardless of other schedulers.
    if s.suffix == "Momentum" or s.warmup:
        return None
    args = {"eta_max" if key == "max_lr" else key: value for key, value in s.args.items()}
    if "total_steps" not in args:
        args["total_steps"] = s.length
        if s.run_by_epoch:
            args.update(by_epoch=True, convert_to_iter_based=True)
    return {"type": "OneCycle", **args}


def _cyclic(s: Schedule) -> None:
    times = s.value("cyclic_times")
    # A cycle of no iterations: MMCV 1.7.2 divides by 0.
    if not s.run_by_epoch and s.length is not None and times > s.length:
        raise ArgumentError(f"cyclic_times={times!r} in {s.length} iterations: MMCV fails")


_STANDARD = {
    "fixed": _fixed,
    "step": _step,
    "exp": _exp,
    "poly": _poly,
    "CosineAnnealing": _cosine,
    "FlatCosineAnnealing": _flat_cosine,
    "CosineRestart": _cosine_restart,
    "LinearAnnealing": _linear,
    "OneCycle": _one_cycle,
    "cyclic": _cyclic,
}


def _in_run_units(s: Schedule) -> bool:
    """Return whether the policy counts what the run's length is given in."""
    return s.by_epoch == s.run_by_epoch


def _end(s: Schedule) -> dict[str, int]:
    return {"end": s.length} if s.length is not None and _in_run_units(s) else {}


def _eta_min(s: Schedule) -> dict[str, float]:
    # MMCV 1.7.2 asserts it.
    if ("eta_min" in s.args) == ("eta_min_ratio" in s.args):
        name = s.suffix.lower()
        raise ArgumentError(f"{s.policy} needs exactly one of min_{name} and min_{name}_ratio")
    if "eta_min" in s.args:
        return {"eta_min": s.args["eta_min"]}
    return {"eta_min_ratio": s.args["eta_min_ratio"]}


def closed_form(s: Schedule) -> dict[str, Any]:
    """Return the schedule by MMCV's own formula.

    Raises:
        ValueError: An argument that MMCV rejects.
    """
    args = dict(s.args)
    if s.policy in ("CosineAnnealing", "FlatCosineAnnealing", "CosineRestart", "LinearAnnealing"):
        _eta_min(s)
    if s.policy == "cyclic":
        args["target_ratio"] = pair_of_ratios(s.value("target_ratio"))
    length = {"length": s.length} if s.policy in NEEDS_LENGTH and s.length is not None else {}
    warmup: dict[str, Any] = {}
    if s.warmup:
        warmup = {
            "warmup": s.warmup,
            "warmup_iters": s.warmup_iters,
            "warmup_ratio": s.warmup_ratio,
        }
        if s.warmup_by_epoch:
            warmup["warmup_by_epoch"] = True
    return {"type": f"MMCV{s.suffix}", "policy": s.policy, **args, **length, **warmup, **_clock(s)}


def _clock(s: Schedule) -> dict[str, Any]:
    """Return what the scheduler ticks by, so that nothing needs an epoch's length in the config."""
    if (
        not s.by_epoch
        and not s.warmup_by_epoch
        and not (s.run_by_epoch and s.policy in NEEDS_LENGTH)
    ):
        return {"by_epoch": False}
    # Ticking by epoch is enough: nothing changes inside one.
    if s.by_epoch and s.warmup is None:
        return {"by_epoch": True}
    progress = {"progress": "epoch"} if s.by_epoch else {}
    return {**progress, "by_epoch": True, "convert_to_iter_based": True}
