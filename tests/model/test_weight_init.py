"""Initial values: golden ones of MMEngine 0.10.7 on torch 2.13, and what a wrong config is told."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mm2pl.model import initialize, update_init_info
from mm2pl.model import weight_init as functions
from mm2pl.registry import WEIGHT_INITIALIZERS


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 3, 2)
        self.norm = nn.BatchNorm2d(3)
        self.head = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 1, bias=False))


def hexes(tensor, count=2):
    return [value.hex() for value in tensor.flatten()[:count].tolist()]


GOLDEN = {
    "constant": (
        {"type": "Constant", "val": 0.3},
        ["0x1.3333340000000p-2", "0x1.3333340000000p-2"],
        ["0x1.3333340000000p-2", "0x1.3333340000000p-2"],
    ),
    "xavier": (
        {"type": "Xavier"},
        ["-0x1.5eaf260000000p-6", "0x1.15db480000000p-3"],
        ["-0x1.5b72840000000p-2", "-0x1.8f0f4c0000000p-2"],
    ),
    "xavier uniform": (
        {"type": "Xavier", "gain": 2, "distribution": "uniform"},
        ["-0x1.16022e0000000p+0", "-0x1.0697660000000p-1"],
        ["-0x1.0372ac0000000p+1", "0x1.81e5de0000000p+0"],
    ),
    "normal": (
        {"type": "Normal", "mean": 0.5, "std": 0.01},
        ["0x1.ff4e900000000p-2", "0x1.0232580000000p-1"],
        ["0x1.fbbea20000000p-2", "0x1.fb1cd00000000p-2"],
    ),
    "truncated normal": (
        {"type": "TruncNormal", "std": 0.02, "a": -0.03, "b": 0.01},
        ["-0x1.e4ca3a0000000p-6", "-0x1.ddf56e0000000p-7"],
        ["-0x1.4c3d760000000p-6", "0x1.2c3a300000000p-9"],
    ),
    "uniform": (
        {"type": "Uniform", "a": -1, "b": 3},
        ["-0x1.f724c00000000p-1", "0x1.049b800000000p-4"],
        ["-0x1.bba8c00000000p-2", "0x1.086f7e0000000p+1"],
    ),
    "kaiming": (
        {"type": "Kaiming"},
        ["-0x1.c4bb380000000p-6", "0x1.66b61a0000000p-3"],
        ["-0x1.2ce5f20000000p-1", "-0x1.59988c0000000p-1"],
    ),
    "kaiming uniform": (
        {
            "type": "Kaiming",
            "a": 0.1,
            "mode": "fan_in",
            "nonlinearity": "leaky_relu",
            "distribution": "uniform",
        },
        ["-0x1.b563780000000p-1", "-0x1.9d22060000000p-2"],
        ["-0x1.3c2e3a0000000p+0", "0x1.d647ec0000000p-1"],
    ),
    "caffe2": (
        {"type": "Caffe2Xavier"},
        ["-0x1.36d2ae0000000p-1", "-0x1.25960a0000000p-2"],
        ["-0x1.c160860000000p-1", "0x1.4e328a0000000p-1"],
    ),
}


@pytest.mark.parametrize("cfg", GOLDEN.values(), ids=GOLDEN)
def test_values(cfg):
    cfg, conv, head = cfg
    torch.manual_seed(3)
    net = Net()
    initialize(net, {"layer": ["Conv2d", "Linear"], **cfg})
    assert hexes(net.conv.weight) == conv
    assert hexes(net.head[1].weight) == head


@pytest.mark.parametrize(
    ("layer", "changed"),
    [
        ("Conv2d", {"conv"}),
        ("_ConvNd", {"conv"}),  # a direct base
        ("Module", {"head.0", "head.1"}),  # but no base of a base
        (["BatchNorm2d", "Linear"], {"norm", "head.0", "head.1"}),
        ("Conv3d", set()),
        (None, set()),
    ],
    ids=repr,
)
def test_layers_are_chosen_by_their_class_or_a_direct_base(layer, changed):
    net = Net()
    initialize(net, {"type": "Constant", "val": 7, "bias": 8, "layer": layer})
    hit = {
        name
        for name, m in net.named_modules()
        if getattr(m, "weight", None) is not None and (m.weight == 7).all()
    }
    assert hit == changed
    biases = {
        name
        for name, m in net.named_modules()
        if getattr(m, "bias", None) is not None and (m.bias == 8).all()
    }
    assert biases == changed - {"head.1"}


def test_several_dicts_are_applied_in_order():
    net = Net()
    initialize(
        net,
        [
            {"type": "Constant", "val": 1, "layer": ["Conv2d", "Linear"]},
            {"type": "Constant", "val": 2, "layer": "Linear"},
        ],
    )
    assert net.conv.weight.unique().tolist() == [1.0]
    assert net.head[0].weight.unique().tolist() == [2.0]


@pytest.mark.parametrize(
    ("override", "values"),
    [
        ({"name": "norm"}, {"conv": 1.0, "norm": 1.0, "head": 1.0}),
        ({"name": "head", "type": "Constant", "val": 5}, {"conv": 1.0, "head": 5.0}),
        (
            [
                {"name": "head", "type": "Constant", "val": 5},
                {"name": "norm", "type": "Constant", "val": 6},
            ],
            {"conv": 1.0, "norm": 6.0, "head": 5.0},
        ),
    ],
    ids=["same initializer", "own type", "two"],
)
def test_overrides_initialise_a_part_as_a_whole(override, values):
    net = Net()
    nn.init.zeros_(net.norm.weight)
    cfg = {"type": "Constant", "val": 1, "layer": ["Conv2d", "Linear"], "override": override}
    kept = {**cfg}
    initialize(net, cfg)
    assert cfg == kept
    for name, value in values.items():
        part = getattr(net, name)
        weight = part[1].weight if name == "head" else part.weight
        assert weight.unique().tolist() == [value]


def test_the_bias_may_follow_from_a_probability():
    layer = nn.Linear(1, 1)
    initialize(layer, {"type": "Normal", "layer": "Linear", "bias_prob": 0.01})
    assert torch.sigmoid(layer.bias).item() == pytest.approx(0.01)


@pytest.mark.parametrize(
    ("cfg", "error", "message"),
    [
        ("Normal", TypeError, "init_cfg must be a dict or a list of dict, but got <class 'str'>"),
        ({"type": "Norml"}, KeyError, "Norml"),
        ({"type": "Normal", "bias": "0"}, TypeError, "bias must be a number, but got a .*str"),
        ({"type": "Normal", "bias_prob": 1}, TypeError, "bias_prob type must be float, .*int"),
        ({"type": "Normal", "layer": ("Linear",)}, TypeError, "layer must be a str or a list"),
        ({"type": "Normal", "override": "head"}, TypeError, "override must be a dict or a list"),
        (
            {"type": "Normal", "override": {"std": 1}},
            ValueError,
            '`override` must contain .*"name"',
        ),
        ({"type": "Normal", "override": {"name": "head", "std": 1}}, ValueError, 'need "type" key'),
        (
            {"type": "Normal", "override": {"name": "neck"}},
            RuntimeError,
            r"did not have attribute neck, .*it has \['conv', 'norm', 'head'\]",
        ),
        (
            {"type": "Xavier", "layer": "Linear", "distribution": "even"},
            AssertionError,
            "distribution='even': 'uniform' or 'normal' is accepted",
        ),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_a_wrong_config_is_told(cfg, error, message):
    with pytest.raises(error, match=message):
        initialize(Net(), cfg)


@pytest.mark.parametrize(
    "call",
    [
        lambda m: functions.constant_init(m, 1),
        functions.xavier_init,
        functions.normal_init,
        functions.trunc_normal_init,
        functions.uniform_init,
        functions.kaiming_init,
        functions.caffe2_xavier_init,
    ],
)
def test_modules_without_parameters_are_passed_over(call):
    before = torch.get_rng_state()
    call(nn.ReLU())
    call(nn.BatchNorm2d(2, affine=False))
    assert torch.equal(before, torch.get_rng_state())


def test_cut_off_values_stay_inside():
    tensor = functions.trunc_normal_(torch.empty(1000), mean=1.0, std=2.0, a=0.0, b=1.5)
    assert tensor.min() >= 0
    assert tensor.max() <= 1.5


def test_an_unlikely_cut_is_told():
    with pytest.warns(UserWarning, match=r"mean=9 is more than 2 std=1 outside of \[-2, 2\]"):
        functions.trunc_normal_(torch.empty(1), mean=9, std=1, a=-2, b=2)


@pytest.mark.parametrize(
    ("cfg", "info"),
    [
        ({"type": "Constant", "val": 1}, "ConstantInit: val=1, bias=0"),
        ({"type": "Xavier"}, "XavierInit: gain=1, distribution=normal, bias=0"),
        ({"type": "Normal", "bias": 2}, "NormalInit: mean=0, std=1, bias=2"),
        ({"type": "TruncNormal"}, "TruncNormalInit: a=-2, b=2, mean=0, std=1, bias=0"),
        ({"type": "Uniform"}, "UniformInit: a=0, b=1, bias=0"),
        (
            {"type": "Kaiming"},
            "KaimingInit: a=0, mode=fan_out, nonlinearity=relu, distribution =normal, bias=0",
        ),
        (
            {"type": "Caffe2Xavier"},
            "Caffe2XavierInit: a=1, mode=fan_in, nonlinearity=leaky_relu, distribution =uniform, bias=0",
        ),
        ({"type": "Pretrained", "checkpoint": "a.pth"}, "PretrainedInit: load from a.pth"),
    ],
    ids=lambda value: value["type"] if isinstance(value, dict) else "",
)
def test_the_log_says_how_values_came_about(cfg, info):
    assert WEIGHT_INITIALIZERS.build(cfg)._get_init_info() == info


def test_notes_need_a_running_initialisation():
    with pytest.raises(AssertionError, match="Can not find `_params_init_info`"):
        update_init_info(nn.Linear(1, 1), init_info="by hand")


@pytest.fixture
def checkpoint(tmp_path):
    path = tmp_path / "backbone.pth"
    weights = {"weight": torch.full((1, 2), 5.0), "bias": torch.tensor([6.0])}
    prefixed = {f"backbone.{name}": value + 1 for name, value in weights.items()}
    torch.save({"state_dict": {**weights, **prefixed}}, path)
    return str(path)


@pytest.mark.parametrize(
    ("prefix", "value"), [(None, 5.0), ("backbone.", 6.0)], ids=["all", "prefix"]
)
def test_pretrained_loads_a_file(checkpoint, prefix, value):
    layer = nn.Linear(2, 1)
    initialize(layer, {"type": "Pretrained", "checkpoint": checkpoint, "prefix": prefix})
    assert layer.weight.unique().tolist() == [value]
