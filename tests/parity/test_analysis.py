from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from mm2pl import analysis as ours

pytestmark = pytest.mark.parity


class Block(nn.Module):
    """Most of the operators that are counted, a shared layer, and one that nobody calls."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1, groups=1), nn.BatchNorm2d(8))
        self.norm = nn.GroupNorm(2, 8)
        self.up = nn.ConvTranspose2d(8, 8, 2, stride=2)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.head = nn.ModuleList([nn.Linear(8, 8), nn.LayerNorm(8)])
        self.again = self.head[0]
        self.unused = nn.Linear(2, 2)

    def forward(self, x):
        x = functional.gelu(self.norm(self.conv(x)))
        x = functional.interpolate(self.up(x), scale_factor=2, mode="nearest")
        x = functional.adaptive_avg_pool2d(x, 4).flatten(2).transpose(1, 2)
        x = x + self.attention(x, x, x)[0]
        x = self.head[1](self.head[0](x)) @ torch.ones(8, 8)
        return torch.einsum("nij,nkj->nik", self.again(x), x).sigmoid()


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("mode", ["owner", "caller"])
@pytest.mark.parametrize("kind", ["FlopAnalyzer", "ActivationAnalyzer"])
def test_by_module_and_operator(kind, mode, training):
    theirs = pytest.importorskip("mmengine.analysis")
    model, inputs = Block().train(training), torch.ones(2, 3, 8, 8)
    expected = getattr(theirs, kind)(model, inputs).ancestor_mode(mode)
    actual = getattr(ours, kind)(model, inputs).ancestor_mode(mode)
    assert actual.by_module_and_operator() == expected.by_module_and_operator()
    assert actual.by_module() == expected.by_module()
    assert actual.uncalled_modules() == expected.uncalled_modules()
    for name, _ in model.named_modules():
        assert actual.unsupported_ops(name) == expected.unsupported_ops(name)
    assert actual.total() > 0


@pytest.mark.parametrize(
    ("equation", "shapes"),
    [
        ("abc,abd->acd", [(2, 3, 4), (2, 3, 5)]),
        ("abc,adc->adb", [(2, 3, 4), (2, 5, 4)]),
        ("bhid,bhjd->bhij", [(2, 3, 4, 5), (2, 3, 6, 5)]),
        ("i,j->ij", [(3,), (4,)]),
        ("ij,jk,kl->il", [(2, 3), (3, 4), (4, 5)]),
        ("...i,ij->...j", [(2, 3), (3, 4)]),
    ],
)
def test_einsum(equation, shapes):
    theirs = pytest.importorskip("mmengine.analysis")

    class Einsum(nn.Module):
        def forward(self, *inputs):
            return torch.einsum(equation, *inputs)

    inputs = tuple(map(torch.ones, shapes))
    assert ours.flop_count(Einsum(), inputs) == theirs.flop_count(Einsum(), inputs)


class Inner(nn.Module):
    """A module with one child that counts the same, so that their rows become one."""

    def __init__(self):
        super().__init__()
        self.only = nn.Sequential(nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 4)), nn.ReLU())

    def forward(self, x):
        return self.only(x)


PRINTED = {
    "many operators": (Block, (2, 3, 8, 8)),
    "one chain": (Inner, (2, 8)),
    "a root with one child": (lambda: nn.Sequential(Inner()), (2, 8)),
    "nothing to count": (nn.ReLU, (2, 8)),
}


@pytest.mark.parametrize("acts", [False, True], ids=["flops", "activations"])
@pytest.mark.parametrize("name", PRINTED)
def test_printed_statistics(name, acts, monkeypatch):
    theirs = pytest.importorskip("mmengine.analysis")
    printing = pytest.importorskip("mmengine.analysis.print_helper")
    build, shape = PRINTED[name]
    model, inputs = build(), torch.ones(shape)

    def analyzers(package):
        return (
            package.FlopAnalyzer(model, inputs),
            package.ActivationAnalyzer(model, inputs) if acts else None,
        )

    text = ours.print_helper.complexity_stats_str(*analyzers(ours))
    assert text == printing.complexity_stats_str(*analyzers(theirs))
    # MMEngine's table is cut to the terminal's width; ours is never.
    monkeypatch.setenv("COLUMNS", "300")
    for depth, shapes in [(3, True), (1, False), (0, True)]:
        tables = []
        for package, module in ((ours, ours.print_helper), (theirs, printing)):
            flops, activations = analyzers(package)
            table = module.complexity_stats_table(flops, depth, activations, shapes)
            rows = [line.strip("| ").split("|") for line in table.splitlines() if "+-" not in line]
            tables.append([[cell.strip() for cell in row] for row in rows if row != [""]])
        assert [[*filter(None, row)] for row in tables[0]] == [
            [*filter(None, row)] for row in tables[1]
        ]
