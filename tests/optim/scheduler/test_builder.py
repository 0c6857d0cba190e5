"""From ``param_scheduler`` to schedulers."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from mm2pl.logging import MMLogger
from mm2pl.optim import OptimWrapper, OptimWrapperDict, build_param_schedulers
from mm2pl.optim.scheduler import StepLR


def wrapper() -> OptimWrapper:
    return OptimWrapper(torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1))


STEP: dict[str, Any] = {"type": "StepLR", "step_size": 1}
ENDS = {
    "by epoch": (STEP, 7),
    "by iteration": ({**STEP, "by_epoch": False}, 70),
    "converted": ({**STEP, "convert_to_iter_based": True}, 70),
    "given": ({**STEP, "end": 3}, 3),
}


@pytest.mark.parametrize(("cfg", "end"), ENDS.values(), ids=ENDS)
def test_the_run_is_the_default_end(cfg: dict[str, Any], end: int) -> None:
    before = dict(cfg)
    (scheduler,) = build_param_schedulers(cfg, wrapper(), max_epochs=7, epoch_length=10)
    assert scheduler.end == end
    assert cfg == before


def test_a_run_by_iteration_is_one_epoch() -> None:
    per_epoch, per_iter = build_param_schedulers(
        [STEP, {**STEP, "by_epoch": False}], wrapper(), max_iters=50, by_epoch=False
    )
    assert (per_epoch.end, per_iter.end) == (1, 50)


def test_without_a_run_there_is_no_default_end() -> None:
    (scheduler,) = build_param_schedulers(STEP, wrapper())
    assert scheduler.end == 10**9


def test_a_built_scheduler_stays() -> None:
    built = StepLR(wrapper(), 1)
    assert build_param_schedulers([built], wrapper(), max_epochs=3) == [built]


def two() -> OptimWrapperDict:
    return OptimWrapperDict(gen=wrapper(), disc=wrapper())


def test_one_list_for_several_optimizers() -> None:
    wrappers = two()
    found = build_param_schedulers([STEP], wrappers, max_epochs=3)
    assert {name: [s.optimizer for s in group] for name, group in found.items()} == {
        "gen": [wrappers["gen"]],
        "disc": [wrappers["disc"]],
    }


def test_a_list_per_optimizer() -> None:
    found = build_param_schedulers({"gen": STEP, "disc": [STEP, STEP]}, two(), max_epochs=3)
    assert {name: len(group) for name, group in found.items()} == {"gen": 1, "disc": 2}


@pytest.mark.parametrize(
    ("cfg", "optim_wrapper", "error", "message"),
    [
        ({"gen": [STEP]}, two, ValueError, r"lacks \['disc'\]"),
        ({"gen": [STEP], "disc": []}, wrapper, ValueError, "there is one optimizer"),
        ("StepLR", wrapper, TypeError, "param_scheduler='StepLR' must be a dict"),
        ([3], wrapper, TypeError, "param_scheduler=3 must be a dict"),
        ({"type": "StepLRs"}, wrapper, KeyError, "StepLR"),
        ({"step_size": 1}, wrapper, KeyError, "{'step_size': 1} lacks `type` → add"),
        ({}, wrapper, KeyError, "lacks `type`"),
    ],
    ids=["missing", "dict for one", "str", "int", "misspelt", "no type", "empty"],
)
def test_refuses(cfg: Any, optim_wrapper: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        build_param_schedulers(cfg, optim_wrapper(), max_epochs=3)


def test_schedules_of_no_optimizer_are_told(caplog: pytest.LogCaptureFixture) -> None:
    MMLogger.get_instance("builder").addHandler(caplog.handler)
    cfg = {"gen": STEP, "disc": STEP, "discriminator": STEP}
    build_param_schedulers(cfg, two(), max_epochs=3)
    assert caplog.messages == [
        "param_scheduler for ['discriminator'] has no effect: the optimizers are ['gen', 'disc']."
    ]
