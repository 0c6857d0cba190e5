"""Recomputed activations: same values, same gradients."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mm2pl.model import turn_on_activation_checkpointing


class Counted(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.5))
        self.calls = 0

    def forward(self, x, scale=1.0):
        self.calls += 1
        x = x[0] if isinstance(x, list) else x
        return self.layers(x) * scale


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.body, self.neck = Counted(), Counted(), Counted()

    def forward(self, x):
        return self.neck([self.body(self.stem(x))], scale=2.0)


def gradients(parts):
    torch.manual_seed(0)
    net = Net()
    if parts:
        turn_on_activation_checkpointing(net, parts)
    net(torch.ones(2, 3)).sum().backward()
    return {name: param.grad for name, param in net.named_parameters()}, net


@pytest.mark.parametrize("part", ["stem", "body", "neck", ["stem", "body", "neck"]], ids=str)
def test_gradients_are_the_same_and_activations_are_recomputed(part):
    expected, _ = gradients(None)
    found, net = gradients(part)
    assert all(torch.equal(found[name], gradient) for name, gradient in expected.items())
    parts = [part] if isinstance(part, str) else part
    assert {name: net.get_submodule(name).calls for name in ("stem", "body", "neck")} == {
        name: 2 if name in parts else 1 for name in ("stem", "body", "neck")
    }


def test_without_gradients_nothing_is_computed_twice():
    net = Net().eval()
    turn_on_activation_checkpointing(net, "stem")
    with torch.no_grad():
        net(torch.ones(2, 3))
    assert net.stem.calls == 1


def test_an_unknown_part_is_told():
    with pytest.raises(AttributeError, match="head"):
        turn_on_activation_checkpointing(Net(), "head")
