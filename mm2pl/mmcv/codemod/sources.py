"""Where a project defines what a file of it names: looked up in the texts, through imports and re-exports."""

from __future__ import annotations

import ast
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from mm2pl.mmcv.codemod.models import BASE, PLAIN, adapted, origin, origins, parsed


class Source(NamedTuple):
    """A file that is read.

    Args:
        tree: Its text, parsed.
        path: Where it is; None for a text without file.
    """

    tree: ast.Module
    path: Path | None

    @property
    def bound(self) -> dict[str, str]:
        """What its names are imported as."""
        return origins(self.tree)


def definition(
    path: str, source: Source, hops: int = 5
) -> tuple[ast.FunctionDef | ast.ClassDef, Source] | None:
    """Return the function or class of a path as the source sees it; None if it is not in the project."""
    module, _, name = path.rpartition(".")
    if module:
        file = _file(module, source.path)
        tree = None if file is None else _tree(file, file.stat().st_mtime_ns)
        if tree is None:
            return None
        source = Source(tree, file)
    for node in source.tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == name:
            return node, source
    if not hops:
        return None
    bound = source.bound
    further = [bound[name]] if name in bound else [f"{star}.{name}" for star in _stars(source.tree)]
    found = (definition(each, source, hops - 1) for each in further if "." in each)
    return next((each for each in found if each is not None), None)


def _stars(tree: ast.Module) -> list[str]:
    """Return the modules that ``from module import *`` names."""
    return [
        "." * node.level + (node.module or "")
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and any(alias.name == "*" for alias in node.names)
    ]


def roots(base: str, source: Source, hops: int = 10) -> set[str]:
    """Return the paths that a base class goes back to outside the project.

    ``MMCVModel`` is one if a class on the way has it, or is given it by the rewriting.
    """
    found = definition(base, source) if hops else None
    node, inner = found or (None, source)
    if not isinstance(node, ast.ClassDef):
        return {base}
    if node.name in adapted(inner.tree, inner.bound):
        return {BASE}
    return {
        each
        for parent in node.bases
        for each in roots(origin(parent, inner.bound), inner, hops - 1)
    }


def runs(paths: set[str]) -> bool:
    """Return whether a class with these roots runs under the loops of today."""
    return any(path.rpartition(".")[2] in (BASE, PLAIN) for path in paths)


@lru_cache(maxsize=256)
def _tree(file: Path, changed: int) -> ast.Module | None:
    return parsed(file.read_text(errors="replace"))


def _file(module: str, path: Path | None) -> Path | None:
    """Return the file of a module, looked for upwards from ``path``."""
    if path is None:
        return None
    rest = module.lstrip(".")
    level = len(module) - len(rest)
    parents = list(path.parents)
    for folder in parents[level - 1 : level] if level else parents:
        target = folder.joinpath(*rest.split(".")) if rest else folder
        for file in (target.with_name(f"{target.name}.py"), target / "__init__.py"):
            if file.is_file():
                return file
    return None
