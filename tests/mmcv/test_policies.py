"""The one table of MMCV 1.7.2's policies: what the momentum's differ in, and names from before."""

from __future__ import annotations

from typing import Any

import pytest

from mm2pl.mmcv.policies import LR, MOMENTUM, defaults, formula, pair_of_ratios
from mm2pl.mmcv.runner.hooks.updater import POLICY_HOOKS
from mm2pl.mmcv.schedules import MMCVMomentum
from tests.mmcv.test_schedules import SGD, optimizer


@pytest.mark.parametrize(
    ("policy", "argument", "lr", "momentum"),
    [
        ("step", "gamma", 0.1, 0.5),
        ("cyclic", "target_ratio", (10, 1e-4), (0.85 / 0.95, 1.0)),
        ("CosineAnnealing", "eta_min", None, None),
    ],
)
def test_defaults(policy: str, argument: str, lr: Any, momentum: Any) -> None:
    assert (defaults(LR[policy])[argument], defaults(MOMENTUM[policy])[argument]) == (lr, momentum)


def test_one_hook_per_policy_and_entry() -> None:
    assert len(POLICY_HOOKS) == len(LR) + len(MOMENTUM) == 16


def test_a_policy_named_as_in_configs_migrated_before() -> None:
    old, new = (
        MMCVMomentum(optimizer(SGD), policy, length=10, by_epoch=False)
        for policy in ("OneCycleMomentum", "OneCycle")
    )
    assert old.get_last_value() == new.get_last_value() == [0.95]
    assert formula("OneCycleMomentum", "momentum") is MOMENTUM["OneCycle"]


@pytest.mark.parametrize(
    ("ratio", "expected"),
    [(10.0, [10.0, 1e-4]), ((10,), [10, 1e-4]), ([2, 3], [2, 3])],
    ids=["number", "one", "pair"],
)
def test_pair_of_ratios(ratio: Any, expected: list[float]) -> None:
    assert pair_of_ratios(ratio) == pytest.approx(expected)


@pytest.mark.parametrize("ratio", ["10", (1, 2, 3)], ids=["text", "three"])
def test_refuses_other_ratios(ratio: Any) -> None:
    with pytest.raises(ValueError, match="must be a number or a pair of numbers"):
        pair_of_ratios(ratio)
