"""``_base_`` as MMCV 1.x reads it: after the file has run, so that it may be computed from its variables."""

from __future__ import annotations

import ast
import itertools
from collections.abc import Sequence
from typing import Any

from .errors import ConfigError, ConfigParsingError
from .source import is_base_assignment, parse

IMPORTS = (ast.Import, ast.ImportFrom)
DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


def bound_names(statement: ast.stmt) -> set[str]:
    """Return the names that a statement binds, those of its inner functions included."""
    bound = set()
    for node in ast.walk(statement):
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            bound.add(node.id)
        elif isinstance(node, DEFINITIONS):
            bound.add(node.name)
        elif isinstance(node, ast.alias):
            bound.add((node.asname or node.name).partition(".")[0])
    return bound


def is_literal(node: ast.expr) -> bool:
    """Return whether an expression is plain data, which needs no running."""
    try:
        ast.literal_eval(node)
    # `{[]: 1}` is a TypeError.
    except (TypeError, ValueError, RecursionError):
        return False
    return True


def computed_base(node: ast.expr, text: str, filename: str) -> Any:
    """Return the value of ``_base_`` as MMCV 1.7.2 finds it, which runs the whole file first; nothing is executed.

    Of the file only that part is interpreted that shares a variable with ``_base_``, directly or through others.

    Raises:
        ConfigParsingError: It, or a statement of that part, is more than the interpreter of safe configs knows.
    """
    from .safe import Budget
    from .safe.interpreter import Interpreter

    body = parse(text, filename).body
    above = list(itertools.takewhile(lambda each: not is_base_assignment(each), body))
    interpreter = Interpreter(filename, {"__file__": filename}, Budget())
    try:
        interpreter.run(_connected(above, node))
        return interpreter.value_of(node)
    except ConfigError as error:
        raise ConfigParsingError(
            "`_base_` is computed from what the migration cannot evaluate → write the paths out",
            error.at,
        ) from error


def _connected(statements: Sequence[ast.stmt], node: ast.expr) -> list[ast.stmt]:
    """Return the statements that bind or mention a variable that ``node`` needs, and so on through their own."""
    bound = {name for each in statements for name in bound_names(each)}
    imported = {
        name for each in statements if isinstance(each, IMPORTS) for name in bound_names(each)
    }
    needed = _names(node) & bound
    taken: set[int] = set()
    while True:
        # A list may be changed by any statement that mentions it, or a second name of it; a module is not.
        new = {
            i
            for i, each in enumerate(statements)
            if i not in taken and (needed & (_names(each) - imported | bound_names(each)))
        }
        if not new:
            return [statements[i] for i in sorted(taken)]
        taken |= new
        needed |= bound & {
            name for i in new for name in _names(statements[i]) | bound_names(statements[i])
        }


def _names(node: ast.AST) -> set[str]:
    return {each.id for each in ast.walk(node) if isinstance(each, ast.Name)}
