"""Ticks that a file lacks."""

from __future__ import annotations

import pytest
import torch

from mm2pl.optim import LinearLR, MultiStepLR
from mm2pl.run.ticks import TickCount, make_up

# No optimizer steps here.
pytestmark = pytest.mark.filterwarnings("ignore:scheduler.step.. was called before optimizer.step")


def schedules() -> list[MultiStepLR]:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    # The end of one is over before its last tick: it counts on all the same.
    return [
        MultiStepLR(optimizer, milestones=[2], by_epoch=by_epoch, end=end)
        for by_epoch, end in ((False, 2), (True, 100))
    ]


@pytest.mark.parametrize(
    ("ticked", "position", "due"),
    [
        ((3, 1), {"iter": 13, "epoch": 3}, {}),
        ((2, 1), {"iter": 13, "epoch": 3}, {"iter": 1}),
        ((3, 0), {"iter": 13, "epoch": 3}, {"epoch": 1}),
        # More than the run has counted: a hook after the schedules' turn, before the counter moves.
        ((3, 1), {"iter": 12, "epoch": 2}, {}),
    ],
)
def test_missing_ticks(ticked: tuple[int, int], position: dict, due: dict) -> None:
    count, (by_iter, by_epoch) = TickCount(), schedules()
    count.begin([by_iter, by_epoch], {"iter": 10, "epoch": 2})
    for scheduler, times in zip((by_iter, by_epoch), ticked, strict=True):
        for _ in range(times):
            scheduler.step()
    assert count.due(position) == due
    make_up([by_iter, by_epoch], due)
    assert [by_iter._global_step, by_epoch._global_step] == [3, 1]


def test_what_has_no_step_is_left_out() -> None:
    count = TickCount()
    count.begin([object()], {"iter": 0, "epoch": 0})
    assert count.due({"iter": 5, "epoch": 1}) == {}


def test_a_schedule_that_has_ended_lacks_nothing() -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    warmup, count = LinearLR(optimizer, begin=0, end=2, by_epoch=False), TickCount()
    count.begin([warmup], {"iter": 0, "epoch": 0})
    for _ in range(5):
        warmup.step()
    assert count.due({"iter": 5, "epoch": 0}) == {}
