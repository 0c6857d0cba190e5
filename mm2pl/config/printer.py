"""Write a config as Python that loads to an equal config."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator
from keyword import iskeyword
from typing import Any
from unicodedata import normalize

WIDTH = 100
_INDENT = 4
# Names that the printed text itself uses, and a top-level key must not hide.
_USED_NAMES = ("dict", "float", "frozenset", "globals", "range", "set", "slice")
_BRACKETS: dict[type, tuple[str, str]] = {
    list: ("[", "]"),
    tuple: ("(", ")"),
    set: ("{", "}"),
    frozenset: ("frozenset({", "})"),
}
_EMPTY: dict[type, str] = {list: "[]", tuple: "()", set: "set()", frozenset: "frozenset()"}
_SEQUENCES = (list, tuple, set, frozenset)
_CONTAINERS = (dict, *_SEQUENCES)


def format_config(values: dict[str, Any]) -> str:
    """Return one assignment per top-level key, sorted; what fits on a line stays on one.

    Nested keys keep their order. Keys that cannot be assigned to are set through ``globals()``.
    Classes and functions are written as their dotted path, objects without a literal as the string
    of their ``repr``.

    >>> print(format_config(dict(model=dict(type="ResNet", depth=50), lr=0.1)), end="")
    lr = 0.1
    model = dict(type='ResNet', depth=50)
    """
    printer = _Printer(call="dict" not in values)
    plain = sorted(key for key in values if _is_name(key) and key not in _USED_NAMES)
    lines = [f"{key} = {printer.write(values[key], 0, len(key) + 3)}" for key in plain]
    # All at once, as a value may use a name that another key hides.
    if odd := {key: value for key, value in values.items() if key not in plain}:
        lines.append(f"globals().update({printer.write(odd, 0, 18)})")
    return "".join(f"{line}\n" for line in lines)


class _Printer:
    """Turn values into Python text; ``call`` allows ``dict(a=1)`` for ``{'a': 1}``."""

    def __init__(self, call: bool) -> None:
        self.call = call

    def write(self, value: Any, indent: int, used: int) -> str:
        """Return the text of a value whose first line starts at column ``used``."""
        flat = self.flat(value, WIDTH - used)
        if flat is not None or not isinstance(value, _CONTAINERS):
            return flat or _leaf(value)
        inner = indent + _INDENT
        pad, end = " " * inner, "\n" + " " * indent
        if isinstance(value, dict):
            opening, closing = self.brackets(value)
            lines = [
                f"{pad}{key}{self.write(item, inner, inner + len(key) + 1)}"
                for key, item in self.pairs(value)
            ]
        else:
            opening, closing = _BRACKETS[_kind(value)]
            if any(isinstance(item, _CONTAINERS) for item in value):
                lines = [pad + self.write(item, inner, inner + 1) for item in _ordered(value)]
            else:
                lines = [pad + line for line in _fill(map(_leaf, _ordered(value)), WIDTH - inner)]
        return f"{opening}\n" + "".join(f"{line},\n" for line in lines).rstrip("\n") + end + closing

    def flat(self, value: Any, room: int) -> str | None:
        """Return the text of a value on one line, or None if that takes more than ``room``."""
        if isinstance(value, dict):
            opening, closing = self.brackets(value)
            items: Iterable[tuple[str, Any]] = self.pairs(value)
        elif isinstance(value, _SEQUENCES):
            if not value:
                return _EMPTY[_kind(value)]
            opening, closing = _BRACKETS[_kind(value)]
            closing = ",)" if closing == ")" and len(value) == 1 else closing
            items = (("", item) for item in _ordered(value))
        else:
            text = _leaf(value)
            return text if len(text) <= room else None
        room -= len(opening) + len(closing)
        parts = []
        for prefix, item in items:
            part = self.flat(item, room - len(prefix))
            if part is None:
                return None
            parts.append(prefix + part)
            room -= len(prefix) + len(part) + 2
        # Nothing follows the last item, but two columns for a comma and a space were taken off.
        return opening + ", ".join(parts) + closing if room >= -2 else None

    def brackets(self, value: dict) -> tuple[str, str]:
        return ("dict(", ")") if self.call and all(map(_is_name, value)) else ("{", "}")

    def pairs(self, value: dict) -> Iterator[tuple[str, Any]]:
        # MMEngine 0.10.7 sorts nested keys as well, so what it prints loads with its keys in another order.
        if self.brackets(value)[0] == "{":
            return ((f"{self.flat(key, 1 << 30)}: ", item) for key, item in value.items())
        return ((f"{key}=", item) for key, item in value.items())


def _is_name(key: Any) -> bool:
    # Python reads names in this normal form: another one would come back as a different key.
    return (
        isinstance(key, str)
        and key.isidentifier()
        # MMEngine 0.10.7 writes dict(class=1), and its formatter then raises SyntaxError.
        and not iskeyword(key)
        and normalize("NFKC", key) == key
    )


def _kind(value: Any) -> type:
    return next(kind for kind in _BRACKETS if isinstance(value, kind))


def _ordered(value: Any) -> Iterable:
    # Python hashes strings with a secret per process: unsorted, each process would print another order.
    return sorted(value, key=_leaf) if isinstance(value, (set, frozenset)) else value


def _fill(texts: Iterable[str], width: int) -> list[str]:
    """Put as many items on each line as fit."""
    lines: list[str] = []
    for text in texts:
        if lines and len(lines[-1]) + len(text) + 3 <= width:
            lines[-1] += f", {text}"
        else:
            lines.append(text)
    return lines


def _leaf(value: Any) -> str:
    """Return the literal of a value that holds no others."""
    if isinstance(value, str):
        # Loading the text again must not expand what looks like a macro.
        return str.__repr__(value).replace("{{", r"{\x7b")
    if value is None or isinstance(value, (bool, bytes, complex, range, slice)):
        return repr(value)
    if isinstance(value, int):
        # A subclass, such as an IntEnum, has a repr that Python cannot read.
        return int.__repr__(value)
    if isinstance(value, float):
        # The repr of infinity is `inf`, a name that does not exist. MMEngine 0.10.7 prints it so.
        return float.__repr__(value) if math.isfinite(value) else f"float('{float(value)}')"
    if value is Ellipsis:
        return "..."
    if isinstance(value, os.PathLike):
        return _leaf(os.fspath(value))
    if hasattr(value, "__qualname__"):
        return _leaf(f"{value.__module__}.{value.__qualname__}")
    if hasattr(value, "tolist"):  # NumPy, PyTorch
        return _Printer(call=True).flat(value.tolist(), 1 << 30) or ""
    return _leaf(repr(value))
