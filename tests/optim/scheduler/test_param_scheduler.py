"""Each policy's values, as MMEngine 0.10.7 computed them."""

from __future__ import annotations

import io
from collections import Counter
from typing import Any

import pytest
import torch

from mm2pl.optim import scheduler as schedulers


def two_groups() -> torch.optim.Optimizer:
    params = [torch.nn.Parameter(torch.zeros(1)) for _ in range(2)]
    groups = [{"params": params[0]}, {"params": params[1], "lr": 0.02}]
    return torch.optim.SGD(groups, lr=0.1, momentum=0.9)


def curve(scheduler: Any, steps: int = 7) -> list[list[float]]:
    """Return the values of each group before each step."""
    rows = []
    for _ in range(steps):
        rows.append([group["lr"] for group in scheduler.optimizer.param_groups])
        scheduler.optimizer.step()
        scheduler.step()
    return [list(column) for column in zip(*rows, strict=True)]


# fmt: off
CURVES: dict[str, tuple[str, dict[str, Any], list[float], list[float]]] = {
    "constant": (
        "ConstantLR", {"factor": 0.7, "begin": 1, "end": 4},
        [0.1, 0.06999999999999999, 0.06999999999999999, *[0.09999999999999999] * 4],
        [0.02, *[0.013999999999999999] * 2, *[0.019999999999999997] * 4],
    ),
    "exponential": (
        "ExponentialLR", {"gamma": 0.9, "end": 4},
        [0.1, 0.09000000000000001, 0.08100000000000002, *[0.07290000000000002] * 4],
        [0.02, 0.018000000000000002, 0.016200000000000003, *[0.014580000000000003] * 4],
    ),
    "linear": (
        "LinearLR", {"start_factor": 0.1, "begin": 1, "end": 5},
        [0.1, 0.010000000000000002, 0.04, 0.07, 0.1, 0.1, 0.1],
        [0.02, 0.002, 0.007999999999999998, 0.013999999999999997, *[0.019999999999999997] * 3],
    ),
    "linear_down": (
        "LinearLR", {"start_factor": 1.0, "end_factor": 0.2, "end": 4},
        [0.1, 0.07333333333333335, 0.046666666666666676, *[0.02] * 4],
        [0.02, 0.014666666666666668, 0.009333333333333334, *[0.003999999999999999] * 4],
    ),
    "cosine": (
        "CosineAnnealingLR", {"T_max": 3, "eta_min": 0.001},
        [0.1, 0.07525000000000001, 0.025750000000000016, 0.001,
         0.025749999999999995, 0.07525000000000005, 0.10000000000000006],
        [0.02, 0.01525, 0.005750000000000002, 0.001,
         0.005749999999999999, 0.01525000000000001, 0.02000000000000001],
    ),
    "cosine_ratio": (
        "CosineAnnealingLR", {"begin": 1, "end": 5, "eta_min_ratio": 0.05},
        [0.1, 0.1, 0.086087572106361, 0.05249999999999999, *[0.01891242789363899] * 3],
        [0.02, 0.02, 0.0172175144212722, 0.010499999999999999, *[0.0037824855787277987] * 3],
    ),
    "restart": (
        "CosineRestartLR", {"periods": [2, 3], "restart_weights": [1, 0.5], "eta_min": 0.01},
        [0.1, 0.05500000000000001, 0.05, 0.04, *[0.020000000000000004] * 3],
        [0.02, 0.015, *[0.01] * 5],
    ),
    "restart_ratio": (
        "CosineRestartLR",
        {"periods": [3, 2], "restart_weights": [0.8, 0.5], "eta_min_ratio": 0.1},
        [0.08000000000000002, 0.0625, 0.02750000000000001, 0.05, *[0.030000000000000002] * 3],
        [0.016, 0.0125, 0.005500000000000001, 0.01, 0.006, 0.006, 0.006],
    ),
    "multi_step": (
        "MultiStepLR", {"milestones": [2, 4, 4], "gamma": 0.3},
        [0.1, 0.1, 0.03, 0.03, *[0.0026999999999999997] * 3],
        [0.02, 0.02, 0.006, 0.006, *[0.00054] * 3],
    ),
    "step": (
        "StepLR", {"step_size": 2, "gamma": 0.3, "begin": 1},
        [0.1, 0.1, 0.1, 0.03, 0.03, 0.009, 0.009],
        [0.02, 0.02, 0.02, 0.006, 0.006, 0.0018, 0.0018],
    ),
    "poly": (
        "PolyLR", {"power": 0.9, "eta_min": 0.001, "end": 5},
        [0.1, 0.07741706116563349, 0.054052786395546525, 0.02943028428617662, *[0.001] * 3],
        [0.02, 0.01566590062774784, 0.011181847894094786, 0.006456317186235916, *[0.001] * 3],
    ),
    "one_cycle": (
        "OneCycleLR", {"eta_max": 0.3, "total_steps": 7},
        *[[0.01200000000000001, 0.2941669882004876, 0.27571331288091316, 0.20180515094416354,
           0.10732163272189713, 0.029789037567979678, 1.2e-06]] * 2,
    ),
    "one_cycle_linear": (
        "OneCycleLR",
        {"eta_max": [0.3, 0.5], "total_steps": 7, "anneal_strategy": "linear", "div_factor": 10.0,
         "three_phase": True, "pct_start": 0.4},
        [0.03, 0.18, 0.27, 0.12000000000000005, 0.025000500000000005, 0.012501750000000002,
         2.999999999999531e-06],
        [0.05, 0.3, 0.45000000000000007, 0.20000000000000012, 0.04166750000000001,
         0.020836250000000004, 4.9999999999980616e-06],
    ),
}
# fmt: on


@pytest.mark.parametrize(("name", "args", "first", "second"), CURVES.values(), ids=CURVES)
def test_values(name: str, args: dict[str, Any], first: list[float], second: list[float]) -> None:
    assert curve(getattr(schedulers, name)(two_groups(), **args)) == [first, second]


REFUSED = [
    ("ConstantLR", {"factor": 1.5}, ValueError, r"factor=1\.5 must be between 0 and 1"),
    ("LinearLR", {"start_factor": -0.1}, ValueError, "start_factor=-0.1 must be between"),
    ("LinearLR", {"end_factor": 2}, ValueError, "end_factor=2 must be between"),
    ("LinearLR", {"start_factor": 0}, ValueError, "start_factor=0 can never grow"),
    (
        "StepLR",
        {"step_size": 1, "begin": 3, "end": 3},
        ValueError,
        "begin=3, end=3 → end should be larger",
    ),
    ("StepLR", {"step_size": 1, "last_step": -2}, AssertionError, "last_step=-2 must be an int"),
    (
        "StepLR",
        {"step_size": 1, "last_step": 4},
        KeyError,
        "'initial_lr' is not specified in param_groups",
    ),
    ("StepLR", {}, TypeError, r"StepLR\(\) missing a required argument: 'step_size'"),
    ("StepLR", {"steps": 1}, TypeError, r"'step_size'\. Did you mean 'step_size'\? It takes"),
    (
        "PolyLR",
        {"powr": 1},
        TypeError,
        r"unexpected keyword argument 'powr'\. Did you mean 'power'",
    ),
    (
        "CosineAnnealingLR",
        {"eta_min": 0, "eta_min_ratio": 0},
        AssertionError,
        "give one of the two",
    ),
    ("CosineRestartLR", {"periods": [1]}, AssertionError, "eta_min=None, eta_min_ratio=None"),
    ("CosineRestartLR", {"periods": [1, 2], "eta_min": 0}, AssertionError, "the same length"),
    ("OneCycleLR", {"total_steps": 0}, ValueError, "total_steps=0 must be a positive"),
    ("OneCycleLR", {"total_steps": 9, "pct_start": 1}, ValueError, "pct_start=1 must be a float"),
    ("OneCycleLR", {"total_steps": 9, "anneal_strategy": "x"}, ValueError, "anneal_strategy='x'"),
    ("OneCycleLR", {"total_steps": 9, "eta_max": [1]}, ValueError, "expected 2 values"),
    ("ReduceOnPlateauLR", {"factor": 1.0}, ValueError, r"factor=1\.0 must be below 1"),
    ("ReduceOnPlateauLR", {"threshold": -1}, ValueError, "threshold=-1 must be 0 or larger"),
    ("ReduceOnPlateauLR", {"rule": "min"}, ValueError, "rule='min' must be 'less' or 'greater'"),
    ("ReduceOnPlateauLR", {"threshold_rule": "x"}, ValueError, "must be 'rel' or 'abs'"),
    ("ReduceOnPlateauLR", {"by_epoch": False}, AssertionError, "only counts epochs"),
    ("ReduceOnPlateauLR", {"min_value": [0, 0, 0]}, ValueError, "expected 2 values"),
]


@pytest.mark.parametrize(
    ("name", "args", "error", "message"), REFUSED, ids=[f"{r[0]}-{r[1]}" for r in REFUSED]
)
def test_refuses(name: str, args: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        getattr(schedulers, name)(two_groups(), **args)


def test_one_cycle_is_over_after_its_steps() -> None:
    scheduler = schedulers.OneCycleLR(two_groups(), eta_max=0.3, total_steps=3)
    curve(scheduler, 3)
    with pytest.raises(ValueError, match="total_steps=3 was stepped 5 times"):
        scheduler.step()


def test_one_cycle_only_schedules_the_lr() -> None:
    with pytest.raises(AssertionError, match="one cycle only schedules 'lr'"):
        schedulers.OneCycleParamScheduler(two_groups(), "momentum", eta_max=0.3)


STATES = [
    ("MultiStepLR", {"milestones": [2, 5]}),
    ("OneCycleLR", {"eta_max": 0.3, "total_steps": 9}),
    ("CosineRestartLR", {"periods": [2, 3], "restart_weights": [1, 1], "eta_min": 0}),
    ("PolyLR", {"end": 8}),
]


@pytest.mark.parametrize(("name", "args"), STATES, ids=[row[0] for row in STATES])
def test_state_loads_with_weights_only_and_continues(name: str, args: dict[str, Any]) -> None:
    whole = curve(getattr(schedulers, name)(two_groups(), **args), 8)
    first = getattr(schedulers, name)(two_groups(), **args)
    begun = curve(first, 3)
    file = io.BytesIO()
    torch.save([first.state_dict(), first.optimizer.state_dict()], file)
    file.seek(0)
    state, optimizer_state = torch.load(file, weights_only=True)
    second = getattr(schedulers, name)(two_groups(), **args)
    second.optimizer.load_state_dict(optimizer_state)
    second.load_state_dict(state)
    ended = curve(second, 5)
    assert [a + b for a, b in zip(begun, ended, strict=True)] == whole


def test_state_has_mmengines_keys_and_no_objects() -> None:
    scheduler = schedulers.MultiStepLR(two_groups(), milestones=[2, 2, 5], gamma=0.5, end=9)
    assert isinstance(scheduler.milestones, Counter)
    state = scheduler.state_dict()
    assert type(state["milestones"]) is dict
    assert state == {
        "milestones": {2: 2, 5: 1},
        "gamma": 0.5,
        "param_name": "lr",
        "begin": 0,
        "end": 9,
        "by_epoch": True,
        "base_values": [0.1, 0.02],
        "last_step": 0,
        "_global_step": 0,
        "verbose": False,
        "_last_value": [0.1, 0.02],
    }
