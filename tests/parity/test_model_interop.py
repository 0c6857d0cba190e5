"""Parts of a real MMEngine inside our models, and ours inside its."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import mm2pl.model as ours
from mm2pl.structures import InstanceData
from mm2pl.structures import is_data_element as ours_or_theirs

pytestmark = pytest.mark.parity
theirs = pytest.importorskip("mmengine.model")
structures = pytest.importorskip("mmengine.structures")
META = torch.device("meta")


def model_of(room, **kwargs):
    class Net(room.BaseModel):
        def forward(self, x, mode):
            return {"loss": x.mean()} if mode == "loss" else x

    return Net(**kwargs)


def test_their_preprocessor_is_told_where_it_is():
    model = model_of(theirs, data_preprocessor=theirs.ImgDataPreprocessor(mean=[1], std=[2]))
    around = nn.Sequential(model).to(META)
    assert model.data_preprocessor.device.type == "cpu"  # why the function is needed
    ours.set_preprocessor_device(around, META)
    assert model.data_preprocessor.device == META
    assert model.data_preprocessor.cast_data([torch.ones(1)])[0].device == META


def test_our_preprocessor_follows_their_model():
    model = model_of(theirs, data_preprocessor=ours.ImgDataPreprocessor()).to(META)
    assert model.data_preprocessor.device == META


def test_their_data_elements_are_moved():
    element = structures.InstanceData(x=torch.ones(2))
    assert ours_or_theirs(element)
    moved = ours.BaseDataPreprocessor().to(META)({"samples": [element]})["samples"][0]
    assert type(moved) is structures.InstanceData
    assert moved.x.device == META


def test_their_data_elements_may_be_fields_of_ours():
    element = InstanceData(parts=structures.InstanceData(x=torch.ones(2, requires_grad=True)))
    assert not element.detach().parts.x.requires_grad
    assert element.to_dict()["parts"]["x"] is element.parts.x


def test_their_modules_are_initialised_within_ours():
    cfg = {"type": "Constant", "layer": "Linear", "val": 3}
    net = ours.Sequential(theirs.Sequential(nn.Linear(1, 1), init_cfg=cfg))
    net.init_weights()
    assert net[0][0].weight.item() == 3
    assert net[0].is_init
