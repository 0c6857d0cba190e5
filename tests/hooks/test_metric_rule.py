from __future__ import annotations

import pytest

from mm2pl.hooks.metric_rule import infer_rule


@pytest.mark.parametrize(
    ("key", "rule"),
    [("acc", "greater"), ("ACC/top1", "greater"), ("val_loss", "less"), ("loss_acc", "greater")],
)
def test_infer_rule(key, rule):
    assert infer_rule(key) == rule


def test_own_keys_come_first_when_equal():
    assert infer_rule("acc", greater_keys=["ac"], less_keys=["Acc"]) == "less"
