"""Where schedules stand after so much of a run, against a run that was ticked."""

from __future__ import annotations

import copy
import random
from typing import Any

import pytest
import torch
from torch import nn

from mm2pl.optim import OptimWrapper, build_param_schedulers
from mm2pl.optim.scheduler import MultiStepLR
from mm2pl.optim.scheduler.replay import Progress, replan, replay, start_at
from mm2pl.optim.scheduler.tick import tick, tick_metrics
from tests.calls import calls

LENGTH = 5


def wrapper(groups: int = 1, cls: Any = torch.optim.SGD, **options: Any) -> OptimWrapper:
    params = [{"params": [nn.Parameter(torch.zeros(1))]} for _ in range(groups)]
    for index, group in enumerate(params):
        group["lr"] = 0.1 * (index % 3 + 1)
    return OptimWrapper(cls(params, lr=0.3, **options))


def build(cfg: list[dict], optim: OptimWrapper, epochs: int) -> list[Any]:
    return build_param_schedulers(cfg, optim, max_epochs=epochs, epoch_length=LENGTH)  # type: ignore[return-value]


def ticked(schedulers: list[Any], epochs: int, more: int = 0, metric: Any = None) -> None:
    """Train so many epochs and then some iterations, as a run ticks."""
    for scheduler in schedulers:
        if getattr(scheduler, "_first_step", None):
            scheduler._first_step.forget()
            scheduler._first_step = None
    for epoch in range(epochs):
        for _ in range(LENGTH):
            tick(schedulers, by_epoch=False)
        tick(schedulers, by_epoch=True)
        if metric:
            tick_metrics(schedulers, {"loss": metric(epoch)})
    for _ in range(more):
        tick(schedulers, by_epoch=False)


def seen(optim: OptimWrapper, schedulers: list[Any]) -> Any:
    groups = [{k: v for k, v in group.items() if k != "params"} for group in optim.param_groups]
    return groups, [each.state_dict() for each in schedulers]


ITERS = {"by_epoch": False}
WARMUP = {"type": "LinearLR", "start_factor": 0.1, "begin": 0, "end": 7, **ITERS}
STEPS = {"type": "MultiStepLR", "milestones": [1, 3], "gamma": 0.3}
COSINE = {"type": "CosineAnnealingLR", "eta_min": 1e-3}
PLANS: dict[str, list[dict]] = {
    "cosine": [COSINE],
    "cosine by iteration": [{**COSINE, "by_epoch": True, "convert_to_iter_based": True}],
    "warm-up and steps": [WARMUP, STEPS],
    "warm-up and cosine": [WARMUP, {**COSINE, "begin": 7, **ITERS}],
    "constant, exponential": [
        {"type": "ConstantLR", "factor": 0.5, "begin": 2, "end": 9, **ITERS},
        {"type": "ExponentialLR", "gamma": 0.9},
    ],
    "restarts": [
        {"type": "CosineRestartLR", "periods": [4, 9], "restart_weights": [1, 0.5], "eta_min": 0}
        | ITERS
    ],
    "poly over steps": [{"type": "PolyLR", "power": 0.9, **ITERS}, STEPS],
    "one cycle": [{"type": "OneCycleLR", "eta_max": 0.5, **ITERS}],
    "momentum too": [
        WARMUP,
        {"type": "CosineAnnealingMomentum", "eta_min": 0.5, **ITERS},
        {"type": "StepMomentum", "step_size": 2},
    ],
}


@pytest.mark.parametrize("cfg", PLANS.values(), ids=PLANS)
@pytest.mark.parametrize("groups", [1, 7])
@pytest.mark.parametrize(("epochs", "more"), [(0, 0), (0, 3), (2, 0), (3, 4)])
def test_a_plan_for_a_longer_run_stands_where_the_longer_run_would(cfg, groups, epochs, more):
    optim, whole = wrapper(groups, momentum=0.9), wrapper(groups, momentum=0.9)
    ticked(build(cfg, optim, epochs=4), epochs, more)
    longer = build(cfg, optim, epochs=6)
    replan(longer, Progress(epochs=epochs, iters=epochs * LENGTH + more, epoch_length=LENGTH))
    expected = build(cfg, whole, epochs=6)
    ticked(expected, epochs, more)
    assert seen(optim, longer) == seen(whole, expected)
    ticked(longer, 6 - epochs)
    ticked(expected, 6 - epochs)
    assert seen(optim, longer) == seen(whole, expected)


def test_betas_follow_the_momentum_of_the_plan():
    cfg = [{"type": "CosineAnnealingMomentum", "eta_min": 0.5, **ITERS}]
    optim, whole = wrapper(2, torch.optim.Adam), wrapper(2, torch.optim.Adam)
    ticked(build(cfg, optim, 1), 1)
    replan(longer := build(cfg, optim, 3), Progress(epochs=1, iters=LENGTH, epoch_length=LENGTH))
    ticked(expected := build(cfg, whole, 3), 1)
    assert seen(optim, longer) == seen(whole, expected)
    assert optim.param_groups[0]["betas"][0] < 0.9


def test_random_stacks_equal_single_ticks():
    draw = random.Random(0)
    kinds = [entry for plan in PLANS.values() for entry in plan if entry["type"] != "OneCycleLR"]
    for _ in range(60):
        cfg = [
            {**entry, "begin": (begin := draw.randrange(9)), "end": begin + draw.randrange(2, 30)}
            for entry in copy.deepcopy(draw.choices(kinds, k=draw.randrange(1, 5)))
        ]
        done, more = draw.randrange(6), draw.randrange(LENGTH)
        fast, slow = wrapper(3, momentum=0.9), wrapper(3, momentum=0.9)
        ticked(expected := build(cfg, slow, 8), done, more)
        got = build(cfg, fast, 8)
        ticked(got, 0)
        replay(got, Progress(epochs=done, iters=done * LENGTH + more, epoch_length=LENGTH))
        assert seen(fast, got) == seen(slow, expected), cfg


class Counting(MultiStepLR):
    steps = 0

    def step(self) -> None:
        self.steps += 1
        super().step()


def test_a_subclass_of_the_users_makes_each_step():
    scheduler = Counting(wrapper(), milestones=[2], by_epoch=False)
    replay([scheduler], Progress(epochs=0, iters=100))
    assert scheduler.steps == 101


def test_an_iteration_of_a_long_run_takes_ten_calls_and_an_idle_span_none():
    optim = wrapper(200)
    cosine = {"type": "CosineAnnealingLR", "T_max": 10**5, **ITERS}
    cycle = {"type": "OneCycleLR", "eta_max": 1.0, "total_steps": 10**5, **ITERS}
    for cfg, limit in (([WARMUP], 3_000), ([cycle], 3_000), ([cosine], 1_100_000)):
        schedulers = build_param_schedulers(cfg, optim)
        assert calls(replan, schedulers, Progress(epochs=0, iters=99_999)) < limit
        assert schedulers[0].state_dict()["_global_step"] == 99_999
    assert 0 < optim.param_groups[0]["lr"] < 1e-5


PLATEAU = {"type": "ReduceOnPlateauLR", "monitor": "loss", "patience": 0, "factor": 0.5}


def test_what_a_metric_has_decided_stays():
    optim = wrapper()
    ticked(old := build([PLATEAU], optim, 4), 2, metric=lambda epoch: epoch)
    state = old[0].state_dict()
    replan(new := build([PLATEAU], optim, 9), Progress(epochs=2, iters=10), states=[state])
    assert optim.param_groups[0]["lr"] == 0.1 * 0.5
    assert new[0].state_dict() == {**state, "end": 9}


def test_a_reduction_stays_a_factor_of_the_new_plan():
    cfg = [COSINE, PLATEAU]
    optim, plain = wrapper(), wrapper()
    ticked(old := build(cfg, optim, 4), 2, metric=lambda epoch: epoch)
    states = [each.state_dict() for each in old]
    progress = Progress(epochs=2, iters=10, epoch_length=LENGTH)
    found = optim.param_groups[0]["lr"]
    replan(build(cfg, optim, 4), progress, states=states)
    assert optim.param_groups[0]["lr"] == found
    replan(build(cfg, optim, 8), progress, states=states)
    replan(build([COSINE], plain, 8), progress)
    assert optim.param_groups[0]["lr"] == pytest.approx(plain.param_groups[0]["lr"] / 2, rel=0.01)


def test_initial_values_of_the_config_replace_those_of_the_file():
    optim = wrapper()
    ticked(build([STEPS], optim, 3), 2)
    replan(build([STEPS], optim, 3), Progress(epochs=2, iters=10), [{"initial_lr": 7.0}])
    assert optim.param_groups[0]["lr"] == 7.0 * 0.3


NEW = {
    "epoch": ({"type": "ExponentialLR", "gamma": 0.5}, 3, 3),
    "by iteration": ({"type": "ExponentialLR", "gamma": 0.5, "begin": 4, **ITERS}, 15, 11),
    "over": ({"type": "ExponentialLR", "gamma": 0.5, "begin": 1, "end": 3}, 3, 1),
    "to come": ({"type": "ExponentialLR", "gamma": 0.5, "begin": 8, "end": 9}, 3, -1),
    "plateau": (PLATEAU, 3, -1),
}


@pytest.mark.parametrize(("cfg", "ticks", "last"), NEW.values(), ids=NEW)
def test_a_new_schedule_begins_at_the_progress_without_a_jump(cfg, ticks, last):
    optim = wrapper()
    (scheduler,) = build([cfg], optim, 20)
    before = optim.param_groups[0]["lr"]
    start_at(scheduler, Progress(epochs=3, iters=15, epoch_length=LENGTH))
    assert (scheduler._global_step, scheduler.last_step) == (ticks, last)
    assert optim.param_groups[0]["lr"] == before
    scheduler.step()
    active = cfg["type"] == "ExponentialLR" and last + 1 > 0 and scheduler.last_step > last
    assert optim.param_groups[0]["lr"] == (before * 0.5 if active else before)


def test_a_file_with_shorter_epochs_keeps_both_counts():
    (by_iter, by_epoch) = build([WARMUP, STEPS], wrapper(), 4)
    ticked([by_iter, by_epoch], 0)
    replay([by_iter, by_epoch], Progress(epochs=3, iters=9, epoch_length=LENGTH))
    assert (by_iter._global_step, by_epoch._global_step) == (9, 3)
