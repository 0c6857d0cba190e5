"""The functions and methods that a config read safely may call; all work on plain data."""

from __future__ import annotations

import ast
import copy
import math
import os
import string
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from ..config_dict import ConfigDict
from ..errors import ConfigSafetyError
from .budget import Budget
from .operators import apply_binary, apply_format

_ITERABLE = (list, tuple, set, frozenset, dict, str, bytes, range)
# int() takes quadratic time over a long string; Python's own limit is 4300 digits, where it has one.
_MAX_DIGITS = 1000


@dataclass(frozen=True)
class Function:
    """A callable that takes the budget first; configs can call it, not keep it."""

    name: str
    call: Callable[..., Any]


@dataclass(frozen=True)
class Module:
    """An importable name space of the few functions that are allowed."""

    name: str


def elements(budget: Budget, value: Any) -> list:
    """Return the elements of ``value``, paid for."""
    _require_iterable(value)
    budget.create(len(value))
    return list(value)


def iterate(budget: Budget, value: Any) -> Iterator:
    """Yield the elements of ``value``, each paid for; what is added meanwhile is seen."""
    _require_iterable(value)
    for item in value:
        budget.spend(1)
        yield item


def _require_iterable(value: Any) -> None:
    if not isinstance(value, _ITERABLE):
        raise TypeError(f"{type(value).__name__!r} object is not iterable")


def find_method(receiver: Any, name: str) -> Function | None:
    """Return the method of a plain value, or None if it may not be called."""
    kind = type(receiver)
    if kind is str and name in _STRING_METHODS:
        return Function(name, partial(_STRING_METHODS[name], text=receiver))
    pay = _METHODS.get(kind, {}).get(name)
    if pay is None:
        return None

    def call(budget: Budget, *args: Any, **kwargs: Any) -> Any:
        # First: once the method runs, the time and the memory are gone.
        pay(budget, receiver, *args, *kwargs.values())
        result = getattr(receiver, name)(*args, **kwargs)
        # A view would go on changing with its dict.
        return list(result) if name in ("items", "keys", "values") else result

    return Function(name, call)


def module_member(module: Module, name: str) -> Any:
    """Return what ``module.name`` is, or None if it may not be used."""
    dotted = f"{module.name}.{name}"
    if dotted in _NESTED_MODULES:
        return Module(dotted)
    if module.name == "math" and name in _MATH:
        member = getattr(math, name)
        return Function(dotted, partial(_scalar, member)) if callable(member) else member
    return MODULES.get(module.name, {}).get(name)


def _free(budget: Budget, receiver: Any, *args: Any) -> None:
    budget.create(len(args))


def _shift(budget: Budget, receiver: Any, *args: Any) -> None:
    budget.create(len(args))
    budget.spend(len(receiver) // 64)


def _copy(budget: Budget, receiver: Any, *args: Any) -> None:
    for value in (receiver, *args):
        budget.create(len(value) if isinstance(value, _ITERABLE) else 1)


def _key(budget: Budget, receiver: Any, *args: Any) -> None:
    budget.create(len(args))
    budget.hash_keys(args[:1], len(receiver))


def _keys(budget: Budget, receiver: Any, *args: Any) -> None:
    for value in args:
        keys = elements(budget, value)
        if isinstance(receiver, dict) and not isinstance(value, dict):
            # Pairs instead of a mapping: their first halves become keys.
            keys = [pair[0] for pair in keys if isinstance(pair, (list, tuple)) and pair]
        budget.hash_keys(keys, len(receiver))
    budget.create(len(receiver))


def _walk(budget: Budget, receiver: Any, *args: Any) -> None:
    for value in (receiver, *args):
        budget.walk(value)


# What each method is paid for, by exact type: no other type occurs, and none of these can be
# subclassed by a config.
_METHODS: dict[type, dict[str, Callable[..., None]]] = {
    list: {
        **dict.fromkeys(("append", "clear"), _free),
        **dict.fromkeys(("insert", "pop", "reverse"), _shift),
        **dict.fromkeys(("copy", "extend"), _copy),
        **dict.fromkeys(("index", "count", "remove", "sort"), _walk),
    },
    tuple: dict.fromkeys(("index", "count"), _walk),
    set: {
        **dict.fromkeys(("clear", "pop"), _free),
        **dict.fromkeys(("add", "discard", "remove"), _key),
        **dict.fromkeys(
            ("copy", "update", "union", "intersection", "difference", "issubset", "issuperset"),
            _keys,
        ),
    },
    frozenset: dict.fromkeys(("union", "intersection", "difference"), _keys),
    dict: {
        **dict.fromkeys(("clear", "popitem"), _free),
        **dict.fromkeys(("get", "pop", "setdefault"), _key),
        **dict.fromkeys(("items", "keys", "values", "copy"), _copy),
        "update": lambda budget, receiver, *args: _keys(
            # find_method passes the values of keyword arguments too, and those are not mappings.
            budget,
            receiver,
            *(a for a in args if isinstance(a, (dict, list, tuple))),
        ),
    },
    # These copy what they are given, so a value that occurs in many places is paid for in each.
    ConfigDict: {
        **dict.fromkeys(("get", "pop", "clear"), _key),
        **dict.fromkeys(("items", "keys", "values"), _copy),
        **dict.fromkeys(("update", "copy", "setdefault", "merge", "to_dict"), _walk),
    },
    str: dict.fromkeys(
        (
            *("lower", "upper", "title", "capitalize", "strip", "lstrip", "rstrip"),
            *("removeprefix", "removesuffix", "startswith", "endswith", "find", "index", "count"),
            *("split", "rsplit", "splitlines", "partition", "rpartition", "isdigit"),
        ),
        _copy,
    ),
}


def _join(budget: Budget, items: Any, *, text: str) -> str:
    parts = elements(budget, items)
    budget.create(sum(len(part) + len(text) for part in parts if isinstance(part, str)))
    return text.join(parts)


def _replace(budget: Budget, old: str, new: str, count: int = -1, *, text: str) -> str:
    budget.create(len(text) + text.count(old) * len(new))
    return text.replace(old, new, count)


def _format(budget: Budget, *args: Any, text: str, **kwargs: Any) -> str:
    result, automatic = [], iter(range(len(args)))
    for literal, field, spec, conversion in string.Formatter().parse(text):
        budget.create(len(literal))
        result.append(literal)
        if field is None:
            continue
        # `{0.__class__}` would lead out of plain data.
        if "{" in (spec or "") or not (field == "" or field.isdigit() or field.isidentifier()):
            raise ConfigSafetyError(
                f"The field {{{field}}} is not allowed with safe=True. Use an f-string."
            )
        key = next(automatic, len(args)) if field == "" else field
        value = kwargs[field] if field.isidentifier() else args[int(key)]
        result.append(apply_format(budget, value, conversion, spec or ""))
    return "".join(result)


_STRING_METHODS: dict[str, Callable[..., str]] = {
    "join": _join,
    "replace": _replace,
    "format": _format,
}


def _make_dict(budget: Budget, *args: Any, **kwargs: Any) -> dict:
    _keys(budget, {}, *args)
    budget.create(len(kwargs))
    return dict(*args, **kwargs)


def _make(kind: type, budget: Budget, *args: Any) -> Any:
    items = elements(budget, args[0]) if len(args) == 1 else []
    if kind in (set, frozenset):
        budget.hash_keys(items)
    return kind(*args)


def _scalar(function: Callable[..., Any], budget: Budget, *args: Any) -> Any:
    """Call a function of numbers and short strings."""
    for value in args:
        budget.walk(value)
        if isinstance(value, (str, bytes)) and len(value) > _MAX_DIGITS:
            raise ConfigSafetyError(f"{value!r:.20}... is too long for a number.")
    return function(*args)


def _round(number: Any, digits: int | None = None) -> Any:
    if digits is not None and abs(digits) > _MAX_DIGITS:
        raise ConfigSafetyError(f"round to {digits} digits is too much to be read safely.")
    return round(number, digits)


def _sum(budget: Budget, items: Any, start: Any = 0) -> Any:
    for item in elements(budget, items):
        start = apply_binary(budget, ast.Add, start, item)
    return start


def _extreme(function: Callable[..., Any], budget: Budget, *args: Any, **kwargs: Any) -> Any:
    values = elements(budget, args[0]) if len(args) == 1 else list(args)
    budget.walk(values)
    return kwargs["default"] if not values and "default" in kwargs else function(values)


def _sorted(budget: Budget, items: Any, *, reverse: bool = False) -> list:
    values = elements(budget, items)
    budget.walk(values)
    return sorted(values, reverse=reverse)


# Lists instead of iterators, as an iterator does work later, when nobody pays.
def _enumerate(budget: Budget, items: Any, start: int = 0) -> list:
    return list(enumerate(elements(budget, items), start))


def _zip(budget: Budget, *items: Any) -> list:
    return list(zip(*(elements(budget, item) for item in items), strict=False))


def _truth(function: Callable[[list], bool], budget: Budget, items: Any) -> bool:
    return function(elements(budget, items))


def _copied(function: Callable[[Any], Any], budget: Budget, value: Any) -> Any:
    budget.walk(value)
    return function(value)


def _path(function: Callable[..., Any], budget: Budget, *args: Any) -> Any:
    _copy(budget, args, *args)
    return function(*args)


_CALLS: dict[str, Callable[..., Any]] = {
    "dict": _make_dict,
    **{kind.__name__: partial(_make, kind) for kind in (list, tuple, set, frozenset)},
    **{f.__name__: partial(_scalar, f) for f in (int, float, bool, complex, abs, range)},
    "round": partial(_scalar, _round),
    "str": lambda budget, value="": apply_format(budget, value, None, ""),
    "len": lambda budget, value: len(value),
    "sum": _sum,
    "min": partial(_extreme, min),
    "max": partial(_extreme, max),
    "sorted": _sorted,
    "reversed": lambda budget, items: elements(budget, items)[::-1],
    "enumerate": _enumerate,
    "zip": _zip,
    "any": partial(_truth, any),
    "all": partial(_truth, all),
    # Configs may print, and what they print does not matter here.
    "print": lambda budget, *args, **kwargs: None,
}
FUNCTIONS = {name: Function(name, call) for name, call in _CALLS.items()}
# Without factorial, comb and the like, whose results have no bound.
_MATH = (
    "pi",
    "e",
    "inf",
    "nan",
    "sqrt",
    "log",
    "log2",
    "log10",
    "exp",
    "ceil",
    "floor",
    "cos",
    "sin",
)
_NESTED_MODULES = ("os.path",)
# Functions of text alone: none of them looks at the disk.
_PATHS = (os.path.join, os.path.basename, os.path.dirname, os.path.splitext)
MODULES: dict[str, dict[str, Function]] = {
    "copy": {
        "copy": Function("copy", partial(_copied, copy.copy)),
        "deepcopy": Function("deepcopy", partial(_copied, copy.deepcopy)),
    },
    "math": {},
    "os": {},
    "os.path": {f.__name__: Function(f.__name__, partial(_path, f)) for f in _PATHS},
}
