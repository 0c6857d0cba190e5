"""Every built-in hook next to MMEngine's: points, priorities, signatures; real MMEngine hooks here."""

from __future__ import annotations

import inspect

import pytest

import mm2pl.hooks
from mm2pl.run.points import STAGES, methods_by_point, overridden_stages

pytestmark = pytest.mark.parity
theirs = pytest.importorskip("mmengine.hooks")

ARGUMENTS = {"PrepareTTAHook": {"tta_cfg": {}}, "EarlyStoppingHook": {"monitor": "acc"}}
NAMES = sorted(set(theirs.__all__))


def test_same_names():
    assert set(NAMES) <= set(vars(mm2pl.hooks))


def test_same_points_in_the_same_order():
    assert theirs.Hook.stages == STAGES


@pytest.mark.parametrize("name", [name for name in NAMES if name != "NPUProfilerHook"])
def test_same_hook(name):
    arguments = ARGUMENTS.get(name, {})
    ours, other = getattr(mm2pl.hooks, name)(**arguments), getattr(theirs, name)(**arguments)
    assert set(ours.get_triggered_stages()) == set(other.get_triggered_stages())
    assert set(overridden_stages(other)) == set(other.get_triggered_stages())
    assert list(methods_by_point([other])) == overridden_stages(other)
    assert ours.priority == other.priority


@pytest.mark.parametrize("name", [name for name in NAMES if name != "NPUProfilerHook"])
def test_same_arguments_and_defaults(name):
    def arguments(cls):
        parameters = inspect.signature(cls.__init__).parameters.values()
        # What MMEngine takes by **kwargs has a name here, for LightningCLI and its help.
        return [(p.name, p.kind, p.default) for p in parameters if p.kind is not p.KEYWORD_ONLY]

    assert arguments(getattr(mm2pl.hooks, name)) == arguments(getattr(theirs, name))


@pytest.mark.parametrize("point", STAGES)
def test_same_signature_of_points(point):
    def arguments(cls):
        parameters = inspect.signature(getattr(cls, point)).parameters.values()
        return [(p.name, p.default) for p in parameters]

    assert arguments(mm2pl.hooks.Hook) == arguments(theirs.Hook)
