"""Check the arguments of a CheckpointHook when it is built, not hours later at the first save."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from mm2pl.closest import closest, did_you_mean
from mm2pl.errors import ArgumentError
from mm2pl.utils import is_seq_of


def refuse_unknown(function: Callable[..., Any], kwargs: dict[str, Any]) -> None:
    """Reject what ended up in a catch-all ``**kwargs`` of ``function``.

    Raises:
        TypeError: there is any; the message lists close names and all accepted ones.
    """
    if not kwargs:
        return
    accepted = [
        name
        for name, parameter in inspect.signature(function).parameters.items()
        if name != "self" and parameter.kind is not parameter.VAR_KEYWORD
    ]
    hint = did_you_mean(match for name in kwargs for match in closest(name, accepted, 1))
    raise ArgumentError(
        f"CheckpointHook has no argument {', '.join(map(repr, kwargs))}; it accepts {accepted}.{hint}"
    )


def names(argument: str, value: str | list[str] | None) -> list[str] | None:
    """Return a list of distinct names, or None.

    Raises:
        ArgumentError: The value is of another kind, or names something twice.
    """
    if value is None:
        return None
    if isinstance(value, str):
        return [value]
    if not is_seq_of(value, str):
        raise ArgumentError(
            f'"{argument}" should be a str or list of str or None, but got {value!r}'
        )
    if len(set(value)) < len(value):
        raise ArgumentError(f'Find duplicate element in "{argument}": {value!r}')
    return list(value)


def keys(argument: str, value: object, default: list[str]) -> Any:
    """Return a sequence of names, ``default`` for None.

    Raises:
        ArgumentError: The value holds something else than strings.
    """
    if value is None:
        return default
    found = value if isinstance(value, list | tuple) else (value,)
    if not is_seq_of(found, str):
        raise ArgumentError(f'"{argument}" should hold str only, but got {value!r}')
    return found
