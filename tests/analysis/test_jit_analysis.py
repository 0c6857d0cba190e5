from __future__ import annotations

import warnings
from collections import Counter

import numpy as np
import pytest
import torch
from torch import nn

from mm2pl.analysis import FlopAnalyzer
from mm2pl.analysis.jit_analysis import JitModelAnalysis
from mm2pl.analysis.jit_handles import linear_flop_jit


class Shared(nn.Module):
    """One layer under two names, one that is called by hand, one that is not used, a list."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(3, 3)
        self.second = self.first
        self.part = nn.Sequential(nn.Linear(3, 2))
        self.unused = nn.Linear(9, 9)
        self.listed = nn.ModuleList([nn.Linear(2, 4)])

    def forward(self, x):
        x = self.part[0](self.second(self.first(x))) + 1
        return self.listed[0](x)


@pytest.fixture
def analysis():
    return FlopAnalyzer(Shared(), torch.ones(1, 3)).unsupported_ops_warnings(False)


@pytest.mark.parametrize(
    ("mode", "part", "uncalled"),
    [("owner", 6, {"unused"}), ("caller", 0, {"unused", "part", "listed"})],
)
def test_modules(analysis, mode, part, uncalled):
    analysis.uncalled_modules_warnings(False).ancestor_mode(mode)
    assert analysis.by_module() == {
        "": 18 + 6 + 8,
        "first": 18,
        "part": part,
        "part.0": 6,
        "unused": 0,
        "listed": 8 if mode == "owner" else 0,
        "listed.0": 8,
    }
    assert analysis.uncalled_modules() == uncalled
    assert analysis.total("second") == 18
    assert analysis.canonical_module_name("second") == "first"
    assert analysis.by_module_and_operator()["part.0"] == Counter(linear=6)


def test_what_is_not_counted_is_said(monkeypatch):
    said = []
    monkeypatch.setattr(
        "mm2pl.analysis.jit_analysis.print_log", lambda message, **_: said.append(message)
    )
    analysis = FlopAnalyzer(Shared(), torch.ones(1, 3)).ancestor_mode("caller")
    with pytest.raises(RuntimeError, match="known after a result"):
        analysis.unsupported_ops()
    analysis.total()
    assert analysis.unsupported_ops() == {"aten::add": 1}
    assert said[0] == "Unsupported operator aten::add encountered 1 time(s)"
    # A list has no forward; part has one.
    assert said[1].startswith("Modules that were never called: part, unused. ")
    assert len(said) == 2


def test_handles(analysis):
    analysis.uncalled_modules_warnings(False)
    assert analysis.total() == 32
    assert analysis.set_op_handle("aten::add", lambda i, o: Counter(mine=100)).total() == 132
    assert analysis.set_op_handle("aten::linear", None).by_operator() == {"mine": 100}
    assert analysis.unsupported_ops() == {}
    assert analysis.clear_op_handles().total() == 0
    assert analysis.unsupported_ops() == {"aten::add": 1, "aten::linear": 4}
    assert analysis.set_op_handle(**{"aten::linear": linear_flop_jit}).total() == 32


def test_a_copy_keeps_the_settings_and_is_another(analysis):
    other = analysis.set_op_handle("aten::add", None).copy(new_inputs=torch.ones(2, 3))
    other.uncalled_modules_warnings(False).set_op_handle("aten::linear", None)
    assert (other.total(), other.unsupported_ops()) == (0, {})
    assert analysis.uncalled_modules_warnings(False).total() == 32
    assert analysis.copy(new_model=nn.Linear(3, 5)).total() == 15


def test_the_hooks_are_taken_back(analysis):
    analysis.uncalled_modules_warnings(False).total()
    assert all(not m._forward_pre_hooks and not m._forward_hooks for m in analysis._model.modules())


def test_a_data_parallel_model():
    wrapped = nn.DataParallel(nn.Sequential(nn.Linear(3, 2))).cpu()
    analysis = FlopAnalyzer(wrapped, torch.ones(1, 3))
    assert analysis.by_module() == {"": 6, "module": 6, "module.0": 6}
    assert analysis.uncalled_modules() == set()


class Noisy(nn.Module):
    def forward(self, x):
        warnings.warn("noise", RuntimeWarning, stacklevel=1)
        return x if x.sum() > 0 else -x


@pytest.mark.parametrize(
    ("mode", "shown"),
    [
        ("all", {RuntimeWarning, torch.jit.TracerWarning}),
        ("no_tracer_warning", {RuntimeWarning}),
        ("none", set()),
    ],
)
def test_warnings_of_the_trace(mode, shown):
    analysis = FlopAnalyzer(Noisy(), torch.ones(1, 3)).unsupported_ops_warnings(False)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        analysis.tracer_warnings(mode).total()
    assert {warning.category for warning in caught} & {
        RuntimeWarning,
        torch.jit.TracerWarning,
    } == shown


@pytest.mark.parametrize(
    ("use", "kind", "message"),
    [
        (lambda a: a.tracer_warnings("some"), ValueError, "warning mode some: choose from"),
        (lambda a: a.ancestor_mode("mother"), ValueError, "mother: choose 'owner' or 'caller'"),
        (lambda a: a.set_op_handle("aten::add"), TypeError, "takes pairs of a name and a handle"),
        (lambda a: a.total("nowhere"), KeyError, "the analyzed model has no module 'nowhere'"),
        (lambda a: a.total(1), AssertionError, "must be a string, but got 1"),
        (
            lambda a: a.set_op_handle("aten::linear", lambda i, o: np.int32(1)).total(),
            ValueError,
            r"Invalid type <class 'numpy.int32'> for the count of aten::linear",
        ),
    ],
    ids=["warnings", "ancestors", "handles", "module", "name", "overflow"],
)
def test_mistakes(use, kind, message):
    with pytest.raises(kind, match=message):
        use(JitModelAnalysis(nn.Linear(3, 2), torch.ones(1, 3)))
