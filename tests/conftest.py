"""Shared by every test: markers that skip, and registries and global state that must not leak."""

from __future__ import annotations

import importlib.util
import signal
from collections.abc import Iterator

import pytest
import torch
from hypothesis import settings

from mm2pl.registry import Registry
from mm2pl.utils import ManagerMixin

# The same cases each time: what passes here passes in CI.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")

HAS_MMENGINE = importlib.util.find_spec("mmengine") is not None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what this machine cannot run, with the reason in the summary."""
    missing = {
        "gpu": None if torch.cuda.is_available() else "needs a CUDA device",
        "parity": None if HAS_MMENGINE else "needs mmengine==0.10.7 (extra: parity)",
    }
    for item in items:
        for mark, reason in missing.items():
            if reason and item.get_closest_marker(mark):
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(autouse=True)
def _restored_registries() -> Iterator[None]:
    """Take back what a test registers; mm2pl's own, which is imported once, stays."""
    before = {r: (dict(r.module_dict), dict(r._children)) for r in list(Registry._all)}
    yield
    for registry, (modules, children) in before.items():
        registry._module_dict.clear()
        registry._module_dict.update({**getattr(registry, "_own", {}), **modules})
        registry._children.clear()
        registry._children.update(children)


@pytest.fixture(autouse=True)
def _kept_signal_handlers() -> Iterator[None]:
    """Fail where a test leaves a handler: with Lightning's, no forked process of a later test ends by SIGTERM."""
    watched = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
    before = [signal.getsignal(number) for number in watched]
    yield
    left = [signal.getsignal(number) for number in watched]
    for number, handler in zip(watched, before, strict=True):
        signal.signal(number, handler)
    assert left == before


@pytest.fixture(autouse=True, scope="session")
def _no_instances_of_the_collection() -> None:
    """Forget what importing the tests has made: a logger writes to the stream of the moment it is made in."""
    for cls in _managed(ManagerMixin):
        cls._instance_dict.clear()


@pytest.fixture(autouse=True)
def _restored_instances() -> Iterator[None]:
    """Take back the loggers, hubs, visualizers and scopes that a test makes."""
    yield from _without_new_instances()


@pytest.fixture(autouse=True, scope="module")
def _restored_instances_of_the_file() -> Iterator[None]:
    """Take back those that a file's own fixtures make."""
    yield from _without_new_instances()


def _without_new_instances() -> Iterator[None]:
    before = {cls: cls._instance_dict.copy() for cls in _managed(ManagerMixin)}
    yield
    for cls in _managed(ManagerMixin):
        kept = before.get(cls, {})
        for name, instance in cls._instance_dict.items():
            if name not in kept:
                for handler in getattr(instance, "handlers", ()):
                    handler.close()
        cls._instance_dict.clear()
        cls._instance_dict.update(kept)


def _managed(cls: type) -> list[type]:
    return [cls, *(found for sub in cls.__subclasses__() for found in _managed(sub))]
