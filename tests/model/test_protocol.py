"""What counts as a model, whoever wrote its base class."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mm2pl.model import (
    BaseModel,
    BaseTTAModel,
    has_own_train_step,
    is_mm_model,
    set_preprocessor_device,
)


class Plain(BaseModel):
    def forward(self, x, mode):
        return x


class Own(Plain):
    def train_step(self, data, optim_wrapper):
        return {}


class ByHand(nn.Module):
    """MMEngine's Runner takes any module with the three steps."""

    def train_step(self, data, optim_wrapper):
        return {}

    def val_step(self, data):
        return data

    test_step = val_step


class Tta(BaseTTAModel):
    def merge_preds(self, data_samples_list):
        return data_samples_list


@pytest.mark.parametrize(
    ("module", "model", "own"),
    [
        (Plain(), True, False),
        (Own(), True, True),
        (ByHand(), True, True),
        (Tta(Plain()), True, False),
        (nn.Linear(1, 1), False, False),
        ("model", False, False),
    ],
    ids=["plain", "own step", "by hand", "tta", "module", "string"],
)
def test_models_are_recognised(module, model, own):
    assert is_mm_model(module) is model
    assert has_own_train_step(module) is own


def test_remembered_devices_are_brought_up_to_date():
    class Remembers(nn.Module):
        """As MMEngine's BaseDataPreprocessor does."""

        def __init__(self):
            super().__init__()
            self._device = torch.device("cpu")

    old, model = Remembers(), Plain()
    set_preprocessor_device(nn.ModuleList([old, model]), torch.device("meta"))
    assert old._device.type == "meta"
    assert model.data_preprocessor.device.type == "cpu"
