"""``mm2pl migrate``: bring MMCV 1.x configs over, and the code of 1.x and MMEngine projects."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mm2pl.errors import ExistingFileError, MissingFileError

if TYPE_CHECKING:
    from mm2pl.mmcv.migration.files import MigratedFile

_EXAMPLES = """
  mm2pl migrate old.py -o new.py --report report.html     a config, its _base_ files written into it
  mm2pl migrate old.py -o new.py --check                  two iterations of both: samples, rates and losses compared
  mm2pl migrate configs -o new_configs                    a folder, its _base_ structure kept
  mm2pl migrate --code src --diff                         imports and hooks of a project's code: what would change
  mm2pl migrate --code src --write                        change the files
"""


_MANY = 150
"""Files from which on several processes and a progress bar are worth it."""

_CHOICES = ("toolbox", "scope", "evaluator", "collate")


def run(command: str, arguments: list[str]) -> int:
    """Migrate, and print what became of every key or import; return 1 if a config was not migrated.

    Raises:
        FileExistsError: If an output exists and ``--force`` is not given.
        FileNotFoundError: If the source does not exist.
        ImportError: If code is to be migrated and libcst is not installed.
        ValueError: If a choice is none of those there are.
    """
    parser = _parser(command)
    options = parser.parse_args(arguments)
    given = {
        name for name in ("out", "report", "force", "check", *_CHOICES) if getattr(options, name)
    }
    if options.code is not None:
        if options.source is not None or given:
            parser.error("--code SRC goes with --diff or --write alone")
        _migrate_code(options.code, diff=options.diff, write=options.write)
        return 0
    if options.diff or options.write:
        parser.error("--diff and --write go with --code SRC")
    if options.source is None or options.out is None:
        parser.error("give a config or folder and -o OUT, or --code SRC")
    return _migrate_configs(options)


def _parser(command: str) -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        prog=f"mm2pl {command}", description=__doc__, epilog=_EXAMPLES, formatter_class=raw
    )
    parser.add_argument("source", nargs="?", help="an MMCV 1.x config, or a folder of them")
    parser.add_argument("-o", "--out", help="the new file or folder")
    parser.add_argument(
        "--report", metavar="FILE.html", help="old and new side by side, with the lr curves"
    )
    parser.add_argument(
        "--toolbox", help="whose transforms and data sets: mmdet, mmseg, mmpretrain; none: your own"
    )
    parser.add_argument("--scope", help="the default_scope to write; none: no scope and no toolbox")
    parser.add_argument(
        "--evaluator",
        choices=["toolbox", "own"],
        help="the toolbox's metrics, or your data set's evaluate()",
    )
    parser.add_argument(
        "--collate", choices=["mmcv", "default"], help="batches with or without DataContainers"
    )
    parser.add_argument(
        "--check",
        action="store_true",
        help="run two iterations of the old and the new config, and compare samples, learning rates and losses; this "
        "runs the project's code, as --code --write has rewritten it",
    )
    parser.add_argument("--force", action="store_true", help="overwrite the output")
    parser.add_argument("--code", metavar="SRC", help="a Python file or folder to rewrite instead")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--diff", action="store_true", help="with --code: show what would change")
    how.add_argument("--write", action="store_true", help="with --code: change the files")
    return parser


def _migrate_code(source: str, *, diff: bool, write: bool) -> None:
    # Only here: it needs libcst, which `mm2pl[migrate]` installs.
    from mm2pl.mmcv.codemod import migrate_code

    # A process takes seconds to import torch, which small folders do not repay.
    large = Path(source).is_dir() and sum(1 for _ in Path(source).rglob("*.py")) > _MANY
    jobs = len(os.sched_getaffinity(0)) if large and hasattr(os, "sched_getaffinity") else 1
    progress = _progress if large and sys.stderr.isatty() else None
    report = migrate_code(source, write=write, jobs=jobs, progress=progress)
    for file in report.changed:
        print(file.diff() if diff else f"{file.path}: {'written' if write else 'would change'}")
    print(report)
    if report.changed and not (diff or write):
        print("nothing is written → --diff shows the changes, --write makes them")


def _progress(done: int, total: int) -> None:
    """Show how far it is, on one line."""
    full = 30 * done // total
    bar = f"{'#' * full}{'.' * (30 - full)}"
    print(f"\r[{bar}] {done} of {total} files", end="\n" if done == total else "", file=sys.stderr)


def _migrate_configs(options: argparse.Namespace) -> int:
    from mm2pl.mmcv.migration.config import NotMigratedError
    from mm2pl.mmcv.migration.decisions import Choices
    from mm2pl.mmcv.migration.files import MigratedFile, migrate_file, migrate_folder
    from mm2pl.mmcv.migration.html import report_html

    source, target = Path(options.source), Path(options.out)
    if not source.exists():
        raise MissingFileError(f"{options.source!r} does not exist → give a config or a folder.")
    if options.report and Path(options.report).exists() and not options.force:
        raise ExistingFileError(f"{options.report} exists already → name another, or give --force.")
    choices = Choices(**{name: getattr(options, name) for name in _CHOICES})
    if source.is_dir():
        files = migrate_folder(source, target, force=options.force, choices=choices)
    else:
        target = target / source.name if target.is_dir() else target
        try:
            files = [migrate_file(source, target, force=options.force, choices=choices)]
        except NotMigratedError as error:
            files = [MigratedFile(source=source, target=target, error=str(error))]
    for file in files:
        if file.migrated:
            print(f"{file.source} → {file.target}\n{file.report}")
        elif file.copied:
            print(f"{file.source} → {file.target}: {file.copied}")
    print(_summary(files))
    if options.report:
        page = Path(options.report)
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(report_html(files), encoding="utf-8")
        print(f"wrote {page}")
    failed = False
    if options.check:
        failed = not _checked([file for file in files if file.migrated])
    failed |= any(file.error for file in files) or not any(file.migrated for file in files)
    return 1 if failed else 0


def _checked(files: Sequence[MigratedFile]) -> bool:
    """Compare what is a whole training; return whether all are equal."""
    # Only here: it imports Lightning.
    from mm2pl.mmcv.migration.check import check_migration

    passed = True
    # Files with a schedule or a model alone are not runs.
    runs = [file for file in files if {"model", "data", "optimizer"} <= set(file.old)]
    for file in runs:
        result = check_migration(file.old, file.new)
        print(f"{file.target}\n{result}")
        passed &= result.passed
    if not runs:
        print("check: no migrated file has model, data and optimizer → nothing to compare")
    return passed and bool(runs)


def _summary(files: Sequence[MigratedFile]) -> str:
    from mm2pl.mmcv import Status
    from mm2pl.mmcv.migration.decisions import Sure

    migrated = [file for file in files if file.migrated]
    counts = [s.counted(sum(len(f.report.of(s)) for f in migrated)) for s in Status]
    decisions = dict.fromkeys(d for f in migrated for d in f.report.decisions)
    unsure = [decision for decision in decisions if decision.sure is Sure.UNSURE]
    lines = [f"{len(migrated)} of {len(files)} files migrated: {', '.join(counts)}"]
    if unsure:
        lines += ["not sure, so the project's own parts are kept:", *(f"  {d}" for d in unsure)]
    failed = [file for file in files if file.error]
    if failed:
        width = max(len(str(file.source)) for file in failed)
        lines.append(f"not migrated ({len(failed)}):")
        lines += [f"  {file.source!s:<{width}}  {' '.join(file.error.split())}" for file in failed]
    return "\n".join(lines)
