"""Several versions of a batch, one prediction per sample."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mm2pl.model import BaseModel, BaseTTAModel
from mm2pl.registry import MODELS
from mm2pl.structures import BaseDataElement


class Sums(BaseModel):
    def forward(self, inputs, data_samples, mode):
        pairs = zip(inputs, data_samples, strict=True)
        return [BaseDataElement(score=x.sum(), name=sample.name) for x, sample in pairs]


class Mean(BaseTTAModel):
    def merge_preds(self, data_samples_list):
        return [(v[0].name, float(sum(s.score for s in v) / len(v))) for v in data_samples_list]


INPUTS = [[torch.ones(1), torch.ones(2)], [torch.ones(3), torch.ones(4)]]
SAMPLES = [[BaseDataElement(name=n) for n in "ab"], [BaseDataElement(name=n) for n in "ab"]]


@pytest.mark.parametrize(
    "batch",
    [{"inputs": INPUTS, "data_samples": SAMPLES}, (INPUTS, SAMPLES), [INPUTS, SAMPLES]],
    ids=["dict", "tuple", "list"],
)
def test_versions_are_predicted_and_merged(batch):
    assert Mean(Sums()).test_step(batch) == [("a", 2.0), ("b", 3.0)]


def test_the_model_is_built_and_the_config_kept():
    MODELS.register_module(module=Sums)
    cfg = {"type": "Sums"}
    tta = Mean(cfg, data_preprocessor={"type": "ImgDataPreprocessor", "pad_size_divisor": 8})
    assert tta.module.data_preprocessor.pad_size_divisor == 8
    assert cfg == {"type": "Sums"}


class Half(Sums):
    def forward(self, inputs, data_samples, mode):
        return super().forward(inputs, data_samples, mode)[: int(inputs[0].numel())]


@pytest.mark.parametrize(
    ("act", "error", "message"),
    [
        (lambda: Mean(3), TypeError, "should be a `nn.Module` instance or a dict, but got 3"),
        (lambda: Mean(nn.Linear(1, 1)), AssertionError, "Linear has no test_step"),
        (
            lambda: Mean(Sums()).test_step("ab"),
            TypeError,
            "dict, tuple or list, but got <class 'str",
        ),
        (lambda: Mean(Half()).test_step((INPUTS, SAMPLES)), ValueError, r"\[1, 2\] predictions"),
        (lambda: Mean(Sums())(1), NotImplementedError, "Please call `test_step` instead"),
        (lambda: BaseTTAModel(Sums()), TypeError, "merge_preds"),
    ],
    ids=["number", "no test_step", "batch", "unequal", "forward", "abstract"],
)
def test_wrong_use_is_told(act, error, message):
    with pytest.raises(error, match=message):
        act()
