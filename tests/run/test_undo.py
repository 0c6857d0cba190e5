"""A start that fails leaves nothing behind."""

from __future__ import annotations

import os
import random
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mm2pl.dist import init_dist, is_distributed
from mm2pl.registry import MODELS, DefaultScope
from mm2pl.run.undo import undone_on_failure
from mm2pl.runner import Runner
from mm2pl.utils import ManagerMixin

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


def managed(cls: type = ManagerMixin) -> list[Any]:
    return [cls, *(found for sub in cls.__subclasses__() for found in managed(sub))]


def state() -> dict[str, Any]:
    """Return all that a start may change in the process."""
    return {
        "instances": {cls.__name__: list(cls._instance_dict) for cls in managed()},
        "random": (random.getstate(), str(np.random.get_state()), torch.get_rng_state().tolist()),
        "flags": (
            torch.backends.cudnn.benchmark,
            torch.backends.cudnn.deterministic,
            torch.get_deterministic_debug_mode(),
        ),
        "places": (os.getcwd(), list(sys.path), dict(os.environ)),
        "distributed": is_distributed(),
    }


FAILURES = {
    "scope": {"default_scope": "mmnothing", "model": {"type": "Nothing"}},
    "model": {"model": {"type": "Nothing"}},
    "hook": {"custom_hooks": [{"type": "NoHook"}]},
    "visualizer": {"visualizer": {"type": "NoVisualizer"}},
    "import": {"cfg": {"custom_imports": {"imports": ["no_such_module"]}}},
}


@undone_on_failure()
def start(**options: Any) -> None:
    Runner(**options)


@pytest.mark.parametrize("name", FAILURES)
def test_a_failed_start_leaves_nothing_behind(name: str, tmp_path: Path) -> None:
    MODELS.register_module(name="Known", module=torch.nn.Identity)
    options: dict[str, Any] = {"model": torch.nn.Linear(1, 1), "experiment_name": name}
    options |= {
        "env_cfg": {"cudnn_benchmark": True},
        "randomness": {"seed": None, "deterministic": True},
    }
    before = state()
    with pytest.raises(Exception, match=r"mmnothing|Nothing|NoHook|NoVisualizer|no_such_module"):
        start(work_dir=str(tmp_path), log_level="ERROR", **{**options, **FAILURES[name]})
    assert state() == before
    assert isinstance(MODELS.build({"type": "Known"}), torch.nn.Identity)


def test_places_and_processes_are_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setenv("MASTER_PORT", "0")
    before = state()

    @undone_on_failure()
    def begin() -> None:
        init_dist("pytorch", backend="gloo")
        assert is_distributed()
        os.chdir(tmp_path)
        sys.path.insert(0, str(tmp_path))
        os.environ.update(MASTER_PORT="29501", MM2PL_TEST="1")
        raise ValueError("later")

    with pytest.raises(ValueError, match="later"):
        begin()
    assert state() == before


def test_a_start_that_succeeds_stays() -> None:
    with undone_on_failure():
        DefaultScope.get_instance("stays", scope_name="mm2pl")
        torch.manual_seed(4)
    assert DefaultScope.get_current_instance().instance_name == "stays"
    assert torch.initial_seed() == 4


def test_an_older_current_instance_is_current_again() -> None:
    DefaultScope.get_instance("older", scope_name="mm2pl")

    @undone_on_failure()
    def begin() -> None:
        DefaultScope.get_instance("newer", scope_name="mmnothing")
        raise KeyError("x")

    with pytest.raises(KeyError, match="x"):
        begin()
    assert DefaultScope.get_current_instance().instance_name == "older"
