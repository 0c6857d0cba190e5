from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from mm2pl.analysis import get_model_complexity_info, parameter_count
from mm2pl.analysis.counter import OperationCounter


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8))
        self.up = nn.ConvTranspose2d(8, 4, 2, stride=2)
        self.head = nn.Linear(4, 10)

    def forward(self, x):
        x = functional.adaptive_avg_pool2d(self.up(self.stem(x)), 1).flatten(1)
        return self.head(x)


EXPECTED = {
    "stem": 6 * 6 * 8 * 27 + 6 * 6 * 8 * 2,
    "up": 6 * 6 * 8 * 4 * 4,
    "pool": 4 * 12 * 12,
    "head": 4 * 10,
}


def test_counts():
    info = get_model_complexity_info(Net().eval(), input_shape=(3, 6, 6))
    assert info["flops"] == sum(EXPECTED.values())
    assert info["activations"] == 8 * 36 + 4 * 144 + 10
    assert info["params"] == 3 * 8 * 9 + 8 + 16 + 8 * 4 * 4 + 4 + 50
    assert (info["flops_str"], info["params_str"]) == ("13.576K", "0.422K")
    assert " stem.0 " in info["out_table"].replace("  ", " ")
    assert "(head): Linear(" in info["out_arch"]
    assert "#params: 50, #flops: 40, #acts: 10" in info["out_arch"]


MODULES = {
    "layer norm": (nn.LayerNorm(6), (5, 6), 5 * 30),
    "layer norm without weight": (nn.LayerNorm(6, elementwise_affine=False), (5, 6), 4 * 30),
    "group norm": (nn.GroupNorm(2, 4), (4, 3, 3), 5 * 36),
    "batch norm in training": (nn.BatchNorm2d(4).train(), (4, 3, 3), 5 * 36),
    "bilinear": (nn.Upsample(scale_factor=2, mode="bilinear"), (4, 3, 3), 4 * 4 * 36),
    "nearest": (nn.Upsample(scale_factor=2), (4, 3, 3), 4 * 36),
    "grouped conv": (nn.Conv2d(4, 8, 3, groups=2, bias=False), (4, 5, 5), 9 * 8 * 2 * 9),
    "linear on tokens": (nn.Linear(6, 3), (5, 6), 5 * 6 * 3),
}


@pytest.mark.parametrize(("module", "shape", "flops"), MODULES.values(), ids=MODULES.keys())
def test_flops_of(module, shape, flops):
    module.register_parameter("for_its_device", nn.Parameter(torch.zeros(1)))
    assert get_model_complexity_info(module, shape)["flops"] == flops


def test_inputs_are_taken_as_given():
    class Sum(nn.Module):
        def forward(self, a, b):
            return a @ b

    info = get_model_complexity_info(
        Sum(), inputs=(torch.ones(2, 3, 4), torch.ones(2, 4, 5)), show_table=False, show_arch=False
    )
    assert (info["flops"], info["out_table"], info["out_arch"]) == (2 * 3 * 4 * 5, "", "")


def test_parameters_by_name():
    counts = parameter_count(Net())
    assert (counts["stem"], counts["head.bias"], counts["nothing"]) == (240, 10, 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "One of"),
        ({"input_shape": (3, 6, 6), "inputs": torch.ones(1)}, "cannot be both set"),
        ({"input_shape": [3, 6, 6]}, r"\[3, 6, 6\] → a tuple of integers"),
    ],
)
def test_mistakes(arguments, message):
    with pytest.raises(ValueError, match=message):
        get_model_complexity_info(Net(), **arguments)


_by_name = functional.scaled_dot_product_attention


class Attending(nn.Module):
    def __init__(self, attend):
        super().__init__()
        self.attend = attend

    def forward(self, x):
        return self.attend(x, key=x, value=x)


ATTENTIONS = {
    # The product is that of MMEngine 0.10.7's trace: projections, norms and the two layers behind.
    "layer in training": (nn.TransformerEncoderLayer(32, 4, 64, batch_first=True), 85_120),
    "layer": (nn.TransformerEncoderLayer(32, 4, 64, batch_first=True).eval(), 85_120),
    "function": (Attending(lambda *a, **k: functional.scaled_dot_product_attention(*a, **k)), 0),
    "function by its name": (Attending(_by_name), 0),
    "function in two products": (Attending(lambda *a, **k: _by_name(*a, dropout_p=0.1, **k)), 0),
}


@pytest.mark.parametrize(("module", "flops"), ATTENTIONS.values(), ids=ATTENTIONS.keys())
def test_an_attention_is_counted_by_itself(module, flops):
    with torch.no_grad(), OperationCounter(module) as counter:
        module(torch.zeros(1, 10, 32))
    assert (counter.flops[""], counter.attention[""]) == (flops, 2 * 10 * 10 * 32)
    assert functional.scaled_dot_product_attention is _by_name
    assert torch.backends.mha.get_fastpath_enabled()
