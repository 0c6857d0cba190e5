"""The classes that are made: names, signatures, conversion to iterations."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest
import torch

from mm2pl.optim import scheduler as schedulers
from mm2pl.registry import PARAM_SCHEDULERS

POLICIES = [
    *("Constant", "CosineAnnealing", "CosineRestart", "Exponential", "Linear"),
    *("MultiStep", "OneCycle", "Poly", "ReduceOnPlateau", "Step"),
]
NAMES = [
    policy + suffix
    for suffix in ("LR", "Momentum", "ParamScheduler")
    for policy in POLICIES
    if policy + suffix != "OneCycleMomentum"
]


def sgd() -> torch.optim.SGD:
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1, momentum=0.9)


@pytest.mark.parametrize("name", NAMES)
def test_is_registered_documented_and_says_its_arguments(name: str) -> None:
    cls = getattr(schedulers, name)
    assert PARAM_SCHEDULERS.get(name) is cls
    assert PARAM_SCHEDULERS.get(f"mmengine.{name}") is cls
    assert (cls.__name__, cls.__qualname__) == (name, name)
    assert inspect.getdoc(cls)
    parameters = list(inspect.signature(cls).parameters)
    assert parameters[0] == "optimizer"
    assert ("param_name" in parameters) == name.endswith("ParamScheduler")
    assert {"begin", "end", "last_step", "by_epoch", "verbose"} <= set(parameters)


def test_there_are_10_9_and_10() -> None:
    made = [name for name in vars(schedulers) if name in NAMES]
    assert sorted(made) == sorted(NAMES)
    assert len(NAMES) == 29


def test_the_order_of_arguments_is_mmengines() -> None:
    multi_step = inspect.signature(schedulers.MultiStepLR).parameters
    assert list(multi_step)[1:5] == ["milestones", "gamma", "last_step", "begin"]
    cosine = inspect.signature(schedulers.CosineAnnealingParamScheduler).parameters
    assert list(cosine)[-2:] == ["verbose", "eta_min_ratio"]
    assert schedulers.LinearLR(sgd(), 0.5, 1.0, 2, 7).total_iters == 4


CONVERTED = [
    ("StepLR", {"step_size": 2}, {"step_size": 20}),
    ("MultiStepLR", {"milestones": [2, 3]}, {"milestones": {20: 1, 30: 1}}),
    ("CosineAnnealingLR", {"T_max": 4}, {"T_max": 40}),
    ("CosineAnnealingLR", {"begin": 1, "end": 4}, {"T_max": 30, "begin": 10, "end": 40}),
    (
        "CosineRestartLR",
        {"periods": [2, 3], "restart_weights": [1, 1], "eta_min": 0},
        {"periods": [20, 30], "cumulative_periods": [20, 50]},
    ),
    ("OneCycleLR", {"eta_max": 0.1, "total_steps": 3}, {"total_steps": 30}),
    ("ExponentialLR", {"gamma": 0.9}, {"gamma": 0.9, "end": 10**9}),
    ("PolyLR", {"end": 3}, {"end": 30, "total_iters": 29}),
    ("LinearLR", {"begin": 0.5, "end": 1.55}, {"begin": 5, "end": 15}),
    ("PolyMomentum", {"end": 3}, {"end": 30, "param_name": "momentum"}),
]


@pytest.mark.parametrize(
    ("name", "args", "expected"), CONVERTED, ids=[f"{r[0]}-{i}" for i, r in enumerate(CONVERTED)]
)
def test_build_iter_from_epoch(name: str, args: dict[str, Any], expected: dict[str, Any]) -> None:
    cls = getattr(schedulers, name)
    scheduler = cls.build_iter_from_epoch(sgd(), epoch_length=10, **args)
    assert scheduler.by_epoch is False
    assert {key: getattr(scheduler, key) for key in expected} == expected
    built = PARAM_SCHEDULERS.build(
        {"type": name, "convert_to_iter_based": True, **args},
        default_args={"optimizer": sgd(), "epoch_length": 10},
    )
    assert {key: getattr(built, key) for key in expected} == expected


REFUSED = [
    ((), {"step_size": 1, "by_epoch": False, "epoch_length": 5}, AssertionError, "by_epoch=False"),
    ((), {"step_size": 1}, AssertionError, "epoch_length=None must be a positive"),
    ((), {"step_size": 1, "epoch_length": 0}, AssertionError, "epoch_length=0 must be a positive"),
    ((3,), {"epoch_length": 5}, TypeError, r"give step_size=\.\.\. by name"),
]


@pytest.mark.parametrize(
    ("args", "kwargs", "error", "message"), REFUSED, ids=["iter", "none", "zero", "by position"]
)
def test_refuses_to_convert(
    args: tuple, kwargs: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        schedulers.StepLR.build_iter_from_epoch(sgd(), *args, **kwargs)


def test_a_class_that_a_subclass_skips_says_nothing_of_its_own() -> None:
    """Toolboxes call ``super(<the class above>, self).__init__``, which then checks no argument of a policy."""

    class AnyStep(schedulers.StepParamScheduler):
        def __init__(self, optimizer: Any, param_name: str, **kwargs: Any) -> None:
            self.step_size, self.gamma = 1, 0.5
            super(schedulers.StepParamScheduler, self).__init__(optimizer, param_name, **kwargs)

    scheduler = AnyStep.build_iter_from_epoch(sgd(), "lr", end=2, epoch_length=3)
    scheduler.optimizer.step()
    scheduler.step()
    assert (scheduler.get_last_value(), scheduler.end) == ([0.05], 6)
    assert list(inspect.signature(AnyStep).parameters) == ["optimizer", "param_name", "kwargs"]


def two_groups(first: Any, second: Any) -> torch.optim.SGD:
    params = [{"params": [torch.nn.Parameter(torch.zeros(1))], "lr": lr} for lr in (first, second)]
    return torch.optim.SGD(params)


EQUAL = {
    "all": ((0.1, 0.1), (0.1, 0.1), [0.05, 0.05]),
    "now, not at the start": ((0.1, 0.2), (0.1, 0.1), [0.05, 0.1]),
    "at the start, not now": ((0.1, 0.1), (0.1, 0.2), [0.05, 0.05]),
}


@pytest.mark.parametrize(("bases", "values", "expected"), EQUAL.values(), ids=EQUAL)
def test_a_restart_gives_each_group_its_own_base_value(
    bases: tuple, values: tuple, expected: list[float]
) -> None:
    optimizer = two_groups(*bases)
    scheduler = schedulers.CosineRestartLR(optimizer, [1, 9], [1, 0.5], eta_min=0)
    for group, value in zip(optimizer.param_groups, values, strict=True):
        group["lr"] = value
    optimizer.step()
    scheduler.step()
    assert [group["lr"] for group in optimizer.param_groups] == expected


@pytest.mark.parametrize("other", [torch.tensor(1.0), np.float64(1.0), np.float32(1.0)])
def test_an_equal_number_of_another_type_keeps_its_type(other: object) -> None:
    optimizer = two_groups(1.0, other)
    scheduler = schedulers.ExponentialLR(optimizer, gamma=0.5)
    optimizer.step()
    scheduler.step()
    first, second = (group["lr"] for group in optimizer.param_groups)
    assert (type(first), type(second)) == (float, type(other * 0.5))  # type: ignore[operator]
    assert first == second == 0.5


def test_groups_do_not_share_a_tensor() -> None:
    optimizer = two_groups(torch.tensor(1.0), torch.tensor(1.0))
    scheduler = schedulers.ExponentialLR(optimizer, gamma=0.5)
    optimizer.step()
    scheduler.step()
    first, second = (group["lr"] for group in optimizer.param_groups)
    assert first is not second
    assert first == second == 0.5
