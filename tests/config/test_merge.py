from __future__ import annotations

import copy
from collections import OrderedDict, UserList
from typing import Any

import pytest

from mm2pl.config import ConfigDict
from mm2pl.config.lazy import LazyObject
from mm2pl.config.merge import ListIndexError, MergeError, copy_tree, merge_dicts

MERGES: dict[str, tuple[dict, dict, dict]] = {
    "new over old": ({"a": 1}, {"a": 2, "b": 3}, {"a": 1, "b": 3}),
    "nested": ({"a": {"x": 1}}, {"a": {"y": 2}}, {"a": {"y": 2, "x": 1}}),
    "delete": ({"a": {"_delete_": True, "x": 1}}, {"a": {"y": 2}}, {"a": {"x": 1}}),
    "delete inside a delete stays": (
        {"a": {"_delete_": True, "x": {"_delete_": True, "z": 1}}},
        {"a": {"y": 2}},
        {"a": {"x": {"_delete_": True, "z": 1}}},
    ),
    "delete over a list": ({"a": {"_delete_": True, "x": 1}}, {"a": [1]}, {"a": {"x": 1}}),
    "nothing to delete": ({"a": {"_delete_": True}}, {}, {"a": {"_delete_": True}}),
    "no delete": ({"a": {"_delete_": False, "x": 1}}, {"a": {"y": 2}}, {"a": {"y": 2, "x": 1}}),
    "list over dict": ({"a": [1]}, {"a": {"y": 2}}, {"a": [1]}),
    "None over dict": ({"a": None}, {"a": {"y": 2}}, {"a": None}),
}


@pytest.mark.parametrize("kind", [dict, ConfigDict])
@pytest.mark.parametrize(("new", "base", "expected"), MERGES.values(), ids=MERGES)
def test_merge_dicts(kind: type, new: dict, base: dict, expected: dict) -> None:
    before = copy.deepcopy(new), copy.deepcopy(base)
    result = merge_dicts(kind(new), kind(base))
    assert result == expected
    assert type(result) is kind
    assert [*result] == [*expected]
    assert (new, base) == before


@pytest.mark.parametrize(
    ("new", "base", "kind", "message"),
    [
        (
            {"a": {"b": {"c": 1}}},
            {"a": {"b": 5}},
            MergeError,
            "a.b is a dict in the child .* it is 5 of",
        ),
        (
            {"a": {"0": 1}},
            {"a": [1]},
            MergeError,
            r"a is a dict in the child .* \[1\] of type list",
        ),
    ],
)
def test_conflicts(new: dict, base: dict, kind: type, message: str) -> None:
    with pytest.raises(kind, match=message):
        merge_dicts(new, base)


@pytest.mark.parametrize(
    ("new", "base", "expected"),
    [
        ({"0": 5}, [1, 2], [5, 2]),
        ({"1": {"a": 1}}, [0, {"b": 2}], [0, {"b": 2, "a": 1}]),
        ({"1": {"_delete_": True, "a": 1}}, [0, {"b": 2}], [0, {"a": 1}]),
        ({"a": {"0": {"1": 7}}}, {"a": [[1, 2]]}, {"a": [[1, 7]]}),
    ],
)
def test_list_edits(new: dict, base: Any, expected: Any) -> None:
    assert merge_dicts(new, base, allow_list_keys=True) == expected


def test_list_edits_beyond_the_end() -> None:
    with pytest.raises(ListIndexError, match="Index 2 exceeds a, a list of 2 elements") as caught:
        merge_dicts({"a": {"2": 1}}, {"a": [1, 2]}, allow_list_keys=True)
    assert isinstance(caught.value, KeyError)


def test_lazy_values_are_not_built() -> None:
    base = ConfigDict(a=LazyObject("mm2pl_is_missing"), b={"c": 1})
    assert type(dict.get(merge_dicts({"b": {"c": 2}}, base), "a")) is LazyObject
    with pytest.raises(MergeError, match="a is a dict in the child"):
        merge_dicts({"a": {"c": 2}}, base)


def test_copy_tree() -> None:
    shared = [{"a": (1, {"b": {2}})}]
    other = UserList([1])
    tree = copy_tree({"x": shared, "y": shared, "z": OrderedDict(k=other)})
    assert tree == {"x": shared, "y": shared, "z": {"k": other}}
    assert (
        type(tree)
        is type(tree["x"][0])
        is type(tree["x"][0]["a"][1])
        is type(tree["z"])
        is ConfigDict
    )
    assert tree["x"] is not tree["y"]
    assert tree["x"][0]["a"][1]["b"] is not shared[0]["a"][1]["b"]
    assert tree["z"]["k"] is not other
