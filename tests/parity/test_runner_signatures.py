"""The arguments of the two runners next to MMEngine's."""

from __future__ import annotations

import inspect

import pytest

import mm2pl.runner as ours

theirs = pytest.importorskip("mmengine.runner")
pytestmark = pytest.mark.parity

DICTS = {"env_cfg", "randomness"}
"""Arguments whose default is a dict in MMEngine 0.10.7, which all runs share; here it is None."""


def parameters(runners, name):
    signature = inspect.signature(getattr(runners, name))
    return {n: p for n, p in signature.parameters.items() if n != "trainer"}


@pytest.mark.parametrize("name", ["Runner", "FlexibleRunner"])
def test_same_names_kinds_and_defaults(name):
    mine, other = parameters(ours, name), parameters(theirs, name)
    assert list(mine) == list(other)
    assert {n for n in other if mine[n].default != other[n].default} == DICTS
    assert all(mine[n].kind is other[n].kind for n in other)
