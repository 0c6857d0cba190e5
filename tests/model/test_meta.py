"""Parameters without values: what keeps its value, what is shared, and who is refused."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mm2pl.model.meta import give_memory, parameters_on_meta, refuse_meta


class Tied(nn.Module):
    """Three layers with one weight, which is marked, a bias that is not trained, and a buffer that is in no file."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(2, 2) for _ in range(3))
        weight = nn.Parameter(torch.eye(2))
        weight.share = 3
        self.layers[0].weight = self.layers[1].weight = weight
        self.layers[2].weight = self.layers[0].weight
        self.layers[0].bias = nn.Parameter(torch.ones(2), requires_grad=False)
        self.layers[1].bias = None
        self.register_buffer("mean", torch.ones(2), persistent=False)


def test_parameters_lose_their_values_and_nothing_else() -> None:
    with parameters_on_meta():
        made = Tied()
    weights = [layer.weight for layer in made.layers]
    assert all(parameter.is_meta for parameter in made.parameters())
    assert [weight is weights[0] for weight in weights] == [True] * 3
    assert (weights[0].share, made.layers[0].bias.requires_grad) == (3, False)
    assert made.mean.tolist() == [1, 1]
    assert not nn.Linear(1, 1).weight.is_meta


def test_memory_is_given_in_place() -> None:
    with parameters_on_meta():
        made = Tied()
    weight, optimizer = made.layers[0].weight, torch.optim.SGD(made.parameters(), lr=1)
    give_memory(weight, torch.device("cpu"))
    assert not weight.is_meta
    assert made.layers[2].weight is optimizer.param_groups[0]["params"][0] is weight
    assert (weight.shape, weight.share, weight.requires_grad) == ((2, 2), 3, True)


def test_a_model_without_values_is_refused() -> None:
    with torch.device("meta"):
        model = nn.Linear(2, 2)
    with pytest.raises(ValueError, match=r"weight, bias on the meta device, .*meta_init=True"):
        refuse_meta(model)
    refuse_meta(nn.Linear(2, 2))
