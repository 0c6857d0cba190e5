"""Where a value of a config is set: the file, its own or a base, and the line."""

from __future__ import annotations

import ast
import os
from collections.abc import Iterator, Sequence

from .document import read_text
from .errors import ConfigError, Site
from .packages import package_config
from .source import is_base_assignment, is_read_base, parse

_FUNCTIONS = ("update", "merge", "setdefault")


class Origins:
    """Where the values of one config are set; each of its files is read once.

    Args:
        filename: The config that was named.
    """

    def __init__(self, filename: str) -> None:
        found = ((file, _tree(file)) for file in _with_bases(filename, set()))
        self._trees = [(file, tree) for file, tree in found if tree is not None]

    def of(self, path: str) -> Site | None:
        """Return where a key is set, as deep as its dotted path can be followed; None if it is nowhere.

        Of several places the deepest counts, and of these the one nearest to the file that was named. What an
        expression makes (``cfg.update(...)`` aside) has the line of the expression.

        Args:
            path: Such as ``param_scheduler.0.end``.
        """
        keys = path.split(".")
        best, site = 0, None
        for file, tree in self._trees:
            depth, line = find_key(tree, keys)
            if depth > best:
                best, site = depth, Site(file, line)
        return site


def find_key(tree: ast.Module, path: Sequence[str]) -> tuple[int, int]:
    """Return how many keys of ``path`` can be followed in one file, and the line where that ends.

    >>> find_key(ast.parse("m = dict(n=[3, dict(o=2)])"), ["m", "n", "1", "p"])
    (3, 1)
    """
    found = (0, 0)
    names: dict[str, ast.expr] = {}
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            names[node.targets[0].id] = node.value
    for node in tree.body:
        for keys, value in _assignments(node):
            if keys and keys == list(path[: len(keys)]):
                depth, line = _deeper(value, path[len(keys) :], names)
                # Of equally deep ones the last holds.
                if len(keys) + depth >= found[0]:
                    found = (len(keys) + depth, line if depth else node.lineno)
    return found


def _assignments(node: ast.stmt) -> Iterator[tuple[list[str], ast.expr]]:
    """Yield what a statement sets: the keys of its target, and the value."""
    if isinstance(node, ast.Assign):
        yield from ((_chain(target), node.value) for target in node.targets)
    elif isinstance(node, ast.AnnAssign) and node.value is not None:
        yield _chain(node.target), node.value
    elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        call = node.value
        if isinstance(call.func, ast.Attribute) and call.func.attr in _FUNCTIONS:
            owner = _chain(call.func.value)
            yield from ((owner, argument) for argument in call.args)
            yield from (([*owner, str(k.arg)], k.value) for k in call.keywords)


def _chain(node: ast.expr) -> list[str]:
    """Return ``['a', 'b', '0']`` of ``a.b[0]``; nothing of another expression."""
    if isinstance(node, ast.Name):
        return [node.id]
    if isinstance(node, ast.Attribute):
        owner = _chain(node.value)
        return [*owner, node.attr] if owner else []
    if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
        owner = _chain(node.value)
        return [*owner, str(node.slice.value)] if owner else []
    return []


def _deeper(
    node: ast.expr, path: Sequence[str], names: dict[str, ast.expr], seen: int = 0
) -> tuple[int, int]:
    if not path:
        return 0, 0
    if isinstance(node, ast.Name) and node.id in names and seen < len(names):
        return _deeper(names[node.id], path, names, seen + 1)
    for key, value in _entries(node):
        if key == path[0]:
            depth, line = _deeper(value, path[1:], names, seen)
            return depth + 1, line or value.lineno
    return 0, 0


def _entries(node: ast.expr) -> Iterator[tuple[str, ast.expr]]:
    if isinstance(node, ast.Call):
        yield from ((str(keyword.arg), keyword.value) for keyword in node.keywords)
    elif isinstance(node, ast.Dict):
        for key, value in zip(node.keys, node.values, strict=True):
            if isinstance(key, ast.Constant):
                yield str(key.value), value
    elif isinstance(node, ast.List | ast.Tuple):
        yield from ((str(index), value) for index, value in enumerate(node.elts))


def _tree(file: str) -> ast.Module | None:
    if not file.endswith(".py"):
        return None
    try:
        return parse(read_text(file), file)
    except ConfigError:
        return None


def _with_bases(file: str, seen: set[str]) -> Iterator[str]:
    """Yield a config and then its bases, each once."""
    file = os.path.abspath(file)
    if file in seen or not os.path.isfile(file):
        return
    seen.add(file)
    yield file
    tree = _tree(file)
    for node in tree.body if tree is not None else ():
        for base in _bases(node, os.path.dirname(file)):
            yield from _with_bases(base, seen)


def _bases(node: ast.stmt, folder: str) -> Iterator[str]:
    if is_base_assignment(node) and isinstance(node, ast.Assign):
        for text in (n.value for n in ast.walk(node.value) if isinstance(n, ast.Constant)):
            if not isinstance(text, str):
                continue
            if "::" not in text:
                yield os.path.join(folder, text)
                continue
            try:
                yield package_config(text)[0]
            except ConfigError:
                continue
    elif isinstance(node, ast.With) and is_read_base(node):
        for statement in node.body:
            if isinstance(statement, ast.ImportFrom) and statement.level and statement.module:
                above = [os.pardir] * (statement.level - 1)
                yield os.path.join(folder, *above, *statement.module.split(".")) + ".py"
