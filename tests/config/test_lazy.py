from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest

from mm2pl.config.errors import ConfigImportError, ConfigModuleNotFoundError, ConfigParsingError
from mm2pl.config.lazy import LazyAttr, LazyObject

nn = LazyObject("torch.nn")
OBJECTS: dict[str, tuple[Any, str, str, str, str]] = {
    # object, module, text, dotted path, built object's name
    "from a import b": (
        LazyObject("torch.nn", "ReLU"),
        "torch.nn",
        "ReLU",
        "torch.nn.ReLU",
        "ReLU",
    ),
    "import a.b as c": (nn, "torch.nn", "torch.nn", "torch.nn", "torch.nn"),
    "import a.b": (LazyObject(["torch.nn", "torch.optim"]), "torch", "torch", "torch", "torch"),
    "c.d": (nn.ReLU, "torch.nn", "ReLU", "torch.nn.ReLU", "ReLU"),
    "a.b.d": (
        LazyObject(["torch.nn"]).nn.ReLU,
        *("torch.nn", "ReLU", "torch.nn.ReLU", "ReLU"),
    ),
    "b.d": (
        LazyObject("torch", "nn").functional.relu,
        *("torch.nn.functional", "relu", "torch.nn.functional.relu", "relu"),
    ),
    "mmengine is mm2pl": (
        LazyObject("mmengine.config", "ConfigDict"),
        *("mmengine.config", "ConfigDict", "mmengine.config.ConfigDict", "ConfigDict"),
    ),
}


@pytest.mark.parametrize(
    ("lazy", "module", "text", "dotted", "name"), OBJECTS.values(), ids=OBJECTS
)
def test_objects(lazy: Any, module: str, text: str, dotted: str, name: str) -> None:
    for each in (lazy, copy.copy(lazy), copy.deepcopy(lazy), pickle.loads(pickle.dumps(lazy))):
        assert (each.module, str(each), each.dotted_path) == (module, text, dotted)
        assert each.build().__name__ == name


def test_mmengine_names_build_ours() -> None:
    assert LazyObject("mmengine.config", "Config").build().__module__ == "mm2pl.config.config"
    assert LazyObject("mmengine").build().__name__ == "mm2pl"


@pytest.mark.parametrize(
    ("lazy", "kind", "message"),
    [
        (
            LazyObject("mm2pl_no_such", "x", "a.py, line 3"),
            ConfigModuleNotFoundError,
            "Failed to import mm2pl_no_such in a.py, line 3",
        ),
        (
            LazyObject("math", "sqr", "a.py, line 3"),
            ConfigImportError,
            "Failed to import sqr from math in a.py, line 3 Did you mean 'sqrt'",
        ),
        (
            LazyAttr("sqr", LazyObject("math"), "a.py"),
            ConfigImportError,
            "Failed to import sqr from math in a.py",
        ),
    ],
    ids=["module", "name", "attribute"],
)
def test_failures_name_the_file(lazy: Any, kind: type, message: str) -> None:
    with pytest.raises(kind, match=message):
        lazy.build()


def test_attributes_remember_the_file() -> None:
    lazy = LazyObject("a.b", location="/x/a.py, line 5")
    assert lazy.c.location == lazy.c.d.location == "/x/a.py"
    with pytest.raises(AttributeError, match=r"LazyObject a.b has no '__len__'"):
        _ = lazy.__len__


@pytest.mark.parametrize("lazy", [LazyObject("torch.nn", "ReLU", "a.py, line 1"), nn.ReLU])
def test_calls_are_refused(lazy: Any) -> None:
    with pytest.raises(ConfigParsingError, match=r"Write dict\(type=ReLU, ...\)"):
        lazy(inplace=True)


@pytest.mark.parametrize(
    ("args", "message"), [((5,), "module=5"), ((["a", 5],), "module="), (("a", 5), "imported=5")]
)
def test_construction_is_checked(args: tuple, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        LazyObject(*args)
