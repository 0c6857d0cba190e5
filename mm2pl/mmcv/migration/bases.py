"""The ``_base_`` files that a 1.x config names, read from its text."""

from __future__ import annotations

import ast
from pathlib import Path

from mm2pl.config.computed_base import computed_base, is_literal
from mm2pl.config.errors import ConfigError
from mm2pl.mmcv.migration.config import NotMigratedError
from mm2pl.mmcv.migration.source import Source, Statement, read_source


def bases_of(path: Path) -> list[Path]:
    """Return the base files of a config; none for data formats, whose text has no bases to keep.

    Raises:
        NotMigratedError: They are computed from what cannot be evaluated.
    """
    names = base_names(path) if path.suffix == ".py" else []
    return [(path.parent / name).resolve() for name in names]


def family_of(path: Path) -> list[Path]:
    """Return all files that a config is made of, itself last; the ones that do not exist are left out."""
    files: list[Path] = []
    for base in bases_of(path) if path.exists() else []:
        files += [file for file in family_of(base) if file not in files]
    return [*files, path] if path.exists() else files


def base_names(path: Path) -> list[str]:
    """Return what a file's ``_base_`` says, without running the file, which may need the old library."""
    for statement in parsed_file(path).statements:
        if statement.name != "_base_":
            continue
        node = value_of(statement)
        if is_literal(node):
            value = ast.literal_eval(node)
        else:
            try:
                value = computed_base(node, path.read_text(encoding="utf-8"), str(path))
            except ConfigError as error:
                raise NotMigratedError(str(error)) from error
        return [value] if isinstance(value, str) else list(value)
    return []


def value_of(statement: Statement) -> ast.expr:
    """Return the right-hand side of a statement that assigns a name."""
    assert isinstance(statement.node, ast.Assign)
    return statement.node.value


def parsed_file(path: Path) -> Source:
    """Return the statements of a file, whose macros are not expanded.

    Raises:
        NotMigratedError: It is Python only once they are, as ``x = {{ fileBasename }}`` may be.
    """
    try:
        return read_source(path.read_text(encoding="utf-8"))
    except SyntaxError as error:
        raise NotMigratedError(
            f"{path}:{error.lineno}: {error.msg} → write the value in place of the macro"
        ) from error
