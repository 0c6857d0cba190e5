from __future__ import annotations

import copy
import math
import os
import pickle
from collections import OrderedDict, UserDict, namedtuple
from typing import Any

import pytest

from mm2pl.config import ConfigDict, ConfigKeyError
from mm2pl.config.config_dict import keep_lazy
from mm2pl.config.lazy import LazyAttr, LazyObject

Pair = namedtuple("Pair", "a b")


class UserMapping(dict):
    """A dict of the user, which stays what it is."""


@pytest.mark.parametrize(
    "args",
    [
        ({"a": 1, "b": {"c": 2}},),
        ([("a", 1), ("b", {"c": 2})],),
        (("a", 1), {"b": {"c": 2}}),
        (None, {}, OrderedDict(a=1, b=OrderedDict(c=2))),
        (ConfigDict(a=1), [("b", {"c": 2})]),
    ],
    ids=["dict", "pairs", "pair", "ordered", "config dict"],
)
def test_construction(args: tuple) -> None:
    cfg = ConfigDict(*args)
    assert cfg.to_dict() == {"a": 1, "b": {"c": 2}}
    assert type(cfg.b) is ConfigDict


def test_keywords_may_be_called_self() -> None:
    assert ConfigDict(self=1, key=2) == {"self": 1, "key": 2}


def test_nested_values_are_converted() -> None:
    cfg = ConfigDict(x=[{"a": 1}, ({"b": {"c": 2}},)], y=Pair({"d": 1}, 2), z=UserMapping(e={}))
    assert cfg.x[1][0].b.c == 2
    assert (type(cfg.y), cfg.y.a.d) == (Pair, 1)
    assert type(cfg.z) is UserMapping
    assert type(cfg.z["e"]) is dict
    cfg.w = [{"a": [{"b": 1}]}]
    assert cfg.w[0].a[0].b == 1
    assert type(cfg.to_dict()["x"][1][0]["b"]) is dict


def test_missing_keys() -> None:
    cfg = ConfigDict(model=1)
    with pytest.raises(AttributeError, match=r"no attribute 'modle'\. Did you mean 'model'\?"):
        _ = cfg.modle
    with pytest.raises(ConfigKeyError, match=r"has no key 'modle'. Did you mean 'model'"):
        _ = cfg["modle"]
    with pytest.raises(KeyError, match="x"):
        del cfg.x
    assert cfg.pop("x") is None
    assert cfg.pop("x", 5) == 5
    assert cfg.get("x") is None
    assert not hasattr(cfg, "x")


def test_methods_are_not_keys() -> None:
    cfg = ConfigDict()
    with pytest.raises(AttributeError, match="'items' is a method of ConfigDict"):
        cfg.items = 1
    cfg["items"] = 1
    assert cfg["items"] == 1


def test_setdefault_returns_what_is_stored() -> None:
    cfg = ConfigDict()
    cfg.setdefault("a", {})["b"] = 1
    assert cfg == {"a": {"b": 1}}
    assert cfg.setdefault("a", 5) == {"b": 1}


@pytest.mark.parametrize(
    "merge",
    [
        lambda a, b: a.update(b) or a,
        lambda a, b: a.update(**b) or a,
        lambda a, b: a.update([*b.items()]) or a,
        lambda a, b: a | b,
        lambda a, b: a.__ior__(b),
    ],
    ids=["update", "keywords", "pairs", "or", "ior"],
)
def test_update_merges_dicts(merge: Any) -> None:
    cfg = ConfigDict(a={"x": 1, "y": [1, 2]}, b=1)
    result = merge(cfg, {"a": {"y": [3], "z": {"w": 1}}, "c": 2})
    assert result == {"a": {"x": 1, "y": [3], "z": {"w": 1}}, "b": 1, "c": 2}
    assert type(result) is type(result.a.z) is ConfigDict


def test_or_does_not_change_its_operands() -> None:
    cfg = ConfigDict(a=1)
    assert ({"b": 1, "a": 0} | cfg) == {"b": 1, "a": 1}
    assert (cfg | {"a": 2}) == {"a": 2}
    assert cfg == {"a": 1}
    nested = ConfigDict(a={"b": 1})
    assert (nested | {"a": {"c": 2}}) == {"a": {"b": 1, "c": 2}}
    assert nested == {"a": {"b": 1}}
    with pytest.raises(TypeError, match="unsupported operand"):
        _ = cfg | 5
    with pytest.raises(TypeError, match="one positional argument, got 2"):
        cfg.update({}, {})


@pytest.mark.parametrize(
    ("new", "expected"),
    [
        ({"a": {"x": 2}}, {"a": {"x": 2, "y": 1}, "b": 1}),
        ({"a": {"_delete_": True, "z": 2}}, {"a": {"z": 2}, "b": 1}),
        ({"_delete_": True, "c": 1}, {"c": 1}),
        ({"b": {"_delete_": True, "c": 1}}, {"a": {"x": 1, "y": 1}, "b": {"c": 1}}),
        ({"a": 3}, {"a": 3, "b": 1}),
    ],
    ids=["nested", "delete", "delete all", "over a number", "replace"],
)
def test_merge(new: dict, expected: dict) -> None:
    cfg = ConfigDict(a={"x": 1, "y": 1}, b=1)
    before = copy.deepcopy(new)
    cfg.merge(new)
    assert cfg == expected
    assert new == before


def test_copies() -> None:
    cfg = ConfigDict(a={"b": [1]}, c=UserDict())
    for other in (cfg.copy(), copy.copy(cfg)):
        assert other == cfg
        assert other.a is cfg.a
    deep = copy.deepcopy(cfg)
    deep.a.b.append(2)
    assert cfg.a.b == [1]
    assert type(pickle.loads(pickle.dumps(cfg)).a) is ConfigDict


@pytest.fixture
def lazy() -> ConfigDict:
    return ConfigDict(
        f=LazyObject("math", "sqrt"),
        path=LazyAttr("path", LazyObject(["os.path"])),
        nested={"g": LazyObject("math", "floor")},
    )


def test_lazy_values_are_built_when_read(lazy: ConfigDict) -> None:
    assert lazy.f is lazy["f"] is lazy.get("f") is math.sqrt
    assert lazy.nested.g is math.floor
    assert dict(**lazy)["f"] is math.sqrt
    assert dict(lazy.items())["path"] is os.path
    assert lazy.values()[0] is math.sqrt
    assert lazy.pop("f") is math.sqrt


def test_lazy_values_are_kept_while_reading(lazy: ConfigDict) -> None:
    with keep_lazy():
        assert type(lazy.f) is type(lazy["f"]) is type(lazy.get("f")) is LazyObject
        assert type(dict(lazy.items())["path"]) is LazyAttr
    assert ConfigDict.lazy is False


def test_lazy_values_survive_copies_and_become_text(lazy: ConfigDict) -> None:
    expected = {"f": "math.sqrt", "path": "os.path", "nested": {"g": "math.floor"}}
    for other in (lazy, lazy.copy(), copy.deepcopy(lazy), pickle.loads(pickle.dumps(lazy))):
        assert type(dict.get(other, "f")) is LazyObject
        assert other.to_dict() == expected
        assert other == lazy
    assert type(lazy._to_lazy_dict()["nested"]["g"]) is LazyObject


def test_equality() -> None:
    assert ConfigDict(a=1) == {"a": 1}
    assert ConfigDict(a=1) != {"a": 2}
    assert ConfigDict(a=1) != 5
    assert not ConfigDict(a=1) != ConfigDict(a=1)  # noqa: SIM202
    with pytest.raises(TypeError, match="unhashable"):
        hash(ConfigDict())


def test_deepcopy_is_a_method_too() -> None:
    head = ConfigDict(type="Head", loss={"weights": [1, {"a": 2}]})
    other = head.deepcopy()
    other.loss.weights[1].a = 3
    assert type(other) is ConfigDict
    assert head.loss.weights[1].a == 2
    assert other == {"type": "Head", "loss": {"weights": [1, {"a": 3}]}}
