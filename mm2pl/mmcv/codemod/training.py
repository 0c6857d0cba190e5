"""Whether a call trains by MMCV 1.x: one of OpenMMLab's functions, or one of the project's that uses 1.x' runner."""

from __future__ import annotations

import ast

from mm2pl.mmcv.codemod.models import origin
from mm2pl.mmcv.codemod.sources import Source, definition
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
    found = definition(path, source)
    if found is None or not isinstance(found[0], ast.FunctionDef):
        return None
    function, inner = found
    key = f"{inner.path}:{function.name}"
    if key in seen:
        return False
    calls = [node for node in ast.walk(function) if isinstance(node, ast.Call)]
    return any(trains(each, inner, seen | {key}) for each in calls)


def _is_path(node: ast.expr) -> bool:
    return isinstance(node, ast.Name | ast.Attribute)
