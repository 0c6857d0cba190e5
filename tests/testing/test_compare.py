from __future__ import annotations

import math
import sys

import numpy as np
import pytest
import torch
from torch import nn

from mm2pl import testing


@pytest.mark.parametrize(
    ("actual", "expected", "arguments", "close"),
    [
        (torch.ones(2), torch.ones(2, dtype=torch.float64), {}, True),
        ([1.0, math.nan], np.array([1.0, math.nan]), {}, True),
        ([math.nan], [math.nan], {"equal_nan": False}, False),
        (1.0, 1.00009, {}, True),
        (1.0, 1.0002, {}, False),
        (1.0, 1.0002, {"rtol": 0.0, "atol": 1e-3}, True),
        (torch.tensor(2), torch.tensor(3), {}, False),
        (torch.ones(2), torch.ones(1, 2), {}, False),
    ],
)
def test_assert_allclose(actual, expected, arguments, close):
    if close:
        testing.assert_allclose(actual, expected, **arguments)
        return
    with pytest.raises(AssertionError, match=r"not (close|equal)|do not match"):
        testing.assert_allclose(actual, expected, **arguments)


def test_assert_allclose_with_a_message_of_ones_own():
    with pytest.raises(AssertionError, match=r"^mine$"):
        testing.assert_allclose(1, 2, msg="mine")


@pytest.mark.parametrize(
    ("whole", "part", "expected"),
    [
        ({"a": 1, "b": (4, 6)}, {"b": (4, 6)}, True),
        ({"a": 1, "b": (4, 6)}, {"b": (6, 4)}, False),
        ({"a": 1}, {"b": None}, False),
        ({"a": np.array([1, 2])}, {"a": np.array([1, 2])}, True),
        ({"a": np.array([1, 2])}, {"a": np.array([1, 3])}, False),
        ({"a": torch.tensor([5, 3])}, {"a": torch.tensor([[5, 3], [1, 2]])}, False),
        ({"a": torch.tensor([5, 3])}, {"a": None}, False),
    ],
)
def test_contains(whole, part, expected):
    assert testing.assert_dict_contains_subset(whole, part) is expected
    assert testing.assert_attrs_equal(type("Holder", (), whole), part) is expected


def test_keys():
    assert testing.assert_dict_has_keys({"a": 1, "b": 2}, ["a"])
    assert not testing.assert_dict_has_keys({"a": 1}, ["a", "b"])
    assert testing.assert_keys_equal(["a", "b"], ["b", "a"])
    assert not testing.assert_keys_equal(["a"], ["a", "b"])


@pytest.mark.parametrize(
    ("layer", "is_norm", "is_zero"),
    [
        (nn.BatchNorm2d(2), True, False),
        (nn.GroupNorm(1, 2), True, False),
        (nn.init.zeros_(nn.Linear(2, 2, bias=False).weight), False, None),
        (nn.Conv2d(1, 1, 1), False, False),
    ],
    ids=["batch", "group", "tensor", "conv"],
)
def test_layers(layer, is_norm, is_zero):
    assert testing.assert_is_norm_layer(layer) is is_norm
    if is_zero is not None:
        assert testing.assert_params_all_zeros(layer) is is_zero
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)
        assert testing.assert_params_all_zeros(layer)
        nn.init.ones_(layer.bias)
        assert not testing.assert_params_all_zeros(layer)


def test_check_python_script(tmp_path, capsys):
    script = tmp_path / "hello.py"
    script.write_text("import sys\nprint('hello', *sys.argv[1:], __name__)")
    before = list(sys.argv)
    testing.check_python_script(f"python {script} a b")
    testing.check_python_script(f"{script}")
    assert capsys.readouterr().out == "hello a b __main__\nhello __main__\n"
    assert sys.argv == before
