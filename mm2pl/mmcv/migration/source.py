"""A config file as text: its statements, and which words each value was written with.

Values that come from the file carry their source along: a `Text` is a str, a `Whole` an int. So they can pass
through the migration, which knows nothing of files, and be written again as the user wrote them.
"""

from __future__ import annotations

import ast
import io
import tokenize
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

_TOOL_COMMENTS = ("# yapf:", "# fmt:", "# isort:")


class Written:
    """What a value was written as; mixed into str, int and float.

    Attributes:
        source: The expression.
        above: Comment lines before the element that begins with this value.
        beside: The comment at the end of that element's line.
    """

    source: str = ""
    above: tuple[str, ...] = ()
    beside: str = ""


class Text(Written, str):
    """A str with its source."""


class Whole(Written, int):
    """An int with its source."""


class Real(Written, float):
    """A float with its source."""


# bool and None cannot be subclassed; they have one spelling anyway.
_WRITTEN: dict[type, type[Written]] = {str: Text, int: Whole, float: Real}


@dataclass
class Statement:
    """A top-level statement.

    Args:
        node: Its syntax tree.
        leading: The comment and blank lines above it.
        text: Its own lines.
    """

    node: ast.stmt
    leading: list[str]
    text: str

    @cached_property
    def comments(self) -> list[str]:
        """The comments inside it, in order."""
        return [comment.text for comment in _comments(self.text)]

    @property
    def name(self) -> str | None:
        """The variable that it assigns; None if it is not a plain assignment."""
        if isinstance(self.node, ast.Assign) and len(self.node.targets) == 1:
            target = self.node.targets[0]
            return target.id if isinstance(target, ast.Name) else None
        return None


@dataclass
class Source:
    """A config file, taken apart.

    Args:
        statements: Top-level statements, in order.
        tail: Lines after the last one.
    """

    statements: list[Statement]
    tail: list[str]

    @property
    def names(self) -> set[str]:
        """The names of all variables that the file assigns plainly."""
        return {s.name for s in self.statements if s.name is not None}

    def base_references(self) -> dict[str, tuple[str, ...]]:
        """Return the expressions that read a key of ``_base_``, with its path."""
        found = {}
        for statement in self.statements:
            for node in ast.walk(statement.node):
                path = _base_path(node)
                if path:
                    found[ast.unparse(node)] = path
                # Python reads `{{_base_.x}}` as a set in a set.
                if isinstance(node, ast.Set) and len(node.elts) == 1:
                    inner = node.elts[0]
                    path = _base_path(inner.elts[0]) if isinstance(inner, ast.Set) else ()
                    if path:
                        found["{{_base_." + ".".join(path) + "}}"] = path
        return found

    def used_names(self) -> set[str]:
        """Return all names that the file reads."""
        return {name for s in self.statements for name in loaded_names(s.node)}


def _base_path(node: ast.AST) -> tuple[str, ...]:
    path: list[str] = []
    while isinstance(node, ast.Attribute):
        path.insert(0, node.attr)
        node = node.value
    return tuple(path) if isinstance(node, ast.Name) and node.id == "_base_" else ()


def loaded_names(node: ast.AST) -> Iterator[str]:
    """Yield each name that ``node`` reads."""
    for child in ast.walk(node):
        if isinstance(child, ast.Name) and isinstance(child.ctx, ast.Load):
            yield child.id


def read_source(text: str) -> Source:
    """Split the text of a Python config into statements.

    Raises:
        SyntaxError: It is not Python.
    """
    lines = text.splitlines()
    statements = []
    done = 0
    for node in ast.parse(text).body:
        end = node.end_lineno or node.lineno
        # It has no lines of its own, so it goes with the first.
        if node.lineno <= done:  # a second statement on the same line
            continue
        leading = lines[done : node.lineno - 1]
        statements.append(Statement(node, leading, "\n".join(lines[node.lineno - 1 : end])))
        done = end
    return Source(statements, lines[done:])


def with_sources(
    config: Mapping[str, Any], source: Source, *, words: bool = True, base_words: bool = True
) -> dict[str, Any]:
    """Return ``config`` with the values that ``source`` wrote carrying their words and comments.

    Args:
        config: The resolved config of the file.
        source: The file, or one that it inherits from.
        words: Whether they carry their words, or their comments alone.
        base_words: Whether expressions that read ``_base_`` count as words.
    """
    result = dict(config)
    for statement in source.statements:
        name = statement.name
        if name in result and isinstance(statement.node, ast.Assign):
            writer = _Writer(statement, words, base_words)
            result[name] = writer.tag(statement.node.value, result[name])
    return result


@dataclass(frozen=True)
class _Comment:
    line: int  # 1-based within the statement
    text: str
    alone: bool


def _comments(text: str) -> list[_Comment]:
    found = []
    try:
        tokens = list(tokenize.generate_tokens(io.StringIO(text).readline))
    except (tokenize.TokenError, IndentationError):
        return []
    for token in tokens:
        if token.type == tokenize.COMMENT and not token.string.startswith(_TOOL_COMMENTS):
            alone = not token.line[: token.start[1]].strip()
            found.append(_Comment(token.start[0], token.string, alone))
    return found


class _Writer:
    """Attach sources and comments to the values of one statement."""

    def __init__(self, statement: Statement, words: bool, base_words: bool) -> None:
        self.words = words
        self.base_words = base_words
        # In bytes, as Python counts columns.
        self.lines = [line.encode() for line in statement.text.split("\n")]
        self.first = statement.node.lineno
        self.comments = _comments(statement.text)

    def tag(self, node: ast.expr, value: Any) -> Any:
        elements = _elements(node, value)
        if elements is None:
            return self._leaf(node, value)
        inside = [c for c in self.comments if self._line(node) < c.line <= self._end(node)]
        tagged = {}
        previous = self._line(node)
        for key, child, where in elements:
            new = self.tag(child, value[key])
            start, end = self._line(where), self._end(child)
            above = tuple(c.text for c in inside if c.alone and previous < c.line < start)
            beside = next((c.text for c in inside if not c.alone and c.line == end), "")
            tagged[key] = _commented(new, above, beside)
            previous = end
        if isinstance(value, Mapping):
            return {key: tagged.get(key, child) for key, child in value.items()}
        return type(value)(tagged[i] for i in range(len(value)))

    def _line(self, node: ast.AST) -> int:
        return node.lineno - self.first + 1  # type: ignore[attr-defined]

    def _end(self, node: ast.AST) -> int:
        return node.end_lineno - self.first + 1  # type: ignore[attr-defined]

    def _leaf(self, node: ast.expr, value: object) -> Any:
        # What a base file wrote is no longer what is said of it.
        kind = type(value) if isinstance(value, Written) else _WRITTEN.get(type(value))
        if kind is None:
            return value
        if not self.words:
            return kind(value)  # type: ignore[call-arg]
        line, end = self._line(node), self._end(node)
        # What spans lines is written anew: the new place has another indent.
        source = (
            self.lines[line - 1][node.col_offset : node.end_col_offset].decode()
            if line == end
            else ast.unparse(node)
        )
        written = kind(value)  # type: ignore[call-arg]
        # A file that is to stand alone has no `_base_` to read.
        if self.base_words or "_base_" not in source:
            written.source = source
        return written


def _elements(node: ast.expr, value: Any) -> list[tuple[Any, ast.expr, ast.AST]] | None:
    """Return key, value node and the node that begins the element, of a literal container."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "dict":
        # dict(base, x=1): which key came from where is unknown.
        if not isinstance(value, Mapping) or node.args:
            return None
        # `_delete_` and inherited keys are in the text or in the value, but not in both.
        return [(k.arg, k.value, k) for k in node.keywords if k.arg in value]
    if isinstance(node, ast.Dict) and isinstance(value, Mapping):
        pairs = zip(node.keys, node.values, strict=True)
        return [
            (k.value, v, k) for k, v in pairs if isinstance(k, ast.Constant) and k.value in value
        ]
    if isinstance(node, ast.List | ast.Tuple) and type(value) in (list, tuple):
        # A starred element stands for an unknown number of values.
        if len(node.elts) != len(value) or any(isinstance(e, ast.Starred) for e in node.elts):
            return None
        return [(i, e, e) for i, e in enumerate(node.elts)]
    return None


def first_leaf(value: object) -> Any:
    """Return the first value inside nested containers."""
    while isinstance(value, Mapping | list | tuple) and value:
        value = next(iter(value.values())) if isinstance(value, Mapping) else value[0]
    return value


def _commented(value: object, above: tuple[str, ...], beside: str) -> Any:
    leaf = first_leaf(value)
    # A dict cannot carry a comment; its first value is written nearest to the place.
    if isinstance(leaf, Written) and (above or beside):
        leaf.above = above + leaf.above
        leaf.beside = beside or leaf.beside
    return value
