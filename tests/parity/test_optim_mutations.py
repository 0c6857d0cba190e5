"""Break each formula on purpose, and see the comparison with MMEngine notice it."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from mm2pl.optim.scheduler import (
    base,
    momentum_scheduler,
    one_cycle,
    param_scheduler,
    plateau,
    tick,
)
from mm2pl.optim.scheduler import policy as policies

pytest.importorskip("mmengine.optim", reason="needs mmengine")
comparison: Any = pytest.importorskip("tests.parity.test_optim_schedulers")
pytestmark = pytest.mark.parity

Checks = Iterator[Callable[[], None]]


def stacks() -> Checks:
    for part in range(10):
        yield lambda part=part: comparison.test_random_stacks(part)  # type: ignore[misc]


def resumed() -> Checks:
    for part in range(5):
        yield lambda part=part: comparison.test_random_stacks_resumed(part)  # type: ignore[misc]


def one_cycles() -> Checks:
    for args in comparison.ONE_CYCLES:
        for epoch_length in (None, 2):
            yield lambda a=args, e=epoch_length: comparison.test_one_cycle(a, e)  # type: ignore[misc]
    yield comparison.test_random_one_cycles


def plateaus() -> Checks:
    for seed in range(100):
        yield lambda seed=seed: comparison.test_plateau(seed)  # type: ignore[misc]


STEP = param_scheduler.StepParamScheduler
MULTI_STEP = param_scheduler.MultiStepParamScheduler
CONSTANT = param_scheduler.ConstantParamScheduler
EXPONENTIAL = param_scheduler.ExponentialParamScheduler
LINEAR = param_scheduler.LinearParamScheduler
POLY = param_scheduler.PolyParamScheduler
COSINE = param_scheduler.CosineAnnealingParamScheduler
RESTART = param_scheduler.CosineRestartParamScheduler
ONE_CYCLE = one_cycle.OneCycleParamScheduler
PLATEAU = plateau.ReduceOnPlateauParamScheduler
ANY = policies.PolicyScheduler
BASE = base._ParamScheduler
MOMENTUM = momentum_scheduler.MomentumSchedulerMixin

# owner, function, what stands there, what is put in its place, and who should notice
MUTANTS: list[tuple[Any, str, str, str, Callable[[], Checks]]] = [
    (STEP, "_transition", "t % step_size", "(t + 1) % step_size", stacks),
    (STEP, "_transition", "t == 0 or ", "", stacks),
    (STEP, "_transition", "value * gamma", "value / (1 / gamma)", stacks),
    (MULTI_STEP, "_transition", "t not in milestones", "t + 1 not in milestones", stacks),
    (MULTI_STEP, "_transition", "gamma ** milestones[t]", "gamma", stacks),
    (param_scheduler, "_total_iters", "span - 1", "span", stacks),
    (CONSTANT, "_transition", "t == 0", "t == 1", stacks),
    (CONSTANT, "_transition", "value * inverse", "value / factor", stacks),
    (EXPONENTIAL, "_transition", "values if t == 0 else ", "", stacks),
    (EXPONENTIAL, "_transition", "value * gamma", "value * gamma * gamma", stacks),
    (LINEAR, "_transition", "(t - 1) * rise", "t * rise", stacks),
    (LINEAR, "_transition", "end_factor - start_factor", "1.0 - start_factor", stacks),
    (LINEAR, "_transition", "value * start_factor", "value", stacks),
    (POLY, "_settings", "span - 1", "span", stacks),
    (POLY, "_transition", "total_iters - t + 1", "total_iters - t + 2", stacks),
    (POLY, "_transition", "+ 1)) ** power", "+ 1)) ** 1", stacks),
    (POLY, "_transition", "factor + eta_min", "factor", stacks),
    (COSINE, "_settings", "T_max or span", "span", stacks),
    (COSINE, "_transition", "(t - 1 - T_max)", "(t - T_max)", stacks),
    (COSINE, "_transition", "rise / 2", "rise", stacks),
    (COSINE, "_transition", "t == 0", "t < 0", stacks),
    (RESTART, "_transition", "base * weight", "base", stacks),
    (RESTART, "_transition", "cumulative_periods[index - 1] if index else 0", "0", stacks),
    (RESTART, "_transition", "periods[index], values", "periods[0], values", stacks),
    (param_scheduler, "_position_in_periods", "iteration < end", "iteration <= end", stacks),
    (param_scheduler, "_along_cosine", "(t, t - 1)", "(t + 1, t)", stacks),
    (param_scheduler, "_along_cosine", "ratio * (value - low) + low", "ratio * value", stacks),
    (param_scheduler, "_minima", "base * ratio", "ratio", stacks),
    (ONE_CYCLE, "_get_value", "self.last_step - start", "self.last_step", one_cycles),
    (ONE_CYCLE, "_get_value", "self.last_step <= phase", "self.last_step < phase", one_cycles),
    (one_cycle, "_phases", "pct_start * total_steps) - 1", "pct_start * total_steps)", one_cycles),
    (one_cycle, "_phases", "pct_start * total_steps) - 2", "pct_start * total_steps)", one_cycles),
    (one_cycle, "_phases", "total_steps - 1\n", "total_steps\n", one_cycles),
    (one_cycle, "_anneal_cos", "/ 2.0", "/ 2.0000001", one_cycles),
    (one_cycle, "_anneal_linear", "(end - start) * done", "end * done", one_cycles),
    (ONE_CYCLE, "__init__", "top / div_factor", "top", one_cycles),
    (ONE_CYCLE, "__init__", '["initial_lr"] / final_div_factor', '["initial_lr"]', one_cycles),
    (PLATEAU, "_get_value", "* self.factor", "* self.factor**2", plateaus),
    (PLATEAU, "_get_value", "max(value, low)", "value", plateaus),
    (PLATEAU, "_judge", "> self.patience", ">= self.patience", plateaus),
    (PLATEAU, "_judge", "self.cooldown_counter -= 1", "pass", plateaus),
    (PLATEAU, "_judge", "self.best = metric", "pass", plateaus),
    (PLATEAU, "_is_better", "self.rule, self.threshold_rule", "self.rule, 'abs'", plateaus),
    (PLATEAU, "_is_better", "self.rule, self.threshold_rule", "self.rule, 'rel'", plateaus),
    (PLATEAU, "_is_better", "self.rule, self.", "'less', self.", plateaus),
    (PLATEAU, "step", "self.begin <= self._global_step", "0 <= self._global_step", plateaus),
    (PLATEAU, "step", "self._global_step < self.end", "True", plateaus),
    (ANY, "_update", "= updated[0]", "= values[0]", stacks),
    (ANY, "_update", "updated * len(values)", "updated", stacks),
    (policies, "_is_one_number", "values[:1] * count == values", "True", stacks),
    (policies, "span_in_iterations", "begin * epoch_length", "begin", stacks),
    (policies, "span_in_iterations", "int(end * epoch_length)", "end", stacks),
    (policies, "_scaled", "[part * factor for part in duration]", "duration", stacks),
    (policies, "_scaled", "return duration * factor", "return duration", stacks),
    (
        ANY,
        "build_iter_from_epoch",
        "_scaled(kwargs[name], epoch_length)",
        "kwargs[name]",
        one_cycles,
    ),
    (
        BASE,
        "_step_from",
        "self.begin <= self._global_step",
        "self.begin < self._global_step",
        stacks,
    ),
    (BASE, "_step_from", "self._global_step < self.end", "self._global_step <= self.end", stacks),
    (tick, "tick", "values if entry == before else None", "values", stacks),
    (
        BASE,
        "_attach",
        "group.setdefault(initial, group[param_name])",
        "group[initial] = group[param_name]",
        stacks,
    ),
    (MOMENTUM, "step", 'group["betas"][1])', 'group["momentum"])', stacks),
    (MOMENTUM, "__init__", 'group["betas"][0]', 'group["betas"][1]', stacks),
    *(
        (BASE, "load_state_dict", "not in _NOT_STATE", f"not in {{*_NOT_STATE, {name!r}}}", resumed)
        for name in ("last_step", "_global_step", "base_values")
    ),
    (BASE, "load_state_dict", "vars(self).update", "dict().update", resumed),
    (BASE, "state_dict", "_plain(value)", "0", resumed),
]


def broken(owner: Any, name: str, old: str, new: str) -> Any:
    """Return the function with ``old`` replaced, which must stand there exactly once."""
    original = inspect.getattr_static(owner, name)
    source = textwrap.dedent(inspect.getsource(getattr(original, "__func__", original)))
    assert source.count(old) == 1, f"{name} has {old!r} {source.count(old)} times"
    kind = type(original) if isinstance(original, staticmethod | classmethod) else None
    lines = [line for line in source.splitlines() if not line.startswith("@")]
    code = "\n".join(lines).replace(old, new).replace("super()", "super(_owner, self)")
    function = inspect.unwrap(getattr(original, "__func__", original))
    scope = {**function.__globals__, "_owner": owner}
    exec(code, scope)
    mutant = scope[function.__name__]
    return kind(mutant) if kind else mutant


def notices(checks: Checks) -> bool:
    for check in checks:
        try:
            check()
        except Exception:
            return True
    return False


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("mutant", MUTANTS, ids=[f"{m[1]}: {m[2]} -> {m[3]}" for m in MUTANTS])
def test_a_broken_formula_is_noticed(mutant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    owner, name, old, new, checks = mutant
    function = broken(owner, name, old, new)
    if owner is one_cycle and name in ("_anneal_cos", "_anneal_linear"):
        kind = name.removeprefix("_anneal_")
        monkeypatch.setitem(one_cycle._ANNEALING, kind, function)
    monkeypatch.setattr(owner, name, function)
    assert notices(checks())


def test_every_policy_is_broken_at_least_once() -> None:
    made = {cls for cls in vars(param_scheduler).values() if isinstance(cls, type)}
    policies_there = {c for c in made if c.__name__.endswith("ParamScheduler") and c is not BASE}
    assert len(policies_there) == 10
    assert policies_there <= {mutant[0] for mutant in MUTANTS}
