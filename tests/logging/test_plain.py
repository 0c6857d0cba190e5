from __future__ import annotations

import enum

import numpy as np
import pytest
import torch

from mm2pl.logging.plain import NotPlainError, from_plain, to_plain


class Color(str, enum.Enum):
    RED = "red"


class Special(dict):
    pass


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.float32(0.5), 0.5),
        (np.bool_(True), True),
        (Special(a=Special(b=1)), {"a": {"b": 1}}),
        ((1, [2, {3}]), (1, [2, {3}])),
        (frozenset([1]), {1}),
        (torch.Size([2]), (2,)),
        (Color.RED, "red"),
        (torch.float16, torch.float16),
        (None, None),
    ],
    ids=repr,
)
def test_plain(value: object, expected: object) -> None:
    plain = to_plain(value)
    assert plain == expected
    assert type(plain) is type(expected)
    assert from_plain(plain) == expected


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float16, np.float64, bool])
def test_arrays_come_back(dtype: type) -> None:
    array = np.arange(6).reshape(2, 3)[:, ::-1].astype(dtype)
    back = from_plain(to_plain([array]))[0]
    assert back.dtype == dtype
    assert back.tolist() == array.tolist()


@pytest.mark.parametrize("value", [object(), lambda: 0, {"a": object}, [np.array([object()])]])
def test_not_plain(value: object) -> None:
    with pytest.raises(NotPlainError, match="is no plain data"):
        to_plain(value)
