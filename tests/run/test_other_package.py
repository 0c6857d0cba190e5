"""Objects of `pytorch_lightning`, which has the same classes as `lightning.pytorch` once more."""

from __future__ import annotations

import sys
import types
from typing import Any

import lightning.pytorch as right
import pytest

import mm2pl
from mm2pl.hooks import EMAHook, IterTimerHook
from mm2pl.lightning import MMDataModule, RunCallback
from mm2pl.lightning.trainer import make_trainer
from mm2pl.run.facade import RunnerFacade
from mm2pl.run.other_package import KINDS
from tests.bridges import QUIET, module


@pytest.fixture
def other(monkeypatch: Any) -> Any:
    """Install the other package: empty classes of its names, its Trainer made of the right one."""
    package: Any = types.ModuleType("pytorch_lightning")
    for kind in KINDS:
        setattr(package, kind, type(kind, (), {}))
    package.Trainer = type("Trainer", (right.Trainer,), {})
    monkeypatch.setitem(sys.modules, "pytorch_lightning", package)
    return package


def in_callbacks(other: Any, *callbacks: Any) -> None:
    trainer = other.Trainer(**{**QUIET, "enable_checkpointing": True}, callbacks=list(callbacks))
    for callback in callbacks:
        callback.setup(trainer, right.LightningModule(), "fit")


def in_data(other: Any) -> None:
    data = MMDataModule()
    data.trainer = other.Trainer(**QUIET)
    data.setup("fit")


DOORS: dict[str, Any] = {
    "hook in a Trainer": (lambda other: in_callbacks(other, IterTimerHook()), "Trainer"),
    "hooks in a Trainer": (lambda other: in_callbacks(other, EMAHook(), IterTimerHook()), "Trainer"),
    "run in a Trainer": (lambda other: in_callbacks(other, RunCallback("work")), "Trainer"),
    "callback of a run": (lambda other: make_trainer({"callbacks": [other.Callback()]}, RunCallback("w")), "Callback"),
    "model": (lambda other: mm2pl.run.model.build_model(other.LightningModule()), "LightningModule"),
    "data module": (in_data, "Trainer"),
}  # fmt: skip


@pytest.mark.parametrize(("meet", "kind"), DOORS.values(), ids=DOORS)
def test_doors_name_the_right_import(other: Any, meet: Any, kind: str) -> None:
    message = f"{kind} is a {kind} of the package pytorch_lightning, and .* → from lightning.pytorch import {kind}"
    with pytest.raises(TypeError, match=message):
        meet(other)


def test_a_hook_of_a_runner(other: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr("mm2pl.run.building.hook_of", lambda hook, priority: other.Callback())
    with pytest.raises(TypeError, match="Callback is a Callback of the package pytorch_lightning"):
        RunnerFacade.register_hook(object.__new__(RunnerFacade), {"type": "Mine"})


def test_a_module_warns_when_it_is_made(other: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(mm2pl, "FOUND_LIGHTNING", False)
    with pytest.warns(UserWarning, match="pytorch_lightning is imported, whose Trainer takes no"):
        module()


@pytest.mark.parametrize("imported", ["both", "lightning"])
def test_a_module_is_silent_otherwise(other: Any, monkeypatch: Any, imported: str) -> None:
    monkeypatch.setattr(mm2pl, "FOUND_LIGHTNING", imported == "both")
    if imported == "lightning":
        monkeypatch.delitem(sys.modules, "pytorch_lightning")
    assert module().lr == 0.1
