"""Plain data: what YAML and a checkpoint can hold."""

from __future__ import annotations

from typing import Any

SCALARS = (str, int, float, bool, type(None))


def live_objects(data: Any, path: str = "") -> list[tuple[str, Any]]:
    """List what is not plain in nested dicts and lists, with its dotted path.

    >>> live_objects({"model": {"type": object}, "lr": 0.1})
    [('model.type', <class 'object'>)]
    """
    if isinstance(data, SCALARS):
        return []
    if isinstance(data, dict):
        return [hit for key, value in data.items() for hit in live_objects(value, join(path, key))]
    if isinstance(data, (list, tuple)):
        return [hit for i, value in enumerate(data) for hit in live_objects(value, join(path, i))]
    return [(path, data)]


def is_plain(data: Any) -> bool:
    """Say whether nested dicts and lists hold only strings, numbers, booleans and ``None``."""
    return not live_objects(data)


def join(path: str, key: Any) -> str:
    """Extend a dotted path.

    >>> join("optim_wrapper", "optimizer")
    'optim_wrapper.optimizer'
    """
    return f"{path}.{key}" if path else str(key)
