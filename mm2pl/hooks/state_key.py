"""Under which name a hook's state stands in a file."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any


def described_arguments(cls: type, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
    """Return the arguments that a class is called with as text, the same in every process.

    >>> class Stop:
    ...     def __init__(self, monitor, patience=5): ...
    >>> described_arguments(Stop, ["acc"], {}), described_arguments(Stop, [], {"monitor": "acc"})
    ("(monitor='acc')", "(monitor='acc')")
    """
    try:
        # Not of the class: Python may answer that with the signature of `__new__`, which takes anything.
        _, *bound = inspect.signature(cls.__init__).bind(None, *args, **kwargs).arguments.items()  # type: ignore[misc]
    except (TypeError, ValueError):  # wrong arguments: `__init__` says so itself
        bound = [("args", args), *kwargs.items()]
    # What was left at its default is not among them, so that a later version may add arguments.
    given = dict(bound)
    return f"({', '.join(f'{name}={_described(value)}' for name, value in given.items())})"


def _described(value: object) -> str:
    if value is None or isinstance(value, str | bytes | bool | int | float):
        return repr(value)
    if isinstance(value, Mapping):
        items = sorted(f"{key!r}: {_described(item)}" for key, item in value.items())
        return f"{{{', '.join(items)}}}"
    if isinstance(value, Sequence):
        return f"[{', '.join(map(_described, value))}]"
    # A class or function by its name, any other object by its class: its `repr` may hold an address in memory.
    return getattr(value, "__qualname__", type(value).__qualname__)
