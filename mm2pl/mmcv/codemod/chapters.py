"""What a 1.x project has besides imports and hooks, and what takes its place: models, registries, training scripts."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from mm2pl.mmcv.codemod.models import (
    Function,
    adapted,
    arguments,
    new_registries,
    origin,
    origins,
    scope_of,
)
from mm2pl.mmcv.codemod.training import BUILDERS

Note = Callable[[int, str, str], None]

TELLING = re.compile(
    r"return_loss|forward_train|\bsimple_test\b|def (train|val)_step\b|\bRegistry\("
    r"|register_training_hooks|build_runner|(Epoch|Iter)BasedRunner\("
)
"""What a file has that is worth parsing."""

_NOW = (
    "loops of today call {called} → if {base} does not derive from mm2pl.mmcv.MMCVModel, which runs the old methods "
    "unchanged, put that into its place"
)
_OF_TOOLBOX = (
    "{base} of today calls loss(inputs, data_samples) and predict(inputs, data_samples) instead, and never this: "
    "rename it, and take its arguments from the data samples"
)
_PARTS = frozenset({"forward_train", "forward_test", "simple_test"})
_CHILD = (
    "is a child of mm2pl.registry.{parent} now: the config finds its types with default_scope={scope!r} (`mm2pl "
    "migrate CONFIG --scope {scope}`)"
)
_ALONE = (
    "stands alone, as before: `{name}.build(cfg)` in your code goes on, but no type of a config is looked up in it → "
    "if one is, give it parent=mm2pl.registry.<the kind>, scope='<your package>'"
)
_SCRIPT = (
    "is a 1.x training script's: `Runner.from_cfg(Config.fromfile(path)).train()` of mm2pl.runner does all of it, from "
    "the data loaders to resuming, with the config that `mm2pl migrate` writes; delete it, or `mm2pl fit CONFIG`"
)


class _Found(NamedTuple):
    line: int
    what: str
    why: str


def note_chapters(text: str, path: Path, note: Note) -> None:
    """Tell ``note`` the places, at the line of the use; nothing if the text is not Python, which others tell."""
    if not TELLING.search(text):
        return
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError):
        return
    bound = origins(tree)
    runs = adapted(tree, bound)
    found: list[_Found] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and node.name not in runs:
            found += _of_class(node, bound)
        elif isinstance(node, ast.Call):
            found += _of_call(node, bound)
    found += _of_registries(tree, path)
    for line, what, why in found:
        note(line, what, why)


def _of_class(node: ast.ClassDef, bound: dict[str, str]) -> Iterator[_Found]:
    """Yield the old methods of a class whose base is in another file."""
    bases = [origin(base, bound) for base in node.bases]
    # Heads and necks have a `forward_train` too, which the model calls. Theirs are not to be told.
    foreign = next(
        (b for b in bases if "." in b.lstrip(".") and not b.startswith((".", "torch."))), ""
    )
    base = bases[0] if bases else "the class"
    for method in node.body:
        if not isinstance(method, Function):
            continue
        name, names = method.name, arguments(method)
        if name in ("train_step", "val_step") and "optimizer" in names:
            called = "train_step(data, optim_wrapper=…) and val_step(data)"
            yield _Found(
                method.lineno, f"{node.name}.{name}", _NOW.format(called=called, base=base)
            )
        elif name == "forward" and "return_loss" in names:
            called = "forward(mode='loss') and forward(mode='predict')"
            what = f"{node.name}.forward(return_loss=…)"
            yield _Found(method.lineno, what, _NOW.format(called=called, base=base))
        elif name in _PARTS and len(names) > 1 and foreign and not _is_module(foreign):
            why = _OF_TOOLBOX.format(base=foreign)
            yield _Found(method.lineno, f"{node.name}.{name}", why)


def _is_module(path: str) -> bool:
    return path.rpartition(".")[2] in ("Module", "BaseModule", "Sequential", "ModuleList")


def _of_registries(tree: ast.Module, path: Path) -> Iterator[_Found]:
    scope = scope_of(path)
    for call, title, parent in new_registries(tree, path):
        given = (k.value for k in call.keywords if k.arg == "scope")
        own = next((str(v.value) for v in given if isinstance(v, ast.Constant)), scope)
        why = (
            _CHILD.format(parent=parent, scope=own or "<your package>")
            if parent
            else _ALONE.format(name=title)
        )
        yield _Found(call.lineno, f"Registry({title!r})", why)


def _of_call(node: ast.Call, bound: dict[str, str]) -> Iterator[_Found]:
    full = origin(node.func, bound)
    name = full.rpartition(".")[2]
    if isinstance(
        node.func, ast.Attribute
    ):  # of a variable, such as `runner.register_training_hooks`
        name = node.func.attr
    old = full.startswith(("mmcv.", "mm2pl.mmcv."))
    if name in BUILDERS and (old or name == "register_training_hooks"):
        yield _Found(node.lineno, f"{name}(…)", _SCRIPT)
