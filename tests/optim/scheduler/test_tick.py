"""Who is stepped by which clock."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from mm2pl.optim.scheduler import CosineAnnealingLR, ExponentialLR, LinearLR, MultiStepLR, StepLR
from mm2pl.optim.scheduler.tick import tick, tick_metrics


class Noted:
    def __init__(self, name: str, seen: list[Any], by_epoch: bool, need_val_args: bool) -> None:
        self.name, self.seen, self.by_epoch = name, seen, by_epoch
        self.need_val_args = need_val_args

    def step(self, *metrics: Any) -> None:
        self.seen.append((self.name, *metrics))


METRICS = {"loss": 0.5}
CLOCKS = {
    "iteration": (lambda s: tick(s, by_epoch=False), [("iter",), ("odd",)]),
    "epoch": (lambda s: tick(s, by_epoch=True), [("epoch",), ("plateau",)]),
    "validation": (lambda s: tick_metrics(s, METRICS), [("plateau", METRICS)]),
}


@pytest.mark.parametrize(("clock", "expected"), CLOCKS.values(), ids=CLOCKS)
def test_only_the_schedulers_of_a_clock_are_stepped_in_order(clock: Any, expected: list) -> None:
    seen: list[Any] = []
    clock(
        [
            Noted("iter", seen, by_epoch=False, need_val_args=False),
            Noted("epoch", seen, by_epoch=True, need_val_args=False),
            Noted("odd", seen, by_epoch=False, need_val_args=True),
            Noted("plateau", seen, by_epoch=True, need_val_args=True),
        ]
    )
    assert seen == expected


def test_a_config_among_them_waits_for_no_metric() -> None:
    seen: list[Any] = []
    plateau = Noted("plateau", seen, by_epoch=True, need_val_args=True)
    tick_metrics([{"type": "ReduceOnPlateauLR"}, plateau], METRICS)
    assert len(seen) == 1


class Group(dict):
    reads = writes = 0

    def __getitem__(self, key: str) -> Any:
        self.reads += key == "lr"
        return super().__getitem__(key)

    def __setitem__(self, key: str, value: Any) -> None:
        self.writes += key == "lr"
        super().__setitem__(key, value)


def sgd(groups: int) -> torch.optim.SGD:
    return torch.optim.SGD([{"params": [torch.zeros(1)]} for _ in range(groups)], lr=0.1)


def test_a_tick_reads_and_writes_each_group_once() -> None:
    optimizer = sgd(3)
    stack = [
        LinearLR(optimizer, 0.5, end=1),
        CosineAnnealingLR(optimizer, T_max=9, begin=1),
        MultiStepLR(optimizer, [5]),
    ]
    optimizer.step()
    optimizer.param_groups[:] = [Group(group) for group in optimizer.param_groups]
    for _ in range(3):
        tick(stack, by_epoch=True)
    assert [(group.reads, group.writes) for group in optimizer.param_groups] == [(3, 2)] * 3


class Half(ExponentialLR):
    def _get_value(self) -> list[float]:
        return [group["lr"] / 2 for group in self.optimizer.param_groups[:1]]


class Louder(StepLR):
    def step(self) -> None:
        self.optimizer.param_groups[0]["lr"] = 8.0
        super().step()


def patched(optimizer: Any) -> Any:
    scheduler = StepLR(optimizer, 1, 2.0)
    scheduler.step = lambda: (optimizer.param_groups[0].update(lr=8.0), StepLR.step(scheduler))
    return scheduler


STACKED: dict[str, Any] = {
    "reads the groups": (lambda optimizer: Half(optimizer, gamma=2.0), [2.0, 4.0]),
    "own step": (lambda optimizer: Louder(optimizer, 1, 2.0), [32.0, 8.0]),
    "replaced step": (patched, [32.0, 8.0]),
}


@pytest.mark.parametrize(("made", "expected"), STACKED.values(), ids=STACKED)
def test_a_schedule_of_the_users_stands_between_two_of_ours(made: Any, expected: Any) -> None:
    optimizer = sgd(2)
    stack = [StepLR(optimizer, 1, 2.0), made(optimizer), StepLR(optimizer, 1, 2.0)]
    for group in optimizer.param_groups:
        group["lr"] = 1.0
    optimizer.step()
    tick(stack, by_epoch=True)
    assert [group["lr"] for group in optimizer.param_groups] == expected


def test_a_group_of_later_keeps_its_place_in_the_tick() -> None:
    optimizer = sgd(1)
    stack = [CosineAnnealingLR(optimizer, T_max=2, eta_min=0.0), StepLR(optimizer, 1, 0.5)]
    optimizer.add_param_group({"params": [torch.zeros(1)], "lr": 1.0})
    optimizer.step()
    tick(stack, by_epoch=True)
    assert stack[0].get_last_value() == [0.05, 1.0]
    assert [group["lr"] for group in optimizer.param_groups] == [0.025, 0.5]
