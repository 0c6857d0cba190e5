from __future__ import annotations

import numpy as np
import pytest
import torch

from mm2pl.run.metric_rule import infer_rule, score_of


@pytest.mark.parametrize(
    ("key", "rule"),
    [("acc", "greater"), ("ACC/top1", "greater"), ("val_loss", "less"), ("loss_acc", "greater")],
)
def test_infer_rule(key, rule):
    assert infer_rule(key) == rule


def test_own_keys_come_first_when_equal():
    assert infer_rule("acc", greater_keys=["ac"], less_keys=["Acc"]) == "less"


@pytest.mark.parametrize(
    "value",
    ["high", "0.5", b"1", [0.5], {}, torch.tensor([1.0, 2.0]), np.ones(1), object()],
    ids=repr,
)
def test_what_cannot_be_compared_is_named(value):
    with pytest.raises(
        TypeError, match=r"metric 'acc' is .* → to be compared it must be one number"
    ):
        score_of("acc", {"acc": value})
