"""Models and registries of 1.x: a base class that runs them under the loops of today, and a parent registry."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

Function = ast.FunctionDef | ast.AsyncFunctionDef

BASE = "MMCVModel"
PARENTS = {
    "HOOKS": ("hook",),
    "DATASETS": ("dataset",),
    "TRANSFORMS": ("pipeline", "transform"),
    "OPTIMIZERS": ("optimizer",),
    "RUNNERS": ("runner",),
    "MODELS": (
        *("model", "detector", "classifier", "segmentor", "recognizer", "network", "architecture"),
        *("estimator", "localizer", "matcher", "restorer"),
    ),
}
"""Registries of mm2pl → the words that 1.x projects name such a registry by."""

_MODULES = re.compile(
    r"(torch\.nn(\.modules(\.module)?)?\.Module|(mmcv|mmengine|mm2pl)\..*BaseModule)$"
)
_REGISTRY = re.compile(r"(mmcv|mm2pl|mmengine)\.(.*\.)?Registry$")
_TELLING = re.compile(r"return_loss|def (train|val)_step\b|\bRegistry\(")


class Edit(NamedTuple):
    """What replaces a piece of a text; a place if both ends are the same."""

    begin: int
    end: int
    text: str


def parsed(text: str) -> ast.Module | None:
    """Return the tree of a text; None if it is not Python."""
    try:
        return ast.parse(text)
    except (SyntaxError, ValueError, RecursionError):
        return None


def lines_of(text: str) -> list[str]:
    """Return the lines as Python counts them, with their ends: a form feed is none."""
    return re.findall(r"[^\r\n]*(?:\r\n?|\n)|[^\r\n]+", text)


def origins(tree: ast.Module) -> dict[str, str]:
    """Return what names of the file are imported as, in full; relative ones begin with a dot."""
    found: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            found |= {a.asname or a.name: f"{module}.{a.name}" for a in node.names}
        elif isinstance(node, ast.Import):
            found |= {
                a.asname or a.name.partition(".")[0]: a.name
                if a.asname
                else a.name.partition(".")[0]
                for a in node.names
            }
    return found


def origin(node: ast.expr, bound: dict[str, str]) -> str:
    """Return the full path of a name or attribute, else an empty string."""
    path = ast.unparse(node) if isinstance(node, ast.Name | ast.Attribute) else ""
    first, _, rest = path.partition(".")
    return ".".join(filter(None, [bound.get(first, first), rest]))


def is_old_model(node: ast.ClassDef) -> bool:
    """Return whether a class has steps of 1.x' signature, which loops of today cannot call."""
    return any(
        (method.name in ("train_step", "val_step") and "optimizer" in arguments(method))
        or (method.name == "forward" and "return_loss" in arguments(method))
        for method in node.body
        if isinstance(method, Function)
    )


def arguments(method: Function) -> list[str]:
    """Return the names of a function's arguments."""
    return [a.arg for a in (*method.args.posonlyargs, *method.args.args, *method.args.kwonlyargs)]


def adapted(tree: ast.Module, bound: dict[str, str]) -> dict[str, ast.expr | None]:
    """Return the classes that run under the loops of today afterwards, with the base that gives way.

    None stands for a class that inherits from another one of them, or has the base already.
    """
    found: dict[str, ast.expr | None] = {}
    # In the order of the text, since a base stands above its subclass.
    classes = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    for node in sorted(classes, key=lambda each: each.lineno):
        names = [origin(base, bound) for base in node.bases]
        if any(name in found or name.rpartition(".")[2] == BASE for name in names):
            found[node.name] = None
        elif is_old_model(node):
            roots = [b for b, n in zip(node.bases, names, strict=True) if _MODULES.match(n)]
            if roots:
                found[node.name] = roots[0]
    return found


def new_registries(tree: ast.Module, bound: dict[str, str]) -> Iterator[tuple[ast.Call, str, str]]:
    """Yield the calls that make a registry without parent, what it is called, and the parent of its kind if any.

    Only the first of a kind gets one: a parent has one child of a scope.
    """
    calls = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and _REGISTRY.match(origin(node.func, bound)) and node.args
    ]
    given = [k.value for call in calls for k in call.keywords if k.arg == "parent"]
    taken = {origin(parent, bound).rpartition(".")[2] for parent in given}
    for call in calls:
        if any(k.arg == "parent" for k in call.keywords):
            continue
        first = call.args[0]
        title = first.value if isinstance(first, ast.Constant) else "…"
        words = str(title).lower()
        parents = (kind for kind, all_ in PARENTS.items() if any(word in words for word in all_))
        parent = next((kind for kind in parents if kind not in taken), "")
        taken.add(parent)
        yield call, str(title), parent


def scope_of(path: Path) -> str:
    """Return the name of a file's outermost package, or of its folder; empty for a text without file."""
    if path.suffix != ".py":
        return ""
    folder = path.resolve().parent
    while (folder / "__init__.py").exists() and (folder.parent / "__init__.py").exists():
        folder = folder.parent
    return folder.name if folder.name.isidentifier() else ""


def with_bases(text: str, path: Path) -> str:
    """Return a text whose imports are rewritten already, with the base and the parents put in."""
    # A lone carriage return ends a line for Python alone.
    if not _TELLING.search(text) or "\r" in text.replace("\r\n", ""):
        return text
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError):
        return text  # others tell it
    bound, place = origins(tree), _Places(text)
    edits = [
        Edit(*place.of(base), BASE) for base in adapted(tree, bound).values() if base is not None
    ]
    imports = [f"from mm2pl.mmcv import {BASE}"] if edits else []
    scope = scope_of(path)
    for call, _, parent in new_registries(tree, bound):
        if parent:
            last = max(place.of(a)[1] for a in (*call.args, *(k.value for k in call.keywords)))
            more = f", parent=ROOT_{parent}" + (f", scope={scope!r}" if scope else "")
            edits.append(Edit(last, last, more))
            imports.append(f"from mm2pl.registry import {parent} as ROOT_{parent}")
    if edits:
        edits.append(_import_edit(tree.body, imports, place))
    for edit in sorted(edits, reverse=True):
        text = text[: edit.begin] + edit.text + text[edit.end :]
    return text


class _Places:
    """Where the nodes of a tree are in its text.

    Args:
        text: The source.
    """

    def __init__(self, text: str) -> None:
        self._lines = lines_of(text)
        self.newline = "\r\n" if "\r\n" in text else "\n"
        self._begins = [0]
        for line in self._lines:
            self._begins.append(self._begins[-1] + len(line))

    def of(self, node: ast.expr) -> tuple[int, int]:
        """Return where an expression begins and ends."""
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        return self._at(node.lineno, node.col_offset), self._at(
            node.end_lineno, node.end_col_offset
        )

    def line(self, number: int) -> int:
        """Return where a line begins, counted from 1."""
        return self._begins[number - 1]

    def _at(self, line: int, column: int) -> int:
        # Python counts UTF-8 bytes.
        head = self._lines[line - 1].encode()[:column].decode()
        return self._begins[line - 1] + len(head)


def _import_edit(body: Sequence[ast.stmt], imports: list[str], place: _Places) -> Edit:
    """Return the edit that puts imports behind the first block of them, or in front of the code."""
    after = 0
    for statement in body:
        is_docstring = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
        if not isinstance(statement, ast.Import | ast.ImportFrom) and not is_docstring:
            break
        after = statement.end_lineno or 0
    position = place.line(after + 1)
    lines = "".join(line + place.newline for line in dict.fromkeys(imports))
    return Edit(position, position, lines)
