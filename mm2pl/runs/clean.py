"""Which checkpoints of a work folder can go."""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mm2pl.checkpoint.marker import file_named, read_marker
from mm2pl.errors import ArgumentError, FileError, StateError
from mm2pl.run.lock import STALE
from mm2pl.runs.configs import value_at
from mm2pl.runs.folders import work_dir
from mm2pl.runs.listing import duration
from mm2pl.runs.record import Run

_TEMPLATES = ("epoch_{}.pth", "iter_{}.pth")


@dataclass(frozen=True)
class Plan:
    """What is kept, each with the reason, and what is removed.

    Attributes:
        others: Checkpoints that the run did not write, which nobody touches.
    """

    keep: dict[Path, str]
    remove: list[Path]
    others: list[Path]


def plan(run: Run, keep: Sequence[str]) -> Plan:
    """Choose what is removed: of the checkpoints that a run writes while it trains those that nobody wants to keep.

    Args:
        run: The run.
        keep: ``best``, ``last``, a number (so many of the newest) or the name of a file. What ``last_checkpoint``
            names, or MMCV 1.x's ``latest.pth``, is kept in any case, and the newest one where neither can be read.

    Raises:
        ArgumentError: A word is neither of these.
    """
    folder = run.folder
    periodic = _periodic(run)
    best = [path for path in folder.checkpoints if path.name.startswith("best_")]
    kept: dict[Path, str] = {}
    for path in _marked(run) or periodic[-1:]:
        kept[path] = "where the run goes on"
    for word in keep:
        if word == "best":
            found = best
        elif word == "last" or word.isdigit():
            # Not a slice from the end: of -0 that is everything.
            found = periodic[max(0, len(periodic) - (1 if word == "last" else int(word))) :]
        else:
            found = [path for path in folder.checkpoints if path.name == word]
            if not found:
                names = ", ".join(path.name for path in folder.checkpoints) or "no checkpoint"
                raise ArgumentError(
                    f"--keep {word} → best, last, a number of the newest ones, or a file of {folder.path}: {names}"
                )
        for path in found:
            kept.setdefault(path, word)
    own = {*periodic, *best}
    return Plan(
        keep=kept,
        remove=[path for path in folder.checkpoints if path in own and path not in kept],
        others=[path for path in folder.checkpoints if path not in own and path not in kept],
    )


def _periodic(run: Run) -> list[Path]:
    """Return the checkpoints that were written every few epochs or iterations, in the order of their numbers."""
    given = value_at(run.config, "default_hooks.checkpoint.filename_tmpl")
    templates = [*_TEMPLATES, given] if isinstance(given, str) and "{}" in given else _TEMPLATES
    patterns = [re.escape(each).replace(r"\{\}", r"(\d+)") for each in templates]
    found = [
        (int(match[1]), path)
        for path in run.folder.checkpoints
        for match in (re.fullmatch(pattern, path.name) for pattern in patterns)
        if match
    ]
    return [path for _, path in sorted(dict.fromkeys(found))]


def _marked(run: Run) -> list[Path]:
    """Return the checkpoint with which a run goes on, as MMEngine and mm2pl say it, and as MMCV 1.x does."""
    folder = run.folder.path
    named, _ = read_marker(folder)
    found = [file_named(folder, named)] if named else []
    link = folder / "latest.pth"
    if link.is_symlink():
        found.append(folder / os.path.basename(os.readlink(link)))
    return [path for path in found if path is not None and path.exists()]


def require_ended(path: str | Path) -> None:
    """See that nobody trains in a folder.

    Raises:
        StateError: A run is alive there, or somebody whose state is not known has written there just now.
    """
    record = Run(work_dir(path), brief=True).record()
    if record.state == "running":
        raise StateError(f"{path}: a run trains there → wait for it, or stop it")
    silent = time.time() - record.updated
    if record.state == "unknown" and silent < STALE:
        raise StateError(
            f"{path}: something was written there {duration(max(0, silent))} ago, and the run does not say whether it "
            f"is alive → wait until {STALE / 60:.0f} minutes have passed"
        )


def remove(paths: Sequence[Path]) -> None:
    """Remove checkpoints; a sharded one is a folder.

    Raises:
        FileError: One cannot be removed; those before it are gone.
    """
    for path in paths:
        try:
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        except OSError as error:
            raise FileError(error.errno, f"{path} cannot be removed: {error.strerror}") from error
