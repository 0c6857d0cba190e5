from __future__ import annotations

import inspect
from types import SimpleNamespace

import pytest
from lightning.pytorch import Callback

import mm2pl.hooks
from mm2pl.hooks import Hook
from mm2pl.registry import HOOKS
from mm2pl.run.points import GENERIC, STAGES

BUILT_IN = [value for value in vars(mm2pl.hooks).values() if inspect.isclass(value)]


@pytest.mark.parametrize("hook", BUILT_IN, ids=lambda hook: hook.__name__)
def test_every_built_in_hook(hook):
    """A contract by introspection: a new hook is covered the day it is added."""
    assert issubclass(hook, Callback)
    assert hook is Hook or HOOKS.get(hook.__name__) is hook
    for point in STAGES:
        base = list(inspect.signature(getattr(Hook, point)).parameters)
        assert list(inspect.signature(getattr(hook, point)).parameters) == base
    assert hook.__doc__


@pytest.mark.parametrize("point", GENERIC)
def test_generic_fallback(point):
    seen = {}

    class Fallback(Hook):
        pass

    def method(self, runner, **kwargs):
        seen.update(kwargs, runner=runner)

    setattr(Fallback, GENERIC[point], method)
    kwargs = {"batch_idx": 3} if point.endswith("iter") else {}
    getattr(Fallback(), point)("runner", **kwargs)
    assert seen["mode"] == point.split("_")[1]
    assert seen["runner"] == "runner"
    assert seen.get("batch_idx") == kwargs.get("batch_idx")


@pytest.mark.parametrize(
    ("count", "n", "start", "due"),
    [
        (0, 1, 0, True),
        (1, 3, 0, False),
        (2, 3, 0, True),
        (4, 3, 2, True),
        (0, 3, 2, False),
        (1, 3, 2, True),
        (5, 0, 0, False),
        (5, -1, 0, False),
    ],
)
def test_every_n(count, n, start, due):
    runner = SimpleNamespace(epoch=count, iter=count)
    assert Hook().every_n_epochs(runner, n, start) is due
    assert Hook().every_n_train_iters(runner, n, start) is due
    if start == 0:
        assert Hook().every_n_inner_iters(count, n) is due


def test_ends():
    runner = SimpleNamespace(epoch=1, max_epochs=2, iter=3, max_iters=5)
    hook = Hook()
    assert hook.is_last_train_epoch(runner)
    assert not hook.is_last_train_iter(runner)
    assert hook.end_of_epoch([1, 2], 1)
    assert not hook.end_of_epoch([1, 2], 0)
    assert not hook.end_of_epoch(iter([1]), 0)
