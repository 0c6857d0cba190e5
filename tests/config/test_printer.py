from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mm2pl.config import Config
from mm2pl.config.printer import format_config

TEXTS: dict[str, tuple[dict, str]] = {
    "empty": ({}, ""),
    "sorted top level, nested order kept": (
        {"b": {"type": "X", "a": 1}, "a": None},
        "a = None\nb = dict(type='X', a=1)\n",
    ),
    "keys that are no names": (
        {"a": {"b-c": 1, 2: [3], "class": {}}, "x": {"dict": 1}},
        "a = {'b-c': 1, 2: [3], 'class': dict()}\nx = dict(dict=1)\n",
    ),
    "empty containers": (
        {"a": [], "b": (), "c": {}, "d": set(), "e": frozenset()},
        "a = []\nb = ()\nc = dict()\nd = set()\ne = frozenset()\n",
    ),
    "tuples": ({"a": (1,), "b": (1, (2,))}, "a = (1,)\nb = (1, (2,))\n"),
    "sets are sorted": (
        {"a": {"b", "a"}, "b": frozenset({1})},
        "a = {'a', 'b'}\nb = frozenset({1})\n",
    ),
    "floats": (
        {"a": math.inf, "b": -math.inf, "c": 1e-05, "d": [math.nan]},
        "a = float('inf')\nb = float('-inf')\nc = 1e-05\nd = [float('nan')]\n",
    ),
    "macros are not written": ({"a": "{{ fileBasename }}"}, "a = '{\\x7b fileBasename }}'\n"),
    "classes": (
        {"a": {"type": torch.nn.ReLU}},
        "a = dict(type='torch.nn.modules.activation.ReLU')\n",
    ),
    "arrays": (
        {"a": np.float64(0.5), "b": np.array([1, 2]), "c": np.int64(3)},
        "a = 0.5\nb = [1, 2]\nc = 3\n",
    ),
    "paths": ({"a": Path("x/y")}, "a = 'x/y'\n"),
    "other objects": ({"a": object}, "a = 'builtins.object'\n"),
    "broken lines": (
        {"model": {"type": "A" * 40, "layers": [{"type": "B" * 30, "n": (1, 2)}] * 2}},
        "model = dict(\n"
        f"    type='{'A' * 40}',\n"
        "    layers=[\n"
        f"        dict(type='{'B' * 30}', n=(1, 2)),\n"
        f"        dict(type='{'B' * 30}', n=(1, 2)),\n"
        "    ],\n"
        ")\n",
    ),
    "long lists of leaves are filled": (
        {"a": list(range(100, 140))},
        "a = [\n"
        f"    {', '.join(str(n) for n in range(100, 119))},\n"
        f"    {', '.join(str(n) for n in range(119, 138))},\n"
        "    138, 139,\n"
        "]\n",
    ),
    "a key that hides a builtin": (
        {"dict": 1, "a": {"b": 1}, "float": math.inf},
        "a = {'b': 1}\nglobals().update({'dict': 1, 'float': float('inf')})\n",
    ),
    "a key that is no name": (
        {"a-b": 1, "c": 2, "class": {"x": 1}},
        "c = 2\nglobals().update({'a-b': 1, 'class': dict(x=1)})\n",
    ),
    "a name beyond ASCII": ({"größe": {"высота": 1}}, "größe = dict(высота=1)\n"),
    "a name that Python would change": ({"ﬁ": {"µ": 1}}, "globals().update({'ﬁ': {'µ': 1}})\n"),
}


@pytest.mark.parametrize(("values", "text"), TEXTS.values(), ids=TEXTS)
def test_text(values: dict, text: str) -> None:
    assert format_config(values) == text


def test_no_line_is_too_long() -> None:
    rows = [{f"key{i}": ["x" * 7] * i, "y": (i,) * i} for i in range(40)]
    lines = format_config({"rows": rows, "name": {"deep": {"deeper": rows}}}).splitlines()
    assert max(map(len, lines)) <= 100


names = st.text(min_size=1, max_size=8).filter(lambda s: not s.startswith("_"))
leaves = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=30)
    | st.binary(max_size=5)
    | st.sampled_from(
        ["{{ fileDirname }}", "{{$HOME:x}}", "{{_base_.a}}", "\\{{", "'\"\n", "_delete_"]
    )
)
keys = names | st.integers() | st.booleans() | st.tuples(st.integers(), st.text(max_size=3))
values = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(keys, inner, max_size=4)
        | st.sets(st.integers() | st.text(max_size=4), max_size=3)
        | st.frozensets(st.integers(), max_size=3)
    ),
    max_leaves=25,
)
reserved = {"filename", "text", "pretty_text", "env_variables"}
configs = st.dictionaries(names.filter(lambda s: s not in reserved), values, max_size=6)


def exact(value: Any) -> Any:
    """Make types comparable: 1, 1.0 and True are equal to Python, and sets have no order."""
    if isinstance(value, dict):
        return [(exact(key), exact(item)) for key, item in value.items()]
    if isinstance(value, (set, frozenset)):
        return type(value).__name__, sorted(map(repr, value))
    if isinstance(value, (list, tuple)):
        return type(value).__name__, [exact(item) for item in value]
    return repr(value)


@settings(max_examples=200, deadline=None)
@given(configs)
def test_text_loads_to_the_same(config: dict) -> None:
    cfg = Config(config)
    again = Config.fromstring(cfg.dump(), ".py")
    assert again == cfg
    assert again.dump() == cfg.dump()
    for key, value in cfg.to_dict().items():
        assert exact(again.to_dict()[key]) == exact(value)


def objects() -> Any:
    """Return data that JSON can hold."""
    simple = (
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=9)
    )
    return st.recursive(
        simple,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
        max_leaves=10,
    )


@pytest.mark.filterwarnings("ignore:The text looks like Python")  # a key such as "dict("
@settings(max_examples=100, deadline=None)
@given(st.dictionaries(names.filter(lambda s: s not in reserved), objects(), max_size=4))
def test_json_loads_to_the_same(config: dict) -> None:
    cfg = Config(config, "a text", "x.json")
    assert exact(Config.fromstring(cfg.dump(), ".json").to_dict()) == exact(cfg.to_dict())


paths = st.lists(st.sampled_from("abc"), min_size=1, max_size=3).map(".".join)


@settings(max_examples=200, deadline=None)
@given(configs, st.dictionaries(paths, leaves, max_size=4))
def test_merged_options_survive_a_dump(config: dict, options: dict) -> None:
    cfg = Config({"a": {"b": {"c": 1}}, "b": {"a": [1, {"b": 2}]}, "c": {}} | {"x": config})
    try:
        cfg.merge_from_dict(options)
    except (TypeError, KeyError):
        return  # an option that leads through a value that is no dict
    assert Config.fromstring(cfg.dump(), ".py") == cfg
    last = [*options][-1:]
    for key in last:
        found: Any = cfg
        for name in key.split("."):
            found = found[name]
        assert exact(found) == exact(options[key])
