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
from mm2pl.mmcv.codemod.sources import Source, roots, runs
from mm2pl.mmcv.codemod.training import BUILDERS

Note = Callable[[int, str, str], None]

TELLING = re.compile(
    r"return_loss|forward_train|\bsimple_test\b|def (train|val)_step\b|\bRegistry\("
    r"|register_training_hooks|build_runner|(Epoch|Iter)BasedRunner\b|build_dataset\("
)
"""What a file has that is worth parsing."""

_TYPE_OF = re.compile(r"""\.type$|\['type'\]$|\.get\('type'""")
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
_LOOP = (
    "Runner.train() of today does not call it → make a loop of it, `@LOOPS.register_module() class {name}Loop({loop})` "
    "with `{method}`, and name it in train_cfg=dict(type='{name}Loop', …). In its body self.model and self.call_hook "
    "are self.runner's, data_loader is self.{loader}, and self.run_iter({arguments}) does an iteration, its two hooks "
    "and the counting"
)
_LOOPS = {
    "EpochBasedRunner": {
        "loop": "EpochBasedTrainLoop",
        "method": "run_epoch(self)",
        "loader": "dataloader",
        "arguments": "idx, data_batch",
    },
    "IterBasedRunner": {
        "loop": "IterBasedTrainLoop",
        "method": "run(self)",
        "loader": "dataloader_iterator",
        "arguments": "data_batch",
    },
}
_OF_RUNNER = {
    "train": _LOOP,
    "run_iter": (
        "Runner.train() of today does not call it → a model's train_step(data, optim_wrapper) does this, or "
        "run_iter(self, {arguments}) of a {loop} that train_cfg=dict(type=…) names"
    ),
    "val": "Runner.val() of today does not call it → run(self) of a ValLoop that val_cfg=dict(type=…) names does this",
    "save_checkpoint": (
        "Runner.train() of today does not call it → before_save_checkpoint(runner, checkpoint) of a hook adds to the "
        "file; the state of mixed precision is in it (optim_wrapper=dict(type='AmpOptimWrapper'), without apex)"
    ),
    "resume": (
        "Runner.train() of today does not call it → after_load_checkpoint(runner, checkpoint) of a hook takes back "
        "what before_save_checkpoint put into the file"
    ),
}
"""Methods that 1.x' runners let subclasses override → where that is done today."""
_BUILT = (
    "{function}() decides it, and the Runner of today builds data sets from a registry alone → where the classes are "
    "imported already: DATASETS.register_module({kind!r}, force=True, module=lambda **cfg: {function}(dict(cfg, "
    "type={kind!r})))"
)
# The migration of a config names MMCVConcatDataset and MMCVRepeatDataset for them.
_OWN_WRAPPERS = ("ConcatDataset", "RepeatDataset")


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
    source = Source(tree, path.resolve() if path.suffix == ".py" else None)
    known = adapted(tree, bound)
    found: list[_Found] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and node.name not in known:
            found += _of_class(node, source)
            found += _of_runner(node, bound)
        elif isinstance(node, ast.FunctionDef) and node.name.endswith("build_dataset"):
            found += _of_builder(node)
        elif isinstance(node, ast.Call):
            found += _of_call(node, bound)
    found += _of_registries(tree, path)
    for line, what, why in found:
        note(line, what, why)


def _of_class(node: ast.ClassDef, source: Source) -> Iterator[_Found]:
    """Yield the old methods of a class that nothing in the project lets run."""
    bases = [origin(base, source.bound) for base in node.bases]
    outside = {root for base in bases for root in roots(base, source)}
    if runs(outside):
        return
    # Heads and necks have a `forward_train` too, which the model calls. Theirs are not to be told.
    foreign = next(
        (b for b in sorted(outside) if "." in b.lstrip(".") and not b.startswith((".", "torch."))),
        "",
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


def _of_runner(node: ast.ClassDef, bound: dict[str, str]) -> Iterator[_Found]:
    """Yield the methods that a 1.x runner class overrides, which no config calls any more."""
    bases = [origin(base, bound) for base in node.bases]
    kinds = [b.rpartition(".")[2] for b in bases if b.startswith(("mmcv.", "mm2pl.mmcv."))]
    words = next((_LOOPS[kind] for kind in kinds if kind in _LOOPS), None)
    if words is None:
        return
    for method in node.body:
        if isinstance(method, Function) and method.name in _OF_RUNNER:
            why = _OF_RUNNER[method.name].format(name=node.name, **words)
            yield _Found(method.lineno, f"{node.name}.{method.name}", why)


def _of_builder(node: ast.FunctionDef) -> Iterator[_Found]:
    """Yield the types that a function such as ``build_dataset(cfg)`` treats in a way of its own."""
    for test in ast.walk(node):
        match test:
            case ast.Compare(left=left, ops=[ast.Eq()], comparators=[ast.Constant(str(kind))]):
                if _TYPE_OF.search(ast.unparse(left)) and kind not in _OWN_WRAPPERS:
                    why = _BUILT.format(function=node.name, kind=kind)
                    yield _Found(test.lineno, f"type={kind!r}", why)


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
