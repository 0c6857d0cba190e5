"""Small functions on sequences, names and callables."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any


def get_object_from_string(obj_name: str) -> Any:
    """Return what a dotted path names, or None; stands for `mmengine.utils.get_object_from_string`.

    A class or function wins over a submodule of the same name (``mmcv.ops.nms`` is both).

    Example:
        >>> get_object_from_string("collections.OrderedDict.fromkeys").__name__
        'fromkeys'
        >>> get_object_from_string("no_such_package.Thing") is None
        True
    """
    parts = obj_name.split(".")
    try:
        obj = import_module(parts[0])
        for depth, part in enumerate(parts[1:], start=2):
            inner = getattr(obj, part, None)
            if inner is not None and not _is_module(inner):
                return _walk(obj, parts[depth - 1 :])
            obj = import_module(".".join(parts[:depth]))
    except ImportError:
        return None
    return obj


def _is_module(obj: Any) -> bool:
    return isinstance(obj, type(import_module("sys")))


def _walk(obj: Any, attributes: list[str]) -> Any:
    for attribute in attributes:
        obj = getattr(obj, attribute, None)
    return obj


def is_seq_of(
    seq: Any,
    expected_type: type | tuple[type, ...],
    seq_type: type | None = None,
) -> bool:
    """Return whether ``seq`` is a sequence with only items of ``expected_type``.

    ``seq_type`` narrows which sequences are meant (default: any `collections.abc.Sequence`).

    Example:
        >>> is_seq_of([1, 2], int), is_seq_of((1, 2), int, seq_type=list)
        (True, False)
    """
    from collections.abc import Sequence

    if not isinstance(seq, Sequence if seq_type is None else seq_type):
        return False
    return all(isinstance(item, expected_type) for item in seq)  # type: ignore[attr-defined]


Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]
