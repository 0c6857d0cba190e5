"""Count what public projects use of MMEngine and MMCV 1.x; the source of ``census.tsv``, which holds names alone.

Usage: python tests/compat/census.py GIT_FOLDER … > tests/compat/census.tsv
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import warnings
from collections import defaultdict
from collections.abc import Iterator

from tests.compat.list_imports import attribute_path

ROOMS = ("mmcv.runner", "mmcv.parallel", "mmcv.utils", "mmcv.engine", "mmcv.fileio")
"""What of MMCV 1.x is a matter of this package; images, operators and layers stay MMCV's."""

TYPE = re.compile(r"^mmengine(\.\w+)+$")


def is_asked(module: str) -> bool:
    """Say whether a module is counted."""
    return module.partition(".")[0] == "mmengine" or module.startswith(ROOMS) or module == "mmcv"


def used(tree: ast.AST) -> Iterator[tuple[str, str, str]]:
    """Yield ``(kind, module, name)``: imports, attributes of a runner, and types as strings."""
    modules: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if is_asked(alias.name):
                    root = alias.name.partition(".")[0]
                    modules[alias.asname or root] = alias.name if alias.asname else root
                    yield "import", alias.name, ""
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and is_asked(node.module or ""):
            for alias in node.names:
                yield "import", str(node.module), alias.name
        elif (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and TYPE.match(node.value)
        ):
            module, _, name = node.value.rpartition(".")
            yield "type", module, name
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            head, *rest = attribute_path(node) or [""]
            if head == "self" and rest[:1] == ["runner"]:
                head, *rest = rest
            if head == "runner" and rest:
                yield "runner", "", rest[0]
            # One step: what follows is the object's own.
            elif head in modules and rest:
                yield "import", modules[head], rest[0]


def sources(repository: str) -> Iterator[bytes]:
    """Yield the Python files of a git repository's newest commit."""
    git = ["git", f"--git-dir={repository}"]
    listed = subprocess.run(
        [*git, "ls-tree", "-r", "HEAD"], capture_output=True, text=True, check=True
    )
    blobs = [line.split()[2] for line in listed.stdout.splitlines() if line.endswith(".py")]
    done = subprocess.run(
        [*git, "cat-file", "--batch"],
        input="\n".join(blobs).encode(),
        capture_output=True,
        check=True,
    )
    rest = done.stdout
    while rest:
        head, _, rest = rest.partition(b"\n")
        # A blob that the snapshot lacks has no size: `<id> missing`.
        if head.endswith(b" missing"):
            continue
        size = int(head.split()[2])
        yield rest[:size]
        rest = rest[size + 1 :]


def of_project(repository: str) -> set[tuple[str, str, str, str]]:
    """Return ``(generation, kind, module, name)`` of all that a project uses."""
    found: set[tuple[str, str, str]] = set()
    for text in sources(repository):
        if b"mmcv" in text or b"mmengine" in text or b"runner" in text:
            try:
                found |= set(used(ast.parse(text)))
            except (SyntaxError, ValueError):
                continue
    new = any(module.startswith("mmengine") for _, module, _ in found)
    return {("mmengine" if new else "mmcv", *row) for row in found}


def name_of(repository: str) -> str:
    """Return ``owner/name`` of a snapshot's folder, ``…/owner+name/repo``, or of the ``.git`` in it."""
    return repository.rstrip("/").removesuffix("/.git").split("/")[-2].replace("+", "/")


def main(repositories: list[str]) -> None:
    """Print the projects, by generation, and the names with the number of projects that use them."""
    warnings.simplefilter("ignore")
    counts: dict[tuple[str, str, str, str], int] = defaultdict(int)
    for repository in sorted(repositories):
        rows = of_project(repository)
        generation = next(iter(rows))[0] if rows else "none"
        print("project", generation, name_of(repository), len(rows), sep="\t")
        for row in rows:
            counts[row] += 1
    for row, count in sorted(counts.items()):
        print(*row, count, sep="\t")


if __name__ == "__main__":
    main(sys.argv[1:])
