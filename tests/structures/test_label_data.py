"""Labels and one-hot vectors."""

from __future__ import annotations

import pytest
import torch

from mm2pl.structures import LabelData


@pytest.mark.parametrize(
    ("onehot", "label"), [([0, 1, 0], [1]), ([1, 0, 1], [0, 2]), ([0, 0], [])], ids=repr
)
def test_there_and_back(onehot, label):
    found = LabelData.onehot_to_label(torch.tensor(onehot))
    assert found.tolist() == label
    assert LabelData.label_to_onehot(found, len(onehot)).tolist() == onehot


@pytest.mark.parametrize("wrong", [[[1]], [2, 0], [-1, 0]], ids=["2-dim", "large", "negative"])
def test_what_is_not_one_hot(wrong):
    with pytest.raises(ValueError, match="input is not one-hot and can not convert to label"):
        LabelData.onehot_to_label(torch.tensor(wrong))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: LabelData.onehot_to_label([1]), "onehot should be a tensor"),
        (lambda: LabelData.label_to_onehot([1], 2), "label should be a tensor"),
        (lambda: LabelData.label_to_onehot(torch.tensor([2]), 2), "does not fit into 2 classes"),
    ],
    ids=["list", "list label", "too large"],
)
def test_wrong_arguments(call, message):
    with pytest.raises(AssertionError, match=message):
        call()
