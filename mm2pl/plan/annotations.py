"""Return the kinds of values that an annotation allows."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from numbers import Real
from typing import Any, Literal, Union

# What a value is, roughly. An int for a float, or a list for a tuple, is the same thing to most code.
_KINDS: tuple[tuple[str, Any], ...] = (
    ("None", type(None)),
    ("a number", Real),
    ("a text", (str, bytes)),
    ("a dict", Mapping),
    ("a list", (list, tuple, set, frozenset)),
)
_OF_TYPES: dict[Any, str] = {
    **dict.fromkeys((int, float, bool), "a number"),
    str: "a text",
    **dict.fromkeys((dict, Mapping, typing.Mapping), "a dict"),
    **dict.fromkeys((list, tuple, set, Sequence, Iterable), "a list"),
    type(None): "None",
}


def hints_of(factory: Any) -> dict[str, Any]:
    """Return the annotations of the arguments of a class or function, as far as they can be evaluated."""
    function = factory.__init__ if inspect.isclass(factory) else factory
    annotations = getattr(function, "__annotations__", {})
    names = getattr(inspect.unwrap(function), "__globals__", {})
    return {name: _evaluated(hint, names) for name, hint in annotations.items()}


def _evaluated(hint: Any, names: dict[str, Any]) -> Any:
    if not isinstance(hint, str):
        return hint
    try:
        return eval(hint, names)
    # A name that only type checkers see, or a syntax of a newer Python.
    except Exception:
        return Any


def kind_of(value: object) -> str | None:
    """Return what a value is, roughly; None if it is something else."""
    return next((name for name, kind in _KINDS if isinstance(value, kind)), None)


def allowed(hint: Any) -> list[str] | None:
    """Return the kinds of values that an annotation allows; None if it may allow any.

    >>> allowed(int | None), allowed(tuple[int, int]), allowed("Any")
    (['a number', 'None'], ['a list'], None)
    """
    if hint in (None, type(None)):
        return ["None"]
    origin = typing.get_origin(hint)
    if origin in (Union, types.UnionType):
        parts = [allowed(part) for part in typing.get_args(hint)]
        return None if None in parts else [*dict.fromkeys(k for p in parts for k in p or ())]
    if origin is Literal:
        kinds = [kind_of(choice) for choice in typing.get_args(hint)]
        return None if None in kinds else [*dict.fromkeys(k for k in kinds if k)]
    try:
        kind = _OF_TYPES.get(origin or hint)
    except TypeError:  # what cannot be hashed
        return None
    return None if kind is None else [kind]
