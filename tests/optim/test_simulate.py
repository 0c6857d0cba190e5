"""The value during each iteration, without an optimizer."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

import mm2pl.optim
from mm2pl.logging import MMLogger
from mm2pl.optim import BaseOptimWrapper, simulate
from mm2pl.optim.scheduler import _ParamScheduler
from mm2pl.registry import PARAM_SCHEDULERS

WARMUP = {"type": "LinearLR", "start_factor": 0.25, "end": 4, "by_epoch": False}
STEP = {"type": "MultiStepLR", "milestones": [1, 2], "gamma": 0.5}
MOMENTUM = {"type": "StepMomentum", "step_size": 1, "gamma": 0.5}

CASES: dict[str, tuple[Any, dict[str, Any], list[float]]] = {
    "warm-up and steps": ([WARMUP, STEP], {}, [0.25, 0.5, 0.75, 0.5, 0.5, 0.5, 0.25, 0.25]),
    "a single dict": (STEP, {}, [1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25]),
    "nothing": ([], {}, [1] * 8),
    "none": (None, {}, [1] * 8),
    "other entries": ([WARMUP, STEP, MOMENTUM], {"param_name": "momentum"},
                      [1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25]),
    "converted": ({**STEP, "convert_to_iter_based": True}, {}, [1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25]),
    "end of run": ({"type": "PolyLR", "by_epoch": False}, {},
                   [pytest.approx(k / 7) for k in range(7, -1, -1)]),
    "weight decay": ({"type": "StepParamScheduler", "param_name": "weight_decay", "step_size": 2},
                     {"param_name": "weight_decay"}, [1] * 6 + [0.1] * 2),
    "run by iteration": ([WARMUP, STEP], {"by_epoch": False}, [0.25, 0.5, 0.75, *[1.0] * 5]),
    "plateau waits": ({"type": "ReduceOnPlateauLR"}, {}, [1] * 8),
    "one cycle has its own base": (
        {"type": "OneCycleLR", "eta_max": 8, "by_epoch": False, "anneal_strategy": "linear",
         "pct_start": 0.5, "div_factor": 8.0, "final_div_factor": 1.0},
        {}, [1.0, pytest.approx(10 / 3), pytest.approx(17 / 3), 8.0, 6.25, 4.5, 2.75, 1.0]),
}  # fmt: skip


@pytest.mark.parametrize(("cfg", "options", "expected"), CASES.values(), ids=CASES)
def test_values(cfg: Any, options: dict[str, Any], expected: list[float]) -> None:
    assert simulate(cfg, 1.0, iters=8, epoch_length=3, **options) == expected


def test_does_not_change_the_config() -> None:
    cfg = {"type": "MultiStepLR", "milestones": [1], "convert_to_iter_based": True}
    simulate(cfg, 0.1, 4, 2)
    assert cfg == {"type": "MultiStepLR", "milestones": [1], "convert_to_iter_based": True}


def test_says_that_no_metric_is_known(caplog: pytest.LogCaptureFixture) -> None:
    MMLogger.get_instance("simulate").addHandler(caplog.handler)
    simulate([STEP, {"type": "ReduceOnPlateauLR"}], 1.0, 4, 2)
    assert caplog.messages == [
        "simulate: ReduceOnPlateauLR waits for a metric that is not known here; the values are "
        "those of a run in which it never acts."
    ]


REFUSED: dict[str, tuple[Any, dict[str, Any], type[Exception], str]] = {
    "base": (STEP, {"base": "0.1"}, TypeError, "base='0.1' must be a number"),
    "iters": (STEP, {"iters": -1}, ValueError, "iters=-1, epoch_length=2: give a number"),
    "epoch": (STEP, {"epoch_length": 0}, ValueError, "epoch_length=0: give"),
    "no type": ({"gamma": 0.1}, {}, KeyError, "lacks `type` → add e.g."),
    "misspelt type": ({"type": "MultistepLR"}, {}, KeyError, "Did you mean 'MultiStepLR'"),
    "misspelt argument": (
        {"type": "MultiStepLR", "milestone": [1]},
        {},
        TypeError,
        r"Did you mean 'milestones'\? It takes optimizer, milestones, gamma",
    ),
    "converted twice": (
        {**STEP, "by_epoch": False, "convert_to_iter_based": True},
        {},
        AssertionError,
        "only a schedule that counts epochs can be converted",
    ),
}


@pytest.mark.parametrize(("cfg", "given", "error", "message"), REFUSED.values(), ids=REFUSED)
def test_refuses(cfg: Any, given: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        simulate(cfg, **{"base": 0.1, "iters": 4, "epoch_length": 2, **given})


def test_several_optimizers_are_looked_at_one_by_one() -> None:
    with pytest.raises(ValueError, match=r"a list per optimizer \(\['gen', 'disc'\]\)"):
        simulate({"gen": [STEP], "disc": [STEP]}, 0.1, 4, 2)


def test_a_users_scheduler_takes_part() -> None:
    @PARAM_SCHEDULERS.register_module()
    class Inverse(_ParamScheduler):
        def __init__(self, optimizer: Any, **kwargs: Any) -> None:
            super().__init__(optimizer, "lr", **kwargs)

        def _get_value(self) -> list[float]:
            return [base / (1 + self.last_step) for base in self.base_values]

    assert simulate({"type": "Inverse"}, 6.0, iters=3, epoch_length=1) == [6.0, 3.0, 2.0]


def test_a_schedule_may_ask_for_the_class_of_the_optimizer() -> None:
    @PARAM_SCHEDULERS.register_module(force=True)
    class Suspicious(_ParamScheduler):
        def __init__(self, optimizer: Any, **kwargs: Any) -> None:
            assert isinstance(optimizer, BaseOptimWrapper)
            super().__init__(optimizer, "lr", **kwargs)

        def _get_value(self) -> list[float]:
            return [group["lr"] / 2 for group in self.optimizer.param_groups]

    assert simulate({"type": "Suspicious"}, 1.0, iters=2, epoch_length=1) == [0.5, 0.25]


def test_optimizers_are_imported_on_first_use() -> None:
    code = """if True:
        import sys
        import mm2pl.optim

        mm2pl.optim.simulate({"type": "StepLR", "step_size": 1}, 0.1, iters=2, epoch_length=1)
        assert not hasattr(mm2pl.optim, "_OptimWrapper")
        assert "torch" not in sys.modules
        assert mm2pl.optim.optimizer.OptimWrapper is mm2pl.optim.OptimWrapper
        assert not hasattr(mm2pl.optim, "base")
        assert "OptimWrapper" in dir(mm2pl.optim)
        before = set(dir())
        from mm2pl.optim import *
        assert {"import_module", "TYPE_CHECKING", "base"}.isdisjoint(dir())
        assert {"OptimWrapper", "OPTIMIZERS", "LinearLR", "build_param_schedulers"} <= set(dir()) - before
        assert ZeroRedundancyOptimizer.__mro__[1].__module__.startswith("torch.")
        from mm2pl.optim.scheduler.param_scheduler import OptimizerType
    """
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True)


def test_a_name_that_is_not_there() -> None:
    with pytest.raises(AttributeError, match="OptimWraper"):
        _ = mm2pl.optim.OptimWraper  # type: ignore[attr-defined]
