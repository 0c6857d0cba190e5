"""A training script of 1.x, such as a toolbox's ``tools/train.py``, becomes the one of `Runner.from_cfg`."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from mm2pl.mmcv.codemod.models import lines_of, origin, parsed
from mm2pl.mmcv.codemod.sources import Source
from mm2pl.mmcv.codemod.training import BUILDERS, OPENMMLAB, name_of, trains

if TYPE_CHECKING:
    from mm2pl.mmcv.codemod.imports import Note

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
    # MMEngine 0.10.7 looks for the newest checkpoint only without load_from; 1.x' scripts took load_from only if
    # there was none.
    "auto_resume": (
        'if {args}.auto_resume and not {cfg}.get("resume"):\n'
        '    if find_latest_checkpoint({cfg}.get("work_dir") or "") is not None:\n'
        "        {cfg}.load_from, {cfg}.resume = None, True\n"
    ),
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

_DEVICES = frozenset({"gpus", "gpu_ids", "gpu_id", "local_rank"})
_REPLACED = (
    "lines {first} to {last} are `Runner.from_cfg({cfg}).train()` now, which builds all of it from the new config → "
    "see in the diff what was your own"
)
_UNKNOWN = "does nothing now → add its line in front of Runner.from_cfg, or delete the option"
_DEVICE = "does nothing now: a launcher or `mm2pl fit CONFIG --trainer.devices` chooses the devices"
_IMPORTS = "is gone → name the module in the config: custom_imports = dict(imports=['your.module'])"
_MAY_TRAIN = (
    "is not found here, so {main}() stays → if it trains by MMCV 1.x, put `Runner.from_cfg({cfg}).train()` of "
    "mm2pl.runner in the place of all that follows on the config"
)


class _Script(NamedTuple):
    main: ast.FunctionDef
    loads: int
    cfg: str
    args: str
    config: str

    @property
    def replaced(self) -> list[ast.stmt]:
        """What gives way."""
        return self.main.body[self.loads + 1 :]


class _Edit(NamedTuple):
    """Lines that replace others, counted from 0; `line` is the one whose findings they have, counted from 1."""

    begin: int
    end: int
    new: list[str]
    line: int = 0


def as_runner_script(text: str, note: Note, path: Path) -> tuple[str, Note]:
    """Return the new text, and what to tell its findings, which are given the lines of the old one.

    Only a script is rewritten whose ``main`` loads the config by ``Config.fromfile(args.…)`` and then trains; the
    statements up to there, such as those that parse the options, stay.
    """
    if "Config.fromfile" not in text or not any(n in text for n in ("train_", *BUILDERS)):
        return text, note
    tree = parsed(text)
    source = (
        None if tree is None else Source(tree, path.resolve() if path.suffix == ".py" else None)
    )
    script = None if source is None else next(_scripts(source, note), None)
    lines = lines_of(text)
    if tree is None or script is None or _shares_lines(script.main, script.loads, lines):
        return text, note
    last, kept = script.main.end_lineno or 0, script.main.body[script.loads].end_lineno or 0
    end = "\r\n" if lines[0].endswith("\r\n") else "\n"
    indent = _before(script.main.body[0], lines)
    step = "\t" if "\t" in indent else "    "
    new = [f"{indent}{line.replace('    ', step)}{end}" for line in _lines(script, note)]
    note(
        script.main.lineno,
        f"{script.main.name}()",
        _REPLACED.format(first=kept + 1, last=last, cfg=script.cfg),
    )
    now = "".join([*lines[:kept], *new, *lines[last:]])
    edits = [_Edit(kept, last, new), *_import_edits(tree, now, lines, end)]
    numbers = list(range(1, len(lines) + 1))
    for edit in sorted(edits, reverse=True):
        lines[edit.begin : edit.end] = edit.new
        numbers[edit.begin : edit.end] = [edit.line] * len(edit.new)

    def told(line: int, what: str, why: str) -> None:
        # What is written here anew has nothing to tell.
        if numbers[line - 1]:
            note(numbers[line - 1], what, why)

    return "".join(lines), told


def _before(node: ast.stmt, lines: list[str]) -> str:
    """Return what stands in front of a statement in its line."""
    return lines[node.lineno - 1].encode()[: node.col_offset].decode()


def _shares_lines(main: ast.FunctionDef, loads: int, lines: list[str]) -> bool:
    """Return whether the statements that stay cannot be cut from the others by lines."""
    following = main.body[loads + 1 : loads + 2]
    shared = any(each.lineno == main.body[loads].end_lineno for each in following)
    return shared or _before(main.body[0], lines).strip() != ""


def _scripts(source: Source, note: Note) -> Iterator[_Script]:
    for main in source.tree.body:
        script = _script(main, source) if isinstance(main, ast.FunctionDef) else None
        if script is None:
            continue
        calls = [n for s in script.replaced for n in ast.walk(s) if isinstance(n, ast.Call)]
        verdicts = [(call, trains(call, source)) for call in calls]
        if any(verdict for _, verdict in verdicts):
            yield script
            continue
        for call, verdict in verdicts:
            if verdict is None:
                why = _MAY_TRAIN.format(main=script.main.name, cfg=script.cfg)
                note(call.lineno, f"{name_of(call)}()", why)


def _script(main: ast.FunctionDef, source: Source) -> _Script | None:
    """Return where a function loads a config that an option names."""
    for position, statement in enumerate(main.body):
        if not isinstance(statement, ast.Assign) or not isinstance(statement.value, ast.Call):
            continue
        call, target = statement.value, statement.targets[0]
        path = origin(call.func, source.bound)
        loads = path.startswith(("mmcv.", "mmengine.")) and path.endswith("Config.fromfile")
        config = call.args[0] if call.args else None
        if (
            loads
            and isinstance(target, ast.Name)
            and isinstance(config, ast.Attribute)
            and isinstance(config.value, ast.Name)
        ):
            return _Script(main, position, target.id, config.value.id, ast.unparse(config))
    return None


def _lines(script: _Script, note: Note) -> list[str]:
    """Return what follows on the loading of the config; tell what is left out."""
    seen: dict[str, int] = {}
    # What stands in front of them stays, and does what it did.
    for node in (each for statement in script.replaced for each in ast.walk(statement)):
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


def _import_edits(old: ast.Module, text: str, lines: list[str], end: str) -> Iterator[_Edit]:
    """Yield the imports that ``text`` needs, and those that only the old ``main`` used as they are without it.

    Imports of the project's own modules stay: they may register its classes.
    """
    unused = _names(old) - _names(ast.parse(text))
    for statements in _by_line(old.body):
        parts = [_without(node, unused) for node in statements]
        if parts == statements:
            continue
        first, last = statements[0], statements[-1]
        tail = lines[(last.end_lineno or 0) - 1].encode()[last.end_col_offset or 0 :].decode()
        kept = "; ".join(_text(part, lines) for part in parts if part is not None)
        new = [kept + (tail if end in tail else tail + end)] if kept else []
        yield _Edit(first.lineno - 1, last.end_lineno or 0, new, first.lineno)
    names = ["Runner", *(["find_latest_checkpoint"] if "find_latest_checkpoint(" in text else [])]
    needed = [f"from mm2pl.runner import {', '.join(names)}"]
    imports = [node for node in old.body if isinstance(node, ast.Import)]
    if "os.path." in text and not any("os" in _all(node) for node in imports):
        needed.insert(0, "import os")
    # After the docstring and the imports from `__future__`, where Python takes them.
    after = max(
        [0]
        + [n.end_lineno or 0 for n in old.body[:1] if isinstance(n, ast.Expr)]
        + [n.end_lineno or 0 for n in old.body if getattr(n, "module", "") == "__future__"]
    )
    if not after:
        after = next((k for k, line in enumerate(lines) if not line.startswith("#")), 0)
    yield _Edit(after, after, [line + end for line in needed])


def _by_line(body: list[ast.stmt]) -> Iterator[list[ast.stmt]]:
    """Yield the statements, together those that stand in one line."""
    group: list[ast.stmt] = []
    for node in body:
        if group and node.lineno != group[-1].end_lineno:
            yield group
            group = []
        group.append(node)
    yield group


def _without(node: ast.stmt, unused: set[str]) -> ast.stmt | None:
    """Return a statement without the foreign imports among ``unused``; None if nothing of it is left."""
    if not isinstance(node, ast.Import | ast.ImportFrom):
        return node
    names = [a for a in node.names if _binding(a) not in unused or not _is_foreign(node, a)]
    if len(names) == len(node.names):
        return node
    if isinstance(node, ast.Import):
        return ast.Import(names) if names else None
    return ast.ImportFrom(node.module, names, node.level) if names else None


def _text(node: ast.stmt, lines: list[str]) -> str:
    """Return a statement as it is written; as Python writes it if it is a new one."""
    written = hasattr(node, "lineno")
    return (written and ast.get_source_segment("".join(lines), node)) or ast.unparse(node)


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
    return package in sys.stdlib_module_names | OPENMMLAB | {"torch", "numpy"}
