"""Values as the text of a config, in the user's own words where they have some."""

from __future__ import annotations

import keyword
from collections.abc import Mapping
from typing import Any

from mm2pl.mmcv.migration.source import Written, first_leaf

# The width of OpenMMLab's yapf settings.
WIDTH = 79


class Renderer:
    """Write values.

    Args:
        names: Expressions for containers, such as variables, with the value that each has; a container that is
            equal to one is written as it.
        words: Whether to use the sources that values carry.
    """

    def __init__(self, names: Mapping[str, Any] | None = None, words: bool = True) -> None:
        self.names = dict(names or {})
        self.words = words
        self.carried: set[str] = set()

    def assignment(self, name: str, value: Any) -> str:
        """Return ``name = value`` as lines."""
        return f"{name} = {self.value(value, len(name) + 3)}"

    def value(self, value: Any, used: int = 0, indent: int = 0) -> str:
        """Return the expression for ``value``.

        Args:
            value: Any value; other objects than plain data are written with their ``repr``.
            used: Columns of the line that are taken already.
            indent: Of the line, for lines that follow.
        """
        flat = self._flat(value)
        if not _is_container(value) or self._name(value):
            return flat
        # A comment ends its line, so such a value cannot stand on one.
        commented = self.words and _has_comments(value)
        fits = len(flat) + used <= WIDTH
        return flat if fits and not commented else self._tall(value, indent)

    def _name(self, value: object) -> str:
        if not _is_container(value):
            # Numbers and short strings are equal by chance.
            return ""
        # The type too: an OrderedDict equals a dict.
        same = (n for n, known in self.names.items() if type(known) is type(value))
        return next((n for n in same if self.names[n] == value), "")

    def _flat(self, value: object) -> str:
        """Return the expression on one line."""
        if name := self._name(value):
            return name
        if self.words and isinstance(value, Written) and value.source:
            return value.source
        if isinstance(value, Mapping):
            items = [f"{left}{self._flat(v)}" for left, v in _items(value)]
            return f"dict({', '.join(items)})" if _plain_keys(value) else f"{{{', '.join(items)}}}"
        if isinstance(value, list | tuple):
            inside = ", ".join(self._flat(v) for v in value)
            if isinstance(value, list):
                return f"[{inside}]"
            return f"({inside}{',' if len(value) == 1 else ''})"
        return _literal(value)

    def _tall(self, value: Any, indent: int) -> str:
        if isinstance(value, Mapping):
            opening, closing = ("dict(", ")") if _plain_keys(value) else ("{", "}")
            pairs = _items(value)
        else:
            opening, closing = ("[", "]") if isinstance(value, list) else ("(", ")")
            pairs = [("", v) for v in value]
        deeper = indent + 4
        pad = " " * deeper
        lines = [opening]
        for left, child in pairs:
            above, beside = self._comments(child)
            lines += [f"{pad}{comment}" for comment in above]
            text = self.value(child, deeper + len(left) + 1, deeper)
            lines.append(f"{pad}{left}{text},{'  ' + beside if beside else ''}")
        return "\n".join([*lines, " " * indent + closing])

    def _comments(self, value: object) -> tuple[list[str], str]:
        """Return the comments of an element that have not been written yet."""
        leaf = first_leaf(value)
        if not self.words or not isinstance(leaf, Written):
            return [], ""
        # One old value may end in several new places, such as the train,
        # val and test loader. Its comment is written once.
        above = [c for c in leaf.above if c not in self.carried]
        beside = leaf.beside if leaf.beside not in self.carried else ""
        self.carried |= {*above, beside} - {""}
        return above, beside


def _items(value: Mapping) -> list[tuple[str, Any]]:
    if _plain_keys(value):
        return [(f"{key}=", child) for key, child in value.items()]
    return [(f"{_literal(key)}: ", child) for key, child in value.items()]


def _plain_keys(value: Mapping) -> bool:
    return all(isinstance(k, str) and k.isidentifier() and not keyword.iskeyword(k) for k in value)


def _is_container(value: object) -> bool:
    return isinstance(value, Mapping | list | tuple) and bool(value)


def _has_comments(value: object) -> bool:
    if isinstance(value, Mapping):
        return any(_has_comments(child) for child in value.values())
    if isinstance(value, list | tuple):
        return any(_has_comments(child) for child in value)
    return isinstance(value, Written) and bool(value.above or value.beside)


def _literal(value: object) -> str:
    for kind in (str, int, float):
        # Through the plain type: `Text` and its siblings are subclasses. A bool is an int.
        if isinstance(value, kind) and not isinstance(value, bool):
            return repr(kind(value))
    return repr(value)
