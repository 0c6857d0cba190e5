"""What all schedulers share: whom they schedule, counters, users' subclasses, warnings."""

from __future__ import annotations

import copy
import logging
import pickle
from typing import Any

import pytest
import torch

from mm2pl.logging import MMLogger
from mm2pl.optim import AmpOptimWrapper, OptimWrapper, OptimWrapperDict
from mm2pl.optim.scheduler import LinearLR, MultiStepLR, StepLR
from mm2pl.optim.scheduler.lr_scheduler import LRSchedulerMixin
from mm2pl.optim.scheduler.param_scheduler import INF, ConstantParamScheduler, _ParamScheduler
from mm2pl.registry import PARAM_SCHEDULERS


def sgd(lr: float = 0.1) -> torch.optim.SGD:
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=lr)


def test_counts_its_steps_and_the_clocks() -> None:
    optimizer = sgd()
    scheduler = StepLR(optimizer, 1, gamma=0.5, begin=2, end=4)
    seen = []
    for _ in range(5):
        seen.append((scheduler._global_step, scheduler.last_step, scheduler.get_last_value()))
        optimizer.step()
        scheduler.step()
    assert seen == [(0, -1, [0.1]), (1, -1, [0.1]), (2, 0, [0.1]), (3, 1, [0.05]), (4, 1, [0.05])]


def test_the_last_value_is_that_of_its_own_step() -> None:
    optimizer = sgd()
    finished, active = LinearLR(optimizer, 0.5, end=1), StepLR(optimizer, 1, gamma=0.5)
    optimizer.step()
    finished.step()
    active.step()
    assert (finished.get_last_value(), active.get_last_value()) == ([0.05], [0.025])


def test_the_base_value_is_that_before_any_scheduler() -> None:
    optimizer = sgd()
    LinearLR(optimizer, start_factor=0.5)
    assert StepLR(optimizer, 1).base_values == [0.1]
    assert optimizer.param_groups[0]["initial_lr"] == 0.1


@pytest.mark.parametrize(
    ("optimizer", "message"),
    [
        ("SGD", "optimizer=str → it should be an Optimizer"),
        (OptimWrapperDict(a=OptimWrapper(sgd())), "Schedule each of its wrappers"),
    ],
    ids=["str", "dict"],
)
@pytest.mark.parametrize("name", ["StepLR", "StepMomentum", "ReduceOnPlateauLR", "OneCycleLR"])
def test_refuses_what_has_no_param_groups(name: str, optimizer: Any, message: str) -> None:
    args = {"step_size": 1} if name.startswith("Step") else {}
    with pytest.raises(TypeError, match=message):
        PARAM_SCHEDULERS.get(name)(optimizer, **args)


class HalfOfBase(_ParamScheduler):
    def _get_value(self) -> list[float]:
        return [base / (2 + self.last_step) for base in self.base_values]


class AnyFactor(ConstantParamScheduler):
    def __init__(self, optimizer: Any, param_name: str, factor: float = 3.0, **kwargs: Any) -> None:
        self.factor = factor
        self.total_iters = 10
        super(ConstantParamScheduler, self).__init__(optimizer, param_name=param_name, **kwargs)


class AnyFactorLR(LRSchedulerMixin, AnyFactor):
    pass


class Capped(MultiStepLR):
    def _get_value(self) -> list[float]:
        return [max(value, 0.04) for value in super()._get_value()]


@pytest.mark.parametrize(
    ("cls", "args", "expected"),
    [
        (HalfOfBase, {"param_name": "lr", "begin": 1}, [0.1, 0.05, 0.1 / 3]),
        (AnyFactorLR, {"factor": 2.0}, [0.2, 0.2, 0.2]),
        (AnyFactorLR, {}, [0.30000000000000004] * 3),
        (Capped, {"milestones": [1, 2], "gamma": 0.5}, [0.1, 0.05, 0.04]),
    ],
    ids=["own", "skips a level of __init__", "own default", "super()._get_value"],
)
def test_subclasses_of_users(
    cls: type[_ParamScheduler], args: dict[str, Any], expected: list[float]
) -> None:
    optimizer = sgd()
    scheduler = cls(optimizer, **args)
    seen = []
    for _ in range(3):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    assert seen == expected


def test_a_scheduler_must_say_what_its_values_are() -> None:
    with pytest.raises(NotImplementedError, match="_ParamScheduler must define `_get_value`"):
        _ParamScheduler(sgd(), "lr")


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda s: pickle.loads(pickle.dumps(s))])
def test_can_be_copied_and_pickled(copied: Any) -> None:
    scheduler = copied(MultiStepLR(sgd(), milestones=[1], gamma=0.5))
    scheduler.optimizer.step()
    scheduler.step()
    assert type(scheduler) is MultiStepLR
    assert scheduler.optimizer.param_groups[0]["lr"] == 0.05


def test_verbose_logs_each_new_value(caplog: pytest.LogCaptureFixture) -> None:
    MMLogger.get_instance("verbose").addHandler(caplog.handler)
    scheduler = StepLR(sgd(), 1, gamma=0.5, verbose=True, end=2)
    scheduler.optimizer.step()
    scheduler.step()
    scheduler.step()
    assert [record.getMessage() for record in caplog.records] == [
        "Adjusting parameter value of group 0 to 1.0000e-01.",
        "Adjusting parameter value of group 0 to 5.0000e-02.",
    ]
    assert caplog.records[0].levelno == logging.INFO


EARLY = pytest.warns(UserWarning, match=r"scheduler\.step\(\) was called before optimizer\.step")


def test_warns_of_a_first_step_before_the_optimizers() -> None:
    scheduler = StepLR(sgd(), 1)
    with EARLY as noted:
        scheduler.step()
        scheduler.step()
    assert len(noted) == 1


def test_warns_of_a_wrapper_too() -> None:
    scheduler = StepLR(OptimWrapper(sgd()), 1)
    with EARLY as noted:
        scheduler.step()
    assert len(noted) == 1


def test_does_not_warn_inside_an_accumulation_window() -> None:
    optimizer = sgd()
    wrapper = OptimWrapper(optimizer, accumulative_counts=2)
    scheduler = StepLR(wrapper, 1)
    wrapper.update_params(optimizer.param_groups[0]["params"][0].sum())
    scheduler.step()
    assert not optimizer._optimizer_step_post_hooks


def test_does_not_warn_when_only_the_wrapper_steps() -> None:
    wrapper = AmpOptimWrapper(optimizer=sgd(), dtype="bfloat16")
    scheduler = StepLR(wrapper, 1)
    wrapper.update_params(wrapper.optimizer.param_groups[0]["params"][0].sum())
    scheduler.step()
    assert scheduler.last_step == 1


def test_infinity_is_mmengines() -> None:
    assert StepLR(sgd(), 1).end == INF == 1_000_000_000


def test_a_resumed_scheduler_equals_the_saved_one() -> None:
    def made() -> StepLR:
        return StepLR(torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0), step_size=2)

    saved, resumed = made(), made()
    for _ in range(3):
        saved.optimizer.step()
        saved.step()
    resumed.load_state_dict(saved.state_dict())
    for scheduler in (saved, resumed):
        del scheduler.optimizer
    assert vars(resumed) == vars(saved)
