"""Plain data: what `torch.load(weights_only=True)` accepts."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

_NDARRAY = "__ndarray__"


class NotPlainError(TypeError):
    """A value that cannot be stored as plain data."""


def to_plain(value: Any) -> Any:
    """Return a copy of ``value`` made of Python's own types and tensors only.

    NumPy's numbers become Python's; its arrays of numbers are wrapped so that :func:`from_plain`
    can tell them from tensors. Dict subclasses become dicts.

    Raises:
        NotPlainError: There is something else in it.

    Example:
        >>> import numpy as np
        >>> to_plain({"acc": np.float64(0.5), "shape": (1, 2)})
        {'acc': 0.5, 'shape': (1, 2)}
    """
    import numpy as np
    import torch

    if value is None or type(value) in (bool, int, float, complex, str, bytes):
        return value
    if isinstance(value, np.generic):
        return to_plain(value.item())
    if isinstance(value, torch.Tensor):
        return value.detach().clone()
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
        return {_NDARRAY: torch.from_numpy(np.array(value))}
    if isinstance(value, np.ndarray):
        return to_plain(value.tolist())
    if isinstance(value, dict):
        made = OrderedDict if type(value) is OrderedDict else dict
        return made((to_plain(k), to_plain(v)) for k, v in value.items())
    if isinstance(value, (list, tuple, set, frozenset)):
        kinds = {tuple: tuple, list: list, set: set, frozenset: set}
        return next(k for t, k in kinds.items() if isinstance(value, t))(map(to_plain, value))
    # Of a subclass, such as an enum's, whose own __str__ says something else.
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, (int, float)):
        return int.__int__(value) if isinstance(value, int) else float.__float__(value)
    if isinstance(value, (torch.dtype, torch.device, torch.Size)):
        return value
    raise NotPlainError(f"{value!r} of {type(value)} is no plain data")


def from_plain(value: Any) -> Any:
    """Return a copy of ``value`` with the arrays that :func:`to_plain` wrapped."""
    if isinstance(value, dict):
        if value.keys() == {_NDARRAY}:
            return value[_NDARRAY].numpy()
        return type(value)((k, from_plain(v)) for k, v in value.items())
    if type(value) in (list, tuple, set):
        return type(value)(map(from_plain, value))
    return value
