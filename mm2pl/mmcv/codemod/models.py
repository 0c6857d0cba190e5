"""Models and registries of 1.x: a base class that runs them under the loops of today, and a parent registry."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

Function = ast.FunctionDef | ast.AsyncFunctionDef

BASE = "MMCVModel"
PLAIN = "MMCVPlainModel"
"""The base for models of ``torch.nn.Module``, which has no ``init_weights``."""
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
_MODELS = re.compile(r"mm2pl\.(registry\.MODELS|mmcv\.cnn\.[A-Z_]+)$")
_TELLING = re.compile(r"def (train|val)_step\b|\bRegistry\(")


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
    """Return whether a class has steps of 1.x' signature, which loops of today cannot call.

    ``forward(return_loss=…)`` alone is none: projects with training loops of their own have it too.
    """
    return any(
        method.name in ("train_step", "val_step") and "optimizer" in arguments(method)
        for method in node.body
        if isinstance(method, Function)
    )


def arguments(method: Function) -> list[str]:
    """Return the names of a function's arguments."""
    return [a.arg for a in (*method.args.posonlyargs, *method.args.args, *method.args.kwonlyargs)]


def adapted(tree: ast.Module, bound: dict[str, str]) -> dict[str, ast.expr | None]:
    """Return by name the classes that `MMCVModel` lets run under the loops of today.

    The value is the base that it replaces; None if the class inherits from another one of them, or derives from
    `MMCVModel` already.
    """
    found: dict[str, ast.expr | None] = {}
    # In the order of the text, since a base stands above its subclass.
    classes = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    for node in sorted(classes, key=lambda each: each.lineno):
        names = [origin(base, bound) for base in node.bases]
        if any(name in found or name.rpartition(".")[2] in (BASE, PLAIN) for name in names):
            found[node.name] = None
        elif is_old_model(node):
            roots = [b for b, n in zip(node.bases, names, strict=True) if _MODULES.match(n)]
            if roots:
                found[node.name] = roots[0]
    return found


class NewRegistry(NamedTuple):
    """A call that makes a registry without a parent.

    Args:
        call: The call.
        title: What the registry is called.
        parent: The registry of its kind in mm2pl; empty if there is none, or another child of the scope has it.
    """

    call: ast.Call
    title: str
    parent: str


def new_registries(tree: ast.Module, path: Path) -> list[NewRegistry]:
    """Return the registries without parent that a file makes.

    Only the first of a kind in a package gets a parent, since that has one child of a scope.
    """
    calls = _registry_calls(tree)
    if all(_has_parent(call) for call in calls):
        return []
    package = _package(path)
    trees = {path: tree}
    for other in sorted(_files(package)) if package is not None else ():
        text = other.read_text(errors="replace")
        found = parsed(text) if other != path.resolve() and "Registry(" in text else None
        if found is not None:
            trees[other] = found
    taken = {kind for each in trees.values() for kind in _parents(each)}
    for each in sorted(trees, key=Path.resolve):
        made = []
        for call in _registry_calls(trees[each]):
            if not _has_parent(call):
                title = _title(call) or "…"
                parent = next(iter(_kinds(title) - taken), "")
                taken.add(parent)
                made.append(NewRegistry(call, title, parent))
        if each == path:
            return made
    return []


def _registry_calls(tree: ast.Module) -> list[ast.Call]:
    bound = origins(tree)
    return [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and _REGISTRY.match(origin(node.func, bound))
        and _title(node) is not None
    ]


def _title(call: ast.Call) -> str | None:
    """Return what a registry is called, ``…`` if that is computed; None without a name."""
    given = [*call.args[:1], *(k.value for k in call.keywords if k.arg == "name")]
    if not given:
        return None
    return str(given[0].value) if isinstance(given[0], ast.Constant) else "…"


def _has_parent(call: ast.Call) -> bool:
    """Return whether a call gives a parent, or arguments that cannot be read."""
    starred = any(isinstance(each, ast.Starred) for each in call.args)
    # The third argument in MMCV 1.x and MMEngine.
    return starred or len(call.args) > 2 or any(k.arg in ("parent", None) for k in call.keywords)


def _parents(tree: ast.Module) -> Iterator[str]:
    bound = origins(tree)
    for call in _registry_calls(tree):
        yield from (path.rpartition(".")[2] for path in _given_parents(call, bound))


def _given_parents(call: ast.Call, bound: dict[str, str]) -> list[str]:
    given = (*call.args[2:3], *(k.value for k in call.keywords if k.arg == "parent"))
    return [origin(each, bound) for each in given]


def _options(call: ast.Call) -> set[str]:
    """Return the arguments that decide how a registry builds, such as its ``build_func``."""
    return {ast.unparse(k) for k in call.keywords if k.arg not in ("name", "parent")} | {
        ast.unparse(given) for given in (*call.args[1:2], *call.args[3:])
    } - {"None"}


def _doubled(tree: ast.Module, bound: dict[str, str]) -> Iterator[tuple[ast.Call, str]]:
    """Yield the calls that would make a second child of MODELS in a file, and the name of the first.

    MMCV 1.x had a registry for each kind of layer. MMCV 2.x keeps them in MODELS, which has one child of a scope.
    """
    calls, first, options = _registry_calls(tree), "", set[str]()
    for node in tree.body:
        match node:
            case ast.Assign([ast.Name(name)], ast.Call() as call) if call in calls:
                parents = _given_parents(call, bound)
                own = any(k.arg == "scope" for k in call.keywords)
                if own or not any(_MODELS.match(path) for path in parents):
                    continue
                # One that builds in another way cannot be the first by another name: that its scope is taken is told
                # where it is made.
                if first and _options(call) == options:
                    yield call, first
                elif not first:
                    first, options = name, _options(call)


def _kinds(title: str) -> set[str]:
    """Return the registry of mm2pl for a title: its last word says what the entries are.

    >>> [_kinds(title) for title in ("ObjectDetectors", "data pipeline", "Transformer", "optimizer builder")]
    [{'MODELS'}, {'TRANSFORMS'}, set(), set()]
    """
    words = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", title)
    last = words[-1].lower().removesuffix("s") if words else ""
    return {kind for kind, names in PARENTS.items() if last in names}


def scope_of(path: Path) -> str:
    """Return the name of a file's outermost package, or of its folder; empty for a text without file."""
    folder = _package(path)
    return folder.name if folder is not None and folder.name.isidentifier() else ""


def _package(path: Path) -> Path | None:
    if path.suffix != ".py":
        return None
    folder = path.resolve().parent
    while (folder / "__init__.py").exists() and (folder.parent / "__init__.py").exists():
        folder = folder.parent
    return folder


def _files(package: Path) -> Iterator[Path]:
    """Yield the files whose scope a package or folder is."""
    if not (package / "__init__.py").exists():
        yield from (path for path in package.glob("*.py") if path.is_file())
        return
    for path in package.rglob("*.py"):
        if path.is_file() and _package(path) == package:
            yield path


def with_bases(text: str, path: Path) -> str:
    """Return a text whose imports are rewritten already, with the base and the parents put in."""
    # A lone carriage return ends a line for Python alone.
    if not _TELLING.search(text) or "\r" in text.replace("\r\n", ""):
        return text
    tree = parsed(text)
    if tree is None:
        return text  # others tell it
    bound, place = origins(tree), _Places(text)
    edits = [
        Edit(*place.of(base), PLAIN if origin(base, bound).startswith("torch.") else BASE)
        for base in adapted(tree, bound).values()
        if base is not None
    ]
    bases = ", ".join(sorted({edit.text for edit in edits}))
    doubled = [Edit(*place.of(call), name) for call, name in _doubled(tree, bound)]
    imports = [f"from mm2pl.mmcv import {bases}"] if bases else []
    scope = scope_of(path)
    for call, _, parent in new_registries(tree, path):
        if parent:
            behind = _behind_arguments(call, place, text)
            named = scope and not any(k.arg == "scope" for k in call.keywords)
            more = f", parent=ROOT_{parent}" + (f", scope={scope!r}" if named else "")
            edits.append(Edit(behind, behind, more))
            imports.append(f"from mm2pl.registry import {parent} as ROOT_{parent}")
    if edits:
        edits.append(_import_edit(tree.body, imports, place))
    new = text
    for edit in sorted(edits + doubled, reverse=True):
        new = new[: edit.begin] + edit.text + new[edit.end :]
    # A file that cannot be imported is worse than one that is left.
    return text if parsed(new) is None else new


def _behind_arguments(call: ast.Call, place: _Places, text: str) -> int:
    """Return where a call's last argument ends, with the parentheses around it."""
    last = max(place.of(a)[1] for a in (*call.args, *(k.value for k in call.keywords)))
    rest = re.finditer(r"#[^\n]*|\)", text[last : place.of(call)[1] - 1])
    return max([last, *(last + found.end() for found in rest if found.group() == ")")])


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
