"""A training script of 1.x, such as a toolbox's ``tools/train.py``, becomes the one of `Runner.from_cfg`."""

from __future__ import annotations

import ast
import difflib
import sys
from collections.abc import Iterator
from typing import NamedTuple

from mm2pl.mmcv.codemod.imports import Note
from mm2pl.mmcv.codemod.models import origin, origins
from mm2pl.mmcv.migration.toolboxes import KNOWN_SCOPES

BUILDERS = frozenset(
    {"register_training_hooks", "build_runner", "EpochBasedRunner", "IterBasedRunner"}
)
"""What only training code of 1.x calls."""

_WORK_DIR = """\
if {args}.work_dir is not None:
    {cfg}.work_dir = {args}.work_dir
elif {cfg}.get("work_dir") is None:
    {cfg}.work_dir = os.path.join("work_dirs", os.path.splitext(os.path.basename({config}))[0])
"""
_MERGE = "if {args}.{name} is not None:\n    {cfg}.merge_from_dict({args}.{name})\n"
_NO_VALIDATION = """\
if {args}.{name}:
    {cfg}.val_cfg = {cfg}.val_dataloader = {cfg}.val_evaluator = None
"""
_RANDOM = '    {{cfg}}.randomness = dict({{cfg}}.get("randomness") or {{{{}}}}, {})\n'
_LINES = {
    "cfg_options": _MERGE,
    "options": _MERGE,
    "work_dir": _WORK_DIR,
    "load_from": "if {args}.load_from is not None:\n    {cfg}.load_from = {args}.load_from\n",
    "resume_from": (
        "if {args}.resume_from is not None:\n"
        "    {cfg}.load_from, {cfg}.resume = {args}.resume_from, True\n"
    ),
    "auto_resume": "if {args}.auto_resume:\n    {cfg}.resume = True\n",
    "no_validate": _NO_VALIDATION,
    "auto_scale_lr": (
        "if {args}.auto_scale_lr:\n"
        '    {cfg}.auto_scale_lr = dict({cfg}.get("auto_scale_lr") or {{}}, enable=True)\n'
    ),
    "seed": "if {args}.seed is not None:\n" + _RANDOM.format("seed={args}.seed"),
    "deterministic": "if {args}.deterministic:\n" + _RANDOM.format("deterministic=True"),
    "diff_seed": "if {args}.diff_seed:\n" + _RANDOM.format("diff_rank_seed=True"),
    "launcher": "{cfg}.launcher = {args}.launcher\n",
}
"""Options of 1.x' scripts → what they do to a config of today, in this order."""

_PACKAGES = frozenset(
    {
        *("mmcv", "mmengine", "torch", "numpy", "mmdet3d", "mmpose", "mmaction", "mmocr", "mmedit"),
        *("mmgen", "mmrotate", "mmtrack", "mmselfsup", "mmfewshot", "mmrazor", "mmyolo", "mmflow"),
        *KNOWN_SCOPES,
    }
)
"""Whose 1.x functions a rewritten ``main`` no longer needs; of those today many are gone."""
_DEVICES = frozenset({"gpus", "gpu_ids", "gpu_id", "local_rank"})
_REPLACED = (
    "lines {first} to {last} are `Runner.from_cfg({cfg}).train()` now, which builds all of it from the new config → "
    "see in the diff what was your own"
)
_UNKNOWN = "does nothing now → add its line in front of Runner.from_cfg, or delete the option"
_DEVICE = "does nothing now: a launcher or `mm2pl fit CONFIG --trainer.devices` chooses the devices"
_IMPORTS = "is gone → name the module in the config: custom_imports = dict(imports=['your.module'])"


class _Script(NamedTuple):
    main: ast.FunctionDef
    loads: int
    cfg: str
    args: str
    config: str


def as_runner_script(text: str, note: Note) -> tuple[str, Note]:
    """Return the new text, and what to tell its findings, which are given the lines of the old one.

    Only a script is rewritten whose ``main`` loads the config by ``Config.fromfile(args.…)`` and then trains; the
    statements up to there, such as those that parse the options, stay.
    """
    if "Config.fromfile" not in text or not any(n in text for n in ("train_", *BUILDERS)):
        return text, note
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError):
        return text, note
    script = next(_scripts(tree), None)
    if script is None:
        return text, note
    lines = text.splitlines(keepends=True)
    body, last = script.main.body, script.main.end_lineno or 0
    kept = body[script.loads].end_lineno or 0
    new = _lines(script, note)
    end = "\r\n" if lines[0].endswith("\r\n") else "\n"
    indent = " " * body[0].col_offset
    rest = [f"{indent}{line}{end}" for line in new]
    changed = "".join([*lines[:kept], *rest, *lines[last:]])
    note(
        script.main.lineno,
        f"{script.main.name}()",
        _REPLACED.format(first=kept + 1, last=last, cfg=script.cfg),
    )
    changed = _with_imports(changed, tree, end)
    return changed, _of_old_lines(note, text, changed)


def _scripts(tree: ast.Module) -> Iterator[_Script]:
    bound = origins(tree)
    for main in tree.body:
        if not isinstance(main, ast.FunctionDef):
            continue
        calls = [node for node in ast.walk(main) if isinstance(node, ast.Call)]
        if not any(_trains(call, bound) for call in calls):
            continue
        for position, statement in enumerate(main.body):
            if not isinstance(statement, ast.Assign) or not isinstance(statement.value, ast.Call):
                continue
            call, target = statement.value, statement.targets[0]
            path = origin(call.func, bound)
            loads = path.startswith(("mmcv.", "mmengine.")) and path.endswith("Config.fromfile")
            config = call.args[0] if call.args else None
            if (
                loads
                and isinstance(target, ast.Name)
                and isinstance(config, ast.Attribute)
                and isinstance(config.value, ast.Name)
            ):
                shown = ast.unparse(config)
                yield _Script(main, position, target.id, config.value.id, shown)
                break


def _trains(call: ast.Call, bound: dict[str, str]) -> bool:
    path = origin(call.func, bound)
    name = call.func.attr if isinstance(call.func, ast.Attribute) else path.rpartition(".")[2]
    # `train_detector(model, datasets, cfg, …)` of a toolbox or of the project's own `apis`.
    trains = "_train_" in f"_{name}" and len(call.args) > 1
    old = path.startswith("mmcv.") or name == "register_training_hooks"
    return trains or (name in BUILDERS and old)


def _lines(script: _Script, note: Note) -> list[str]:
    """Return what follows on the loading of the config; tell what is left out."""
    seen: dict[str, int] = {}
    for node in ast.walk(script.main):
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == script.args:
            seen.setdefault(node.attr, node.lineno)
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            note(node.lineno, ast.unparse(node.func), _IMPORTS)
    values = {"cfg": script.cfg, "args": script.args, "config": script.config}
    text = "".join(
        line.format(**values, name=name) for name, line in _LINES.items() if name in seen
    )
    for name, line in seen.items():
        if name in _DEVICES:
            note(line, f"--{name.replace('_', '-')}", _DEVICE)
        elif name not in _LINES and f"{script.args}.{name}" != script.config:
            note(line, f"{script.args}.{name}", _UNKNOWN)
    return [*text.splitlines(), f"Runner.from_cfg({script.cfg}).train()"]


def _with_imports(text: str, old: ast.Module, end: str) -> str:
    """Return the text with the imports that it needs, and without those that only the old ``main`` used.

    Imports of the project's own modules stay: they may register its classes.
    """
    tree = ast.parse(text)
    before, now = _names(old), _names(tree)
    lines = text.splitlines(keepends=True)
    imports = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    for node in reversed(imports):
        gone = [a for a in node.names if _binding(a) in before - now and _is_foreign(node, a)]
        if gone:
            node.names = [alias for alias in node.names if alias not in gone]
            new = [ast.unparse(node) + end] if node.names else []
            lines[node.lineno - 1 : node.end_lineno] = new
    needed = ["from mm2pl.runner import Runner"]
    if "os.path." in text and not any(
        isinstance(n, ast.Import) and "os" in _all(n) for n in imports
    ):
        needed.insert(0, "import os")
    # After the docstring and the imports from `__future__`, where Python takes them.
    after = max(
        [0]
        + [n.end_lineno or 0 for n in tree.body[:1] if isinstance(n, ast.Expr)]
        + [n.end_lineno or 0 for n in imports if getattr(n, "module", "") == "__future__"]
    )
    if not after:
        after = next((k for k, line in enumerate(lines) if not line.startswith("#")), 0)
    lines[after:after] = [line + end for line in needed]
    return "".join(lines)


def _names(tree: ast.Module) -> set[str]:
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}


def _binding(alias: ast.alias) -> str:
    return alias.asname or alias.name.partition(".")[0]


def _all(node: ast.Import) -> set[str]:
    return {_binding(alias) for alias in node.names}


def _is_foreign(node: ast.Import | ast.ImportFrom, alias: ast.alias) -> bool:
    """Return whether an import is of Python, torch or OpenMMLab, whose classes the run imports itself."""
    if isinstance(node, ast.ImportFrom) and node.level:
        return False
    module = node.module if isinstance(node, ast.ImportFrom) and node.module else alias.name
    package = module.partition(".")[0]
    return package in sys.stdlib_module_names | _PACKAGES


def _of_old_lines(note: Note, old: str, new: str) -> Note:
    """Return a note that takes lines of the new text, and tells those of the old one."""
    matcher = difflib.SequenceMatcher(a=old.splitlines(), b=new.splitlines(), autojunk=False)
    lines = {
        block.b + k + 1: block.a + k + 1
        for block in matcher.get_matching_blocks()
        for k in range(block.size)
    }

    def told(line: int, what: str, why: str) -> None:
        # What is written here anew has nothing to tell.
        if line in lines:
            note(lines[line], what, why)

    return told
