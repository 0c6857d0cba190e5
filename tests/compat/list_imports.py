"""List what installed or unpacked packages import from mmengine; the source of ``toolbox_imports.tsv``.

Usage: python tests/compat/list_imports.py mmdet=path/to/mmdet mmcv=path/to/mmcv … > toolbox_imports.tsv
"""

from __future__ import annotations

import ast
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path


def below(module: str | None) -> bool:
    """Say whether a module is of mmengine."""
    return (module or "").partition(".")[0] == "mmengine"


def attribute_path(node: ast.expr) -> list[str]:
    """Return ``["a", "b", "c"]`` of the expression ``a.b.c``; nothing of any other."""
    if isinstance(node, ast.Name):
        return [node.id]
    inner = attribute_path(node.value) if isinstance(node, ast.Attribute) else []
    return [*inner, node.attr] if inner else []


def imported(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """Yield ``(module, name)`` of every import from mmengine; the name is empty for ``import module``.

    ``import mmengine`` with ``mmengine.fileio.load(…)`` below it yields ``("mmengine", "fileio.load")`` too.
    """
    modules: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if below(alias.name):
                    yield alias.name, ""
                    modules[alias.asname or "mmengine"] = alias.name if alias.asname else "mmengine"
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and below(node.module):
            for alias in node.names:
                yield str(node.module), alias.name
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            head, *rest = attribute_path(node) or [""]
            if head in modules:
                yield modules[head], ".".join(rest)


def table(packages: dict[str, Path]) -> list[tuple[str, str, str]]:
    """Return rows of module, name and the packages that import it."""
    users: dict[tuple[str, str], list[str]] = defaultdict(list)
    for package, folder in packages.items():
        found: set[tuple[str, str]] = set()
        for file in folder.rglob("*.py"):
            found |= set(imported(ast.parse(file.read_text())))
        for key in found:
            users[key].append(package)
    return [(module, name, " ".join(sorted(users[module, name]))) for module, name in sorted(users)]


if __name__ == "__main__":
    for row in table({key: Path(value) for key, value in (a.split("=") for a in sys.argv[1:])}):
        print("\t".join(row))
