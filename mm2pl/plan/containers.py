"""The nested dicts and lists of a config: with attributes or without, and the live objects among them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

SCALARS = (str, int, float, bool, type(None))


def live_objects(data: object, path: str = "") -> list[tuple[str, Any]]:
    """List what YAML cannot hold: all but strings, numbers, booleans and ``None``, with its dotted path.

    >>> live_objects({"model": {"type": object}, "lr": 0.1})
    [('model.type', <class 'object'>)]
    """
    if isinstance(data, SCALARS):
        return []
    if isinstance(data, dict):
        return [hit for key, value in data.items() for hit in live_objects(value, join(path, key))]
    # YAML has no tuples either, but `mm2pl convert` writes them as lists.
    if isinstance(data, (list, tuple)):
        return [hit for i, value in enumerate(data) for hit in live_objects(value, join(path, i))]
    return [(path, data)]


def as_dicts(data: Any) -> Any:
    """Make builtin dicts of ``ConfigDict`` and other mappings, at every depth; the reverse of `mm2pl.config.as_config`.

    Objects, lists with a class of their own among them, stay as they are.

    >>> from mm2pl.config import as_config
    >>> type(as_dicts(as_config({"a": [{"b": 1}]}))["a"][0])
    <class 'dict'>
    """
    if isinstance(data, Mapping):
        return {key: as_dicts(value) for key, value in data.items()}
    # A namedtuple, or a list class of the user's, might not be made from one iterable.
    return type(data)(map(as_dicts, data)) if type(data) in (list, tuple) else data


def join(path: str, key: object) -> str:
    """Extend a dotted path.

    >>> join("optim_wrapper", "optimizer")
    'optim_wrapper.optimizer'
    """
    return f"{path}.{key}" if path else str(key)


def lists(data: Any) -> Any:
    """Replace tuples, which YAML does not know, by lists.

    >>> lists({"betas": (0.9, 0.99)})
    {'betas': [0.9, 0.99]}
    """
    if isinstance(data, dict):
        return {str(key): lists(item) for key, item in data.items()}
    return [lists(item) for item in data] if isinstance(data, (list, tuple)) else data
