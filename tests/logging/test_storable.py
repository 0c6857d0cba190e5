"""What a file without pickled code can hold."""

from __future__ import annotations

import enum
from collections import defaultdict, deque, namedtuple
from pathlib import Path

import numpy as np
import pytest
import torch

from mm2pl.logging.storable import NotStorableError, restore_arrays, to_storable

Point = namedtuple("Point", "x y")


class Color(enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 10


class Tone(str, enum.Enum):
    DARK = "dark"


class Text(str):
    """A subclass such as those of numpy or TorchVersion."""

    def __str__(self) -> str:
        return "something else"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (True, True),
        (2**70, 2**70),
        (np.float64(0.1), 0.1),
        (np.float32(0.5), 0.5),
        (np.bool_(True), True),
        (np.str_("a"), "a"),
        (Color.RED, "red"),
        (Level.HIGH, 10),
        (Tone.DARK, "dark"),
        (Text("x"), "x"),
        (Path("a/b"), "a/b"),
        (torch.float16, torch.float16),
        (torch.Size([1, 2]), torch.Size([1, 2])),
        (Point(1, np.int64(2)), (1, 2)),
        (deque([1], maxlen=3), [1]),
        (defaultdict(list, a=[1]), {"a": [1]}),
        (frozenset({1}), {1}),
        (range(3), [0, 1, 2]),
        (b"bytes", b"bytes"),
        ({np.int64(1): "key"}, {1: "key"}),
    ],
    ids=repr,
)
def test_values_become_built_in(value, expected):
    got, arrays = to_storable(value)
    assert got == expected
    assert type(got) is type(expected)
    assert not arrays


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6, dtype=np.uint8).reshape(2, 3),
        np.arange(3, dtype=">f8"),
        np.arange(6)[::-2],
        np.ones(2, np.float16),
        np.zeros((0, 3), bool),
        np.array(["a", "bc"]),
    ],
    ids=["uint8", "big endian", "strided", "float16", "empty", "text"],
)
def test_arrays_come_back(array):
    storable, places = to_storable({"a": (1, [array])})
    assert places == [("a", 1, 0)]
    restore_arrays(storable, [("gone", 0), ("a", 5), *places])
    back = storable["a"][1][0]
    np.testing.assert_array_equal(back, array)
    assert back.dtype == array.dtype.newbyteorder("=")


@pytest.mark.parametrize("value", [object(), len, [{"a": int}], [np.array([object()])]])
def test_what_is_not_storable(value):
    with pytest.raises(NotStorableError, match=r"^builtins\."):
        to_storable(value)


def test_entries_that_are_not_storable_can_be_left_out():
    told = []
    given = {"a": {"x": [object()], "y": 1}, "b": object()}
    assert to_storable(given, left_out=lambda *what: told.append(what))[0] == {"a": {"y": 1}}
    assert [(path, str(error)) for path, error in told] == [
        (("a", "x"), "builtins.object"),
        (("b",), "builtins.object"),
    ]


def test_tensors_on_the_cpu_are_copied_only_if_asked():
    weight = torch.ones(3)
    got = to_storable([weight, weight[1:]])[0]
    assert [t.data_ptr() for t in got] == [weight.data_ptr(), weight[1:].data_ptr()]
    first, second = to_storable([weight, weight], copy=True)[0]
    assert first is second
    assert first.data_ptr() != weight.data_ptr()


def test_module_versions_stay():
    weights = torch.nn.BatchNorm1d(2).state_dict()
    assert to_storable(weights)[0]._metadata == weights._metadata


@pytest.mark.gpu
def test_shared_device_tensors_are_moved_once():
    weight = torch.ones(3, device="cuda")
    got = to_storable({"a": weight, "b": [weight], "c": weight.clone()})[0]
    assert got["a"] is got["b"][0]
    assert got["a"] is not got["c"]
    assert got["a"].device.type == "cpu"
