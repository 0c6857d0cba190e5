"""What modules hold, read from their sources: importing some takes seconds."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path


def source_of(module: str) -> Path | None:
    """Return where the source of a module should be, if its package is installed; nothing is imported.

    >>> source_of("json.decoder").name
    'decoder.py'
    """
    package, *inner = module.split(".")
    try:
        # Of a top-level package nothing is imported for that.
        spec = find_spec(package)
    except ValueError:  # a module that somebody has put there without one
        return None
    if spec is None or spec.origin is None:
        return None
    origin = Path(spec.origin)
    place = origin.parent.joinpath(*inner)
    if not inner:
        return origin
    return place / "__init__.py" if place.is_dir() else place.with_suffix(".py")


def statements(source: Path | None) -> Sequence[ast.stmt]:
    """Return the statements of a file at its top level; none if there is no such file."""
    if source is None or not source.is_file():
        return []
    return ast.parse(source.read_text(encoding="utf-8")).body


@cache
def exports(module: str) -> frozenset[str]:
    """Return the classes and functions that a module defines or takes from another by name.

    >>> "JSONDecoder" in exports("json"), exports("a_package.that_is_not_installed")
    (True, frozenset())
    """
    names: set[str] = set()
    for node in statements(source_of(module)):
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.ImportFrom):
            names.update(alias.asname or alias.name for alias in node.names)
    return frozenset(names)
