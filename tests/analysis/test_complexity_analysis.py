from __future__ import annotations

import pytest
import torch
from torch import nn

from mm2pl.analysis import (
    ActivationAnalyzer,
    FlopAnalyzer,
    activation_count,
    flop_count,
    get_model_complexity_info,
    parameter_count_table,
)


class Call(nn.Module):
    """A function as a model."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, *inputs):
        return self.function(*inputs)


def einsum(equation):
    return Call(lambda *inputs: torch.einsum(equation, *inputs))


OPERATORS = {
    "linear": (nn.Linear(6, 3), [(5, 6)], {"linear": 5 * 6 * 3}, {"linear": 15}),
    "grouped conv": (
        nn.Conv2d(4, 8, 3, groups=2),
        [(2, 4, 5, 5)],
        {"conv": 2 * 9 * 8 * 2 * 9},
        {"conv": 2 * 8 * 9},
    ),
    "transposed conv": (
        nn.ConvTranspose2d(8, 4, 2, stride=2),
        [(1, 8, 6, 6)],
        {"conv": 36 * 8 * 4 * 4},
        {"conv": 4 * 144},
    ),
    "addmm": (Call(torch.addmm), [(2, 4), (2, 3), (3, 4)], {"addmm": 24}, {"addmm": 8}),
    "bmm": (Call(torch.bmm), [(2, 3, 4), (2, 4, 5)], {"bmm": 120}, {"bmm": 30}),
    "matmul of vectors": (Call(torch.matmul), [(7,), (7,)], {"matmul": 7}, {"matmul": 1}),
    "einsum": (einsum("abc, abd -> acd"), [(2, 3, 4), (2, 3, 5)], {"einsum": 120}, {"einsum": 40}),
    "einsum of three": (
        einsum("ij,jk,kl->il"),
        [(2, 3), (3, 4), (4, 5)],
        {"einsum": 2 * 3 * 4 + 2 * 4 * 5},
        {"einsum": 10},
    ),
    "batch norm": (nn.BatchNorm2d(4), [(1, 4, 3, 3)], {"batch_norm": 5 * 36}, {}),
    "frozen batch norm": (nn.BatchNorm2d(4).eval(), [(1, 4, 3, 3)], {"batch_norm": 2 * 36}, {}),
    "layer norm without weight": (
        nn.LayerNorm(6, elementwise_affine=False),
        [(5, 6)],
        {"layer_norm": 4 * 30},
        {},
    ),
    "bilinear": (
        nn.Upsample(scale_factor=2, mode="bilinear"),
        [(1, 4, 3, 3)],
        {"upsample_bilinear2d": 4 * 4 * 36},
        {},
    ),
    "pooling": (nn.AdaptiveAvgPool2d(2), [(1, 4, 6, 6)], {"adaptive_avg_pool2d": 144}, {}),
}


@pytest.mark.parametrize(
    ("model", "shapes", "flops", "activations"), OPERATORS.values(), ids=OPERATORS.keys()
)
def test_one_operator(model, shapes, flops, activations):
    inputs = tuple(map(torch.ones, shapes))
    assert FlopAnalyzer(model, inputs).by_operator() == flops
    assert ActivationAnalyzer(model, inputs).by_operator() == activations


def test_counts_in_units():
    model = nn.Sequential(nn.Linear(6, 3), nn.Sigmoid())
    flops, not_counted = flop_count(model, (torch.ones(5, 6),))
    assert (flops, not_counted) == ({"linear": 90 / 1e9}, {"aten::sigmoid": 1})
    activations, _ = activation_count(
        model, (torch.ones(5, 6),), {"aten::sigmoid": lambda inputs, outputs: 7}
    )
    assert activations == {"linear": 15 / 1e6, "sigmoid": 7 / 1e6}
    assert activations["nothing"] == 0


def test_a_trace_and_a_run_count_the_same():
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(128, 4))
    info = get_model_complexity_info(model.eval(), (3, 6, 6))
    inputs = torch.ones(1, 3, 6, 6)
    assert info["flops"] == FlopAnalyzer(model, inputs).total() > 0
    assert info["activations"] == ActivationAnalyzer(model, inputs).total() > 0


def test_table_of_parameters():
    model = nn.Sequential(nn.Sequential(nn.Linear(30, 10, bias=False)))
    assert parameter_count_table(model).splitlines() == [
        "name          | #elements or shape",
        "--------------+-------------------",
        "model         | 0.3K",
        " 0            |  0.3K",
        "  0.0         |   0.3K",
        "   0.0.weight |    (10, 30)",
    ]
    assert len(parameter_count_table(model, max_depth=1).splitlines()) == 4
