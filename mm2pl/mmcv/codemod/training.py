"""Whether a call trains by MMCV 1.x: one of OpenMMLab's functions, or one of the project's that uses 1.x' runner."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import NamedTuple

from mm2pl.mmcv.codemod.models import origin, origins, parsed
from mm2pl.mmcv.migration.toolboxes import KNOWN_SCOPES

BUILDERS = frozenset(
    {"register_training_hooks", "build_runner", "EpochBasedRunner", "IterBasedRunner"}
)
"""What only training code of 1.x calls."""
OPENMMLAB = frozenset(
    {
        *("mmcv", "mmengine", "mmdet3d", "mmpose", "mmaction", "mmocr", "mmedit", "mmgen"),
        *("mmrotate", "mmtrack", "mmselfsup", "mmfewshot", "mmrazor", "mmyolo", "mmflow"),
        *KNOWN_SCOPES,
    }
)
"""OpenMMLab's packages."""


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


def named_like_training(call: ast.Call) -> bool:
    """Return whether a call is named as ``train_detector(model, datasets, cfg)`` of a toolbox is."""
    return "_train_" in f"_{name_of(call)}" and len(call.args) > 1


def name_of(call: ast.Call) -> str:
    """Return the last name of what is called; empty for an expression without a name."""
    return ast.unparse(call.func).rpartition(".")[2] if _is_path(call.func) else ""


def trains(call: ast.Call, source: Source, seen: frozenset[str] = frozenset()) -> bool | None:
    """Return whether a call trains by MMCV 1.x; None if its function is named so, and is not found."""
    path, name = origin(call.func, source.bound), name_of(call)
    if name == "register_training_hooks":
        return True
    if name in BUILDERS and path.startswith(("mmcv.", "mm2pl.mmcv.")):
        return True
    if not named_like_training(call):
        return False
    if path.partition(".")[0] in OPENMMLAB:
        return name.startswith("train_")
    found = _definition(path, source)
    if found is None:
        return None
    function, inner = found
    key = f"{inner.path}:{function.name}"
    if key in seen:
        return False
    calls = [node for node in ast.walk(function) if isinstance(node, ast.Call)]
    return any(trains(each, inner, seen | {key}) for each in calls)


def _is_path(node: ast.expr) -> bool:
    return isinstance(node, ast.Name | ast.Attribute)


def _definition(path: str, source: Source, hops: int = 5) -> tuple[ast.FunctionDef, Source] | None:
    """Return the function of a path as the source sees it, followed through re-exports; None if it is elsewhere."""
    module, _, name = path.rpartition(".")
    if module:
        file = _file(module, source.path)
        tree = None if file is None else parsed(file.read_text(errors="replace"))
        if tree is None:
            return None
        source = Source(tree, file)
    for node in source.tree.body:
        if isinstance(node, ast.FunctionDef) and node.name == name:
            return node, source
    further = source.bound.get(name, name) if hops else name
    return _definition(further, source, hops - 1) if "." in further else None


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
