from __future__ import annotations

import sys
from types import ModuleType

import pytest
import torch

from mm2pl.registry import METRICS, MODELS, Registry
from mm2pl.registry.known import UnknownNameError, require_known


class Mine(torch.nn.Module):
    """A model of the user's program, which nothing has registered."""


class Other:
    """A class that a config has no use for."""


@METRICS.register_module()
class KnownMetric:
    """Something registered that is neither a module nor an optimizer."""


class DerivedMetric(KnownMetric):
    """Only a dotted path leads to it."""


HERE = __name__


@pytest.mark.parametrize(
    "name",
    [
        *("SGD", "NoSuchNet", "mmengine.SGD", "mm2pl.ConcatDataset", "torch.nn.Linear"),
        *("torch.optim.SGD", "mmengine.model.BaseModel"),
        *(f"{HERE}.Mine", f"{HERE}.DerivedMetric"),
    ],
)
def test_what_is_registered_or_of_a_kind_with_it(name):
    before = set(sys.modules)
    assert require_known({"model": {"type": name}}, "x.pth", "do it yourself") is None
    assert set(sys.modules) - before <= {m for m in sys.modules if m.startswith("mm2pl")}


@pytest.mark.parametrize(
    "name",
    [
        *("subprocess.call", "subprocess.Popen", "os.system", "builtins.eval", "torch.hub.load"),
        *("torch.load", "numpy.load", "shutil.rmtree", "mm2pl.config.Config.fromfile"),
        *("antigravity.fly", "no.such.thing", f"{HERE}.Other", f"{HERE}.sys.exit"),
    ],
)
def test_what_a_file_must_not_choose(name):
    before = set(sys.modules)
    with pytest.raises(UnknownNameError, match=r"x\.pth: model\.0\.neck\.type='.*→ do it yourself"):
        require_known({"model": [{"neck": {"type": name}}]}, "x.pth", "do it yourself")
    assert {m for m in set(sys.modules) - before if not m.startswith("mm2pl")} == set()


@pytest.mark.parametrize("key", ["_scope_", "default_scope"])
def test_a_scope_is_that_of_an_imported_package(key):
    scoped = {"model": {key: "trustbox"}}
    with pytest.raises(UnknownNameError, match=rf"model\.{key}='trustbox'.*: import trustbox$"):
        require_known(scoped, "x.pth", "…")
    Registry("model", parent=MODELS, scope="trustbox")
    assert require_known(scoped, "x.pth", "…") is None


def test_the_line_that_the_message_gives_allows_it(monkeypatch):
    module = ModuleType("trustbox")
    module.make = lambda: None
    monkeypatch.setitem(sys.modules, "trustbox", module)
    config = {"model": {"type": "trustbox.make"}}
    with pytest.raises(UnknownNameError) as error:
        require_known(config, "x.pth", "…")
    line = str(error.value).partition("put before it: ")[2].partition(", with")[0]
    exec(line, {"MODELS": MODELS})
    assert require_known(config, "x.pth", "…") is None


def test_what_is_shared_is_looked_at_once():
    value: list = [{"type": "SGD"}]
    for _ in range(60):
        value = [value, value]
    assert require_known({"model": value}, "x.pth", "…") is None
