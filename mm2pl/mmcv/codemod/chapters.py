"""What a 1.x project has beside imports and hooks, and what takes its place: models, registries, training scripts."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

Note = Callable[[int, str, str], None]
Function = ast.FunctionDef | ast.AsyncFunctionDef

TELLING = re.compile(
    r"return_loss|forward_train|\bsimple_test\b|def (train|val)_step\b|\bRegistry\("
    r"|register_training_hooks|build_runner|(Epoch|Iter)BasedRunner\("
)
"""What a file has that is worth parsing."""

_STEP = (
    "MMEngine's loops call {name}(data) with optim_wrapper=…: derive from mm2pl.model.BaseModel, whose train_step runs "
    "forward(inputs, data_samples, mode='loss') and the optimizer, and drop this method"
)
_FORWARD = (
    "is forward(inputs, data_samples=None, mode='tensor') now: 'loss' returns the dict of losses that forward_train "
    "did, 'predict' the results of simple_test; derive from mm2pl.model.BaseModel"
)
_PARTS = {
    "forward_train": "is the branch mode='loss' of forward(inputs, data_samples, mode): return the dict of losses",
    "forward_test": "is the branch mode='predict' of forward(inputs, data_samples, mode): return the data samples",
    "simple_test": "is the branch mode='predict' of forward(inputs, data_samples, mode): return the data samples",
}
_REGISTRY = (
    "stands alone: a config's types are looked up in mm2pl's registries → Registry({name!r}, "
    "parent=mm2pl.registry.{parent}, scope='<your package>')"
)
_SCRIPT = (
    "is a 1.x training script's: `Runner.from_cfg(Config.fromfile(path)).train()` of mm2pl.runner does all of it, from "
    "the data loaders to resuming, with the config that `mm2pl migrate` writes; delete it, or `mm2pl fit CONFIG`"
)
_SCRIPT_CALLS = frozenset(
    {"register_training_hooks", "build_runner", "EpochBasedRunner", "IterBasedRunner"}
)

# By the words that 1.x projects give to the first argument.
_PARENTS = {
    "HOOKS": ("hook",),
    "DATASETS": ("dataset",),
    "TRANSFORMS": ("pipeline", "transform"),
    "OPTIMIZERS": ("optimizer",),
    "RUNNERS": ("runner",),
}


class _Found(NamedTuple):
    line: int
    what: str
    why: str


def note_chapters(text: str, note: Note) -> None:
    """Tell ``note`` the places, at the line of the use; nothing if the text is not Python, which others tell."""
    if not TELLING.search(text):
        return
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError):
        return
    bound = _bound(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            found = _of_class(node)
        elif isinstance(node, ast.Call):
            found = _of_call(node, bound)
        else:
            continue
        for line, what, why in found:
            note(line, what, why)


def _bound(tree: ast.Module) -> dict[str, str]:
    """Return what names of the file are imported as, in full."""
    return {
        alias.asname or alias.name: f"{node.module}.{alias.name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module and not node.level
        for alias in node.names
    }


def _of_class(node: ast.ClassDef) -> Iterator[_Found]:
    for method in node.body:
        if not isinstance(method, Function):
            continue
        name, arguments = method.name, [a.arg for a in (*method.args.args, *method.args.kwonlyargs)]
        if name in ("train_step", "val_step") and "optimizer" in arguments:
            yield _Found(method.lineno, f"{node.name}.{name}", _STEP.format(name=name))
        elif name == "forward" and "return_loss" in arguments:
            yield _Found(method.lineno, f"{node.name}.forward(return_loss=…)", _FORWARD)
        elif name in _PARTS and len(arguments) > 1:
            yield _Found(method.lineno, f"{node.name}.{name}", _PARTS[name])


def _of_call(node: ast.Call, bound: dict[str, str]) -> Iterator[_Found]:
    path = ast.unparse(node.func) if isinstance(node.func, ast.Name | ast.Attribute) else ""
    origin = bound.get(path, path)
    name = path.rpartition(".")[2]
    old = origin.startswith(("mmcv.", "mm2pl.mmcv."))
    if name in _SCRIPT_CALLS and (old or name == "register_training_hooks"):
        yield _Found(node.lineno, f"{name}(…)", _SCRIPT)
    registry = old or origin in ("mm2pl.registry.Registry", "mmengine.registry.Registry")
    if name == "Registry" and registry and not any(k.arg == "parent" for k in node.keywords):
        first = node.args[0] if node.args else None
        title = first.value if isinstance(first, ast.Constant) else "…"
        parents = (
            k for k, words in _PARENTS.items() if any(w in str(title).lower() for w in words)
        )
        parent = next(parents, "MODELS")
        why = _REGISTRY.format(name=title, parent=parent)
        yield _Found(node.lineno, f"Registry({title!r})", why)
