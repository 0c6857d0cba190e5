"""Comparisons for tests; those named ``assert_…`` return a bool, as MMEngine's do, except :func:`assert_allclose`."""

from __future__ import annotations

import runpy
import shlex
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch import nn

_NORM_LAYERS = (
    nn.modules.batchnorm._BatchNorm,
    nn.modules.instancenorm._InstanceNorm,
    nn.GroupNorm,
    nn.LayerNorm,
)
_TOLERANCES = {
    torch.float16: (1e-3, 1e-3),
    torch.float32: (1e-4, 1e-5),
    torch.float64: (1e-5, 1e-8),
}
"""``(rtol, atol)`` of ``torch.testing.assert_allclose``, which torch deprecates; other dtypes: equal."""


def assert_allclose(
    actual: object,
    expected: object,
    rtol: float | None = None,
    atol: float | None = None,
    equal_nan: bool = True,
    msg: str | Callable | None = "",
) -> None:
    """Fail if numbers, arrays or tensors differ by more than ``atol + rtol * |expected|``; dtypes may differ.

    Args:
        actual: What the code gave.
        expected: What it should have given.
        rtol: Relative tolerance; only together with ``atol``.
        atol: Absolute tolerance; by default both follow from the dtypes, the coarser one counts.
        equal_nan: Whether NaN equals NaN.
        msg: Replaces the message.

    Raises:
        AssertionError: They differ, or their shapes do.
        ValueError: Only one of the tolerances is given.

    >>> assert_allclose([1.0, float("nan")], torch.tensor([1.0 + 1e-6, float("nan")]))
    """
    actual, expected = torch.as_tensor(actual), torch.as_tensor(expected)
    if rtol is None and atol is None:
        known = [_TOLERANCES.get(each.dtype, (0.0, 0.0)) for each in (actual, expected)]
        rtol, atol = (max(values) for values in zip(*known, strict=True))
    torch.testing.assert_close(
        actual,
        expected,
        rtol=rtol,
        atol=atol,
        equal_nan=equal_nan,
        # As torch's older function, which MMEngine 0.10.7 calls.
        check_dtype=False,
        check_stride=False,
        # torch would print an empty message as it is: nothing.
        msg=msg or None,
    )


def check_python_script(cmd: str) -> None:
    """Run a script in this process, so that coverage tools see it.

    ``cmd`` is ``"[python] script.py arguments"``, quoted as for a shell.
    """
    arguments = shlex.split(cmd)
    if arguments[0] == "python":
        arguments = arguments[1:]
    # Restored even if the script ends by SystemExit.
    with patch.object(sys, "argv", arguments):
        runpy.run_path(arguments[0], run_name="__main__")


def assert_dict_contains_subset(dict_obj: Mapping, expected_subset: Mapping) -> bool:
    """Return whether ``dict_obj`` has all entries of ``expected_subset``, arrays and tensors compared as a whole.

    >>> assert_dict_contains_subset({"a": 1, "b": torch.ones(2)}, {"b": torch.ones(2)})
    True
    """
    return all(
        key in dict_obj and _same(dict_obj[key], expected_subset[key]) for key in expected_subset
    )


def assert_attrs_equal(obj: object, expected_attrs: Mapping[str, Any]) -> bool:
    """Return whether ``obj`` has all attributes of ``expected_attrs`` with these values."""
    return all(
        hasattr(obj, name) and _same(getattr(obj, name), value)
        for name, value in expected_attrs.items()
    )


def assert_dict_has_keys(obj: Mapping[str, Any], expected_keys: Iterable[str]) -> bool:
    """Return whether ``obj`` has all keys of ``expected_keys``."""
    return set(expected_keys) <= set(obj)


def assert_keys_equal(result_keys: Iterable[str], target_keys: Iterable[str]) -> bool:
    """Return whether ``result_keys`` and ``target_keys`` name the same keys; order and number do not matter."""
    return set(result_keys) == set(target_keys)


def assert_is_norm_layer(module: nn.Module) -> bool:
    """Return whether ``module`` is a batch, instance, group or layer norm."""
    return isinstance(module, _NORM_LAYERS)


def assert_params_all_zeros(module: Any) -> bool:
    """Return whether the weight of ``module``, and its bias if it has one, are all (nearly) zero."""
    # bias=False leaves None in its place, and some layers have no such attribute.
    parameters = (module.weight, getattr(module, "bias", None))
    return all(
        each.data.allclose(torch.zeros_like(each.data)) for each in parameters if each is not None
    )


def _same(left: object, right: object) -> bool:
    """Compare as ``==`` does; arrays and tensors are equal if all their elements and their shapes are."""
    # MMEngine 0.10.7 compares by !=, which broadcasts: ones(2) equals ones(2, 2) there.
    if isinstance(left, np.ndarray | torch.Tensor) or isinstance(right, np.ndarray | torch.Tensor):
        first, second = (
            each.detach().cpu().numpy() if isinstance(each, torch.Tensor) else np.asarray(each)
            for each in (left, right)
        )
        return np.array_equal(first, second)
    return bool(left == right)
