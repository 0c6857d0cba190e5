"""Fused pairs give what the pair gives."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mm2pl.model import turn_on_efficient_conv_bn_eval
from mm2pl.model.efficient_conv_bn_eval import efficient_conv_bn_eval_control


class Backbone(nn.Module):
    """Two pairs, one convolution with two users, one norm behind no convolution."""

    def __init__(self, bias=True, affine=True):
        super().__init__()
        self.norm0 = nn.BatchNorm2d(2)
        self.conv1, self.norm1 = nn.Conv2d(2, 3, 3, bias=bias), nn.BatchNorm2d(3, affine=affine)
        self.conv2, self.norm2 = nn.Conv2d(3, 3, 1, bias=bias), nn.BatchNorm2d(3, affine=affine)
        self.conv3, self.norm3 = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)

    def forward(self, x):
        x = self.norm1(self.conv1(self.norm0(x)))
        x = self.norm2(self.conv2(x).clone() if x is None else self.conv2(x))
        once = self.conv3(x)
        return self.norm3(once) + once


@pytest.fixture
def model(request):
    torch.manual_seed(0)
    net = nn.ModuleDict({"backbone": Backbone(**getattr(request, "param", {}))})
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    return net


def calls(net):
    return [n.target for n in net.forward.__self__.graph.nodes if n.op.startswith("call_")]


OPTIONS = [{}, {"bias": False}, {"affine": False}, {"bias": False, "affine": False}]


@pytest.mark.parametrize("model", OPTIONS, ids=str, indirect=True)
def test_eval_mode_gives_the_same(model):
    x = torch.randn(2, 2, 5, 5)
    expected = model.eval()["backbone"](x)
    turn_on_efficient_conv_bn_eval(model, "backbone")
    assert torch.allclose(model["backbone"](x), expected, atol=1e-5)
    assert calls(model["backbone"]).count(efficient_conv_bn_eval_control) == 2


def test_training_mode_gives_the_very_same(model):
    x = torch.randn(2, 2, 5, 5)
    turn_on_efficient_conv_bn_eval(model, ["backbone"])
    result = model.train()["backbone"](x)
    torch.manual_seed(0)
    other = Backbone()
    other.load_state_dict(model["backbone"].state_dict())
    for module in other.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
    assert torch.equal(result, other.train()(x))


def test_weights_are_trained_while_fused(model):
    turn_on_efficient_conv_bn_eval(model, "backbone")
    model.eval()["backbone"](torch.randn(2, 2, 5, 5)).sum().backward()
    assert all(param.grad is not None for param in model.parameters())


def test_an_unknown_part_is_told(model):
    with pytest.raises(AttributeError, match="neck"):
        turn_on_efficient_conv_bn_eval(model, "neck")
