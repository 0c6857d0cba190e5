"""Schedulers against MMEngine's, to the last bit: values, base values and states."""

from __future__ import annotations

import inspect
import random
import warnings
from typing import Any

import pytest
import torch

import mm2pl.optim as ours
from mm2pl.optim.scheduler import tick as clocks

pytestmark = pytest.mark.parity
theirs = pytest.importorskip("mmengine.optim", reason="needs mmengine")

STACKS = 5000
NAMES = ("lr", "momentum", "weight_decay")
OPTIMIZERS = ["SGD", "AdamW", "SGD, equal groups", "AdamW, equal groups"]


def random_policy(rng: random.Random, by_epoch: bool) -> tuple[str, dict[str, Any]]:
    """Draw a policy and its arguments, in steps of its clock."""
    kind = rng.choice(
        [
            "Constant",
            "Exponential",
            "Linear",
            "CosineAnnealing",
            "MultiStep",
            "Step",
            "Poly",
            "CosineRestart",
        ]
    )
    begin = rng.choice([0, 0, 0, rng.randint(1, 15)])
    span = rng.choice([rng.randint(1, 4), rng.randint(2, 30), None])
    args: dict[str, Any] = {"begin": begin}
    if span is not None:
        args["end"] = begin + span
    length = rng.randint(1, 12)
    ratio = rng.choice([{"eta_min": rng.choice([0, 0.0, 1e-3])}, {"eta_min_ratio": 0.05}])
    periods = [rng.randint(1, 9) for _ in range(rng.randint(1, 4))]
    args |= {
        "Constant": {"factor": rng.uniform(0.01, 1)},
        "Exponential": {"gamma": rng.uniform(0.5, 1.1)},
        "Linear": {"start_factor": rng.uniform(1e-4, 1), "end_factor": rng.choice([1.0, 0.3, 0])},
        "CosineAnnealing": {"T_max": rng.choice([None, length]), **ratio},
        "MultiStep": {"milestones": [rng.randint(0, 12) for _ in range(3)], "gamma": 0.3},
        "Step": {"step_size": rng.randint(1, 6), "gamma": rng.uniform(0.1, 1)},
        "Poly": {"power": rng.choice([1, 0.9, 2.5]), "eta_min": rng.choice([0, 1e-4])},
        "CosineRestart": {
            "periods": periods,
            "restart_weights": [rng.uniform(0.2, 1) for _ in periods],
            **ratio,
        },
    }[kind]
    if kind == "CosineAnnealing" and rng.random() < 0.2:
        args.pop("eta_min", args.pop("eta_min_ratio", None))
    return kind, args


def random_stack(rng: random.Random) -> list[tuple[str, dict[str, Any], int | None]]:
    """Draw class names, arguments, and the epoch length of those to convert."""
    stack = []
    for _ in range(rng.randint(1, 4)):
        by_epoch = rng.random() < 0.3
        kind, args = random_policy(rng, by_epoch)
        args["by_epoch"] = by_epoch
        suffix = rng.choice(["LR", "LR", "LR", "Momentum", "ParamScheduler"])
        if suffix == "ParamScheduler":
            args["param_name"] = rng.choice(NAMES[::2])
        stack.append((kind + suffix, args, 3 if by_epoch and rng.random() < 0.5 else None))
    return stack


def make_optimizer(kind: str, lr: float = 0.1) -> torch.optim.Optimizer:
    params = [torch.nn.Parameter(torch.zeros(1)) for _ in range(2)]
    own = {} if kind.endswith("equal groups") else {"lr": 0.037, "weight_decay": 0.011}
    groups = [{"params": params[0]}, {"params": params[1], **own}]
    if kind.startswith("SGD"):
        return torch.optim.SGD(groups, lr=lr, momentum=0.9, weight_decay=5e-4)
    return torch.optim.AdamW(groups, lr=lr, betas=(0.87, 0.999), weight_decay=5e-4)


def run(package: Any, stack: list, optimizer_kind: str, wrapped: bool, iters: int = 36) -> list:
    """Return the values of each group during each iteration, and the final states."""
    optimizer: Any = make_optimizer(optimizer_kind)
    if wrapped:
        optimizer = package.OptimWrapper(optimizer)
    schedulers = build(package, stack, optimizer)
    seen = play(schedulers, optimizer, range(iters))
    groups = [{k: v for k, v in g.items() if k != "params"} for g in optimizer.param_groups]
    return [*seen, exact(groups), *(exact(scheduler.state_dict()) for scheduler in schedulers)]


def build(package: Any, stack: list, optimizer: Any) -> list:
    schedulers = []
    for name, args, epoch_length in stack:
        cls = getattr(package.scheduler, name)
        if epoch_length is None:
            schedulers.append(cls(optimizer, **args))
        else:
            args = {**args, "by_epoch": True}
            schedulers.append(
                cls.build_iter_from_epoch(optimizer, epoch_length=epoch_length, **args)
            )
    return schedulers


def play(schedulers: list, optimizer: Any, iterations: range) -> list:
    """Return the values of each group during each iteration, and after it."""
    seen = []
    for iteration in iterations:
        # The repr of floats is exact, and fast.
        entries = (*NAMES, "betas")
        seen.append(repr([[g.get(e) for e in entries] for g in optimizer.param_groups]))
        clocks.tick(schedulers, by_epoch=False)
        if iteration % 5 == 4:
            clocks.tick(schedulers, by_epoch=True)
        seen.append(repr([scheduler.get_last_value() for scheduler in schedulers]))
    return seen


def exact(value: Any) -> Any:
    """Turn floats into their bits, and forget the type of containers."""
    if isinstance(value, dict):
        return {k: exact(v) for k, v in sorted(value.items(), key=str) if k != "anneal_func"}
    if isinstance(value, list | tuple):
        return [exact(v) for v in value]
    return value.hex() if isinstance(value, float) else value


def outcome(*args: Any, function: Any = run) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return function(*args)
        except ZeroDivisionError:
            return "ZeroDivisionError"


@pytest.mark.parametrize("part", range(10))
def test_random_stacks(part: int) -> None:
    rng = random.Random(part)
    for index in range(STACKS // 10):
        stack = random_stack(rng)
        kind, wrapped = rng.choice(OPTIMIZERS), rng.random() < 0.5
        expected = outcome(theirs, stack, kind, wrapped)
        assert outcome(ours, stack, kind, wrapped) == expected, (part, index, stack)


def resumed(package: Any, saved_by: Any, stack: list, kind: str, wrapped: bool, at: int) -> list:
    """Save at an iteration, load into schedulers of another learning rate, and go on."""
    first: Any = make_optimizer(kind)
    second: Any = make_optimizer(kind, lr=0.3)
    if wrapped:
        first, second = saved_by.OptimWrapper(first), package.OptimWrapper(second)
    saved = build(saved_by, stack, first)
    play(saved, first, range(at))
    loaded = build(package, stack, second)
    second.load_state_dict(first.state_dict())
    for scheduler, source in zip(loaded, saved, strict=True):
        scheduler.load_state_dict(source.state_dict())
    return play(loaded, second, range(at, 36))


@pytest.mark.parametrize("part", range(5))
def test_random_stacks_resumed(part: int) -> None:
    rng = random.Random(1000 + part)
    for index in range(100):
        stack, at = random_stack(rng), rng.randint(1, 30)
        more = stack, rng.choice(OPTIMIZERS), rng.random() < 0.5, at
        expected = outcome(theirs, theirs, *more, function=resumed)
        for saved_by in (ours, theirs):
            mine = outcome(ours, saved_by, *more, function=resumed)
            assert mine == expected, (part, index, stack, at)


ONE_CYCLES = [
    {"eta_max": 0.3, "total_steps": 30},
    {"eta_max": [0.3, 0.7], "total_steps": 40, "anneal_strategy": "linear"},
    {"eta_max": 0.3, "three_phase": True, "end": 36, "pct_start": 0.4, "div_factor": 3.0},
    {"eta_max": 0.3, "begin": 7, "end": 25, "final_div_factor": 10.0},
]


@pytest.mark.parametrize("args", ONE_CYCLES, ids=["default", "per_group", "three_phase", "later"])
@pytest.mark.parametrize("epoch_length", [None, 2])
def test_one_cycle(args: dict[str, Any], epoch_length: int | None) -> None:
    warmup = ("LinearLR", {"start_factor": 0.1, "end": 5, "by_epoch": False}, None)
    name = "OneCycleLR" if "begin" in args else "OneCycleParamScheduler"
    extra = {} if name == "OneCycleLR" else {"param_name": "lr"}
    stack = [warmup, (name, {"by_epoch": epoch_length is not None, **args, **extra}, epoch_length)]
    assert outcome(ours, stack, "SGD", False, 30) == outcome(theirs, stack, "SGD", False, 30)


def test_random_one_cycles() -> None:
    rng = random.Random(3)
    for index in range(300):
        steps = rng.randint(8, 60)
        args = {
            "eta_max": rng.choice([rng.uniform(0.01, 1), [rng.uniform(0.01, 1), rng.random()]]),
            "total_steps": steps,
            "pct_start": rng.choice([0.25, 0.3, 0.5, rng.uniform(0.15, 0.45)]),
            "anneal_strategy": rng.choice(["cos", "linear"]),
            "div_factor": rng.uniform(2, 30),
            "final_div_factor": rng.choice([1e4, rng.uniform(2, 100)]),
            "three_phase": rng.random() < 0.4,
            "by_epoch": False,
        }
        stack = [("OneCycleLR", args, None)]
        wrapped = not isinstance(args["eta_max"], list)  # a wrapper has a third group
        more = stack, rng.choice(["SGD", "AdamW"]), wrapped, steps - 1
        assert outcome(ours, *more) == outcome(theirs, *more), (index, stack)


@pytest.mark.parametrize("seed", range(100))
def test_plateau(seed: int) -> None:
    rng = random.Random(seed)
    args: dict[str, Any] = {
        "rule": rng.choice(["less", "greater"]),
        "threshold_rule": rng.choice(["rel", "abs"]),
        "factor": rng.uniform(0.1, 0.9),
        "patience": rng.randint(0, 3),
        "threshold": rng.choice([0, 1e-4, 0.1]),
        "cooldown": rng.randint(0, 2),
        "min_value": rng.choice([0.0, 0.01, [0.02, 0.03]]),
        "begin": rng.randint(0, 3),
        "end": rng.randint(5, 40),
    }
    scale = rng.choice([1, 20])
    metrics = [rng.uniform(0, scale) for _ in range(40)]
    suffix, kind, wrapped = rng.choice(["LR", "Momentum"]), rng.choice(["SGD", "AdamW"]), seed % 2

    def play(package: Any) -> list:
        optimizer: Any = make_optimizer(kind)
        optimizer = package.OptimWrapper(optimizer) if wrapped else optimizer
        scheduler = getattr(package.scheduler, f"ReduceOnPlateau{suffix}")(optimizer, **args)
        seen = []
        for metric in metrics:
            scheduler.step()
            scheduler.step({"loss": metric})
            seen += [exact(scheduler.state_dict()), exact(scheduler.get_last_value())]
            seen += [[exact(g.get(n)) for n in (*NAMES, "betas")] for g in optimizer.param_groups]
        return seen

    assert play(ours) == play(theirs)


@pytest.mark.parametrize("name", sorted(theirs.scheduler.__all__))
def test_constructor_takes_the_same_arguments(name: str) -> None:
    parameters = inspect.signature(getattr(theirs.scheduler, name)).parameters
    if "args" in parameters:  # MMEngine's LR and Momentum classes do not say
        policy = name.removesuffix("LR").removesuffix("Momentum") + "ParamScheduler"
        parameters = inspect.signature(getattr(theirs.scheduler, policy)).parameters
        expected = {k: p.default for k, p in parameters.items() if k != "param_name"}
    else:
        expected = {k: p.default for k, p in parameters.items()}
    mine = inspect.signature(getattr(ours.scheduler, name)).parameters
    assert list({k: p.default for k, p in mine.items()}.items()) == list(expected.items())


RESUMED = [
    ("MultiStepLR", {"milestones": [3, 8]}, {"milestones": [4, 9]}),
    ("PolyLR", {"end": 20}, {"end": 30}),
    ("CosineAnnealingLR", {"end": 20}, {"end": 30}),
    ("LinearMomentum", {"start_factor": 0.1, "end": 12}, {"start_factor": 0.2, "end": 20}),
    ("CosineRestartLR", {"periods": [5, 9], "restart_weights": [1, 1], "eta_min": 0}, None),
    ("OneCycleLR", {"eta_max": 0.4, "total_steps": 30}, {"eta_max": 0.4, "total_steps": 40}),
]


@pytest.mark.parametrize(("name", "before", "after"), RESUMED, ids=[row[0] for row in RESUMED])
@pytest.mark.parametrize("saved_by", [ours, theirs], ids=["ours", "theirs"])
def test_resume_with_other_arguments(
    name: str, before: dict[str, Any], after: dict[str, Any] | None, saved_by: Any
) -> None:
    """What either side saved, both resume to the same values, also with changed arguments."""

    def resumed(package: Any) -> list:
        first = make_optimizer("SGD")
        scheduler = getattr(saved_by.scheduler, name)(first, **before)
        for _ in range(6):
            scheduler.step()
        second = make_optimizer("SGD")
        again = getattr(package.scheduler, name)(second, **(after or before))
        second.load_state_dict(first.state_dict())
        again.load_state_dict(scheduler.state_dict())
        seen = []
        for _ in range(12):
            again.step()
            seen.append(exact([[group[n] for n in NAMES] for group in second.param_groups]))
        return seen

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert resumed(ours) == resumed(theirs)
