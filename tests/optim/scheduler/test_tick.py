"""Who is stepped by which clock."""

from __future__ import annotations

from typing import Any

import pytest

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
