"""Every public name of MMEngine's model and structures packages is here, with the same arguments."""

from __future__ import annotations

import inspect
from importlib import import_module

import pytest

pytestmark = pytest.mark.parity
pytest.importorskip("mmengine")

MODULES = [
    "model",
    "model.averaged_model",
    "model.base_model",
    "model.base_model.base_model",
    "model.base_model.data_preprocessor",
    "model.base_module",
    "model.efficient_conv_bn_eval",
    "model.test_time_aug",
    "model.utils",
    "model.weight_init",
    "model.wrappers",
    "model.wrappers.distributed",
    "model.wrappers.fully_sharded_distributed",
    "model.wrappers.seperate_distributed",
    "model.wrappers.utils",
    "structures",
    "structures.base_data_element",
    "structures.instance_data",
    "structures.label_data",
    "structures.pixel_data",
]


def own_names(module):
    """Return the public classes and functions that belong to a module of MMEngine."""
    listed = getattr(module, "__all__", None)
    return [
        name
        for name, value in vars(module).items()
        if (inspect.isclass(value) or inspect.isfunction(value))
        and not name.startswith("_")
        and (name in listed if listed is not None else value.__module__ == module.__name__)
    ]


NAMES = [
    (module, name) for module in MODULES for name in own_names(import_module(f"mmengine.{module}"))
]


def arguments(function):
    """Return names, kinds and defaults."""
    return [
        (p.name, p.kind, "a registry" if "registry" in p.name else repr(p.default))
        for p in inspect.signature(function).parameters.values()
        if p.name != "self"
    ]


def own_methods(cls):
    """Return the public methods and the constructor that a class of MMEngine's defines, its bases included."""
    return {
        name: value
        for base in reversed(cls.__mro__)
        if base.__module__.startswith("mmengine")
        for name, value in vars(base).items()
        if inspect.isfunction(value) and (not name.startswith("_") or name == "__init__")
    }


INHERITED = {"to", "cuda", "cpu", "musa", "npu", "mlu"}
"""MMEngine overrides them to remember the device of its preprocessors; ours are nn.Module's."""


@pytest.mark.parametrize(("module", "name"), NAMES, ids=str)
def test_the_name_is_here_and_takes_the_same(module, name):
    theirs = getattr(import_module(f"mmengine.{module}"), name)
    ours = getattr(import_module(f"mm2pl.{module}"), name)
    if inspect.isfunction(theirs):
        assert arguments(ours) == arguments(theirs)
        return
    is_module = issubclass(theirs, import_module("torch").nn.Module)
    for method, function in own_methods(theirs).items():
        if not (is_module and method in INHERITED) and not is_static(theirs, method):
            assert arguments(getattr(ours, method)) == arguments(function), method


def is_static(cls, name):
    return isinstance(inspect.getattr_static(cls, name), staticmethod)
