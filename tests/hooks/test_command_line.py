"""Every hook as a callback in LightningCLI's YAML: its arguments are typed, and its help shows them."""

from __future__ import annotations

import inspect
from typing import Any

import jsonargparse
import pytest
from lightning.pytorch import Callback

from mm2pl import hooks
from mm2pl.hooks import EMAHook, Hook
from mm2pl.lightning import RunCallback
from mm2pl.model import ExponentialMovingAverage, MomentumAnnealingEMA

CALLBACKS = {
    name: kind
    for name, kind in [*vars(hooks).items(), ("RunCallback", RunCallback)]
    if isinstance(kind, type) and issubclass(kind, Callback)
}


def arguments_of(kind: type) -> set[str]:
    """Return the names of a class's own arguments."""
    if kind.__init__ is Hook.__init__:
        return set()
    named = inspect.signature(kind.__init__).parameters.values()
    return {each.name for each in named if each.kind is not each.VAR_KEYWORD} - {"self"}


@pytest.mark.parametrize("name", CALLBACKS)
def test_the_help_shows_every_argument(name: str) -> None:
    parser = jsonargparse.ArgumentParser()
    parser.add_class_arguments(CALLBACKS[name], "hook", fail_untyped="all")
    said = parser.format_help()
    assert {a for a in arguments_of(CALLBACKS[name]) if f"--hook.{a}" not in said} == set()
    assert "Unvalidated" not in said


def parsed(*options: str) -> Any:
    parser = jsonargparse.ArgumentParser(exit_on_error=False)
    parser.add_argument("--callbacks", type=list[Callback])
    return parser.instantiate(parser.parse_args(list(options))).callbacks[0]


GIVEN: dict[str, dict[str, Any]] = {
    "exponential": {"momentum": 0.01, "interval": 2, "update_buffers": True},
    "annealing": {"ema_type": "MomentumAnnealingEMA", "gamma": 7, "device": "cpu"},
    "none": {},
}


@pytest.mark.parametrize("given", GIVEN.values(), ids=GIVEN)
def test_an_average_takes_what_is_given(given: dict[str, Any]) -> None:
    options = [f"--callbacks.{name}={value}" for name, value in given.items()]
    hook = parsed("--callbacks+=mm2pl.hooks.EMAHook", *options)
    assert isinstance(hook, EMAHook)
    assert hook.ema_cfg == {"type": "ExponentialMovingAverage"} | {
        {"ema_type": "type"}.get(name, name): value for name, value in given.items()
    }


@pytest.mark.parametrize("average", [ExponentialMovingAverage, MomentumAnnealingEMA])
def test_the_averages_arguments_are_the_hooks(average: type) -> None:
    assert arguments_of(average) - {"model"} <= arguments_of(EMAHook)


def test_a_misspelt_argument_is_refused() -> None:
    with pytest.raises(jsonargparse.ArgumentError, match="momentom"):
        parsed("--callbacks+=mm2pl.hooks.EMAHook", "--callbacks.momentom=0.1")


def test_a_run_takes_nested_overrides() -> None:
    options = ("--callbacks.work_dir=w", "--callbacks.default_hooks.logger.interval=5")
    run = parsed("--callbacks+=mm2pl.lightning.RunCallback", *options)
    assert run.settings["default_hooks"] == {"logger": {"interval": 5}}
