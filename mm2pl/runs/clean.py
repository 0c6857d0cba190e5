"""Which checkpoints of a work folder can go."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mm2pl.errors import ArgumentError, FileError, StateError
from mm2pl.run.lock import BEAT, STALE, seconds_since_written
from mm2pl.runs.configs import value_at
from mm2pl.runs.folders import modified, work_dir
from mm2pl.runs.history import Row
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
    """Choose which checkpoints are removed: those that the run has written by itself, and that are not to be kept.

    Args:
        run: The run.
        keep: ``best``, ``last``, a number (so many of the newest) or the name of a file. What ``last_checkpoint``
            names, or MMCV 1.x's ``latest.pth``, is kept in any case, and the newest one where neither can be read.
            ``best`` is what the run has written as ``best_*``, or else the one of the epoch with the best validation.

    Raises:
        ArgumentError: A word is none of these, or it is not known which checkpoint is the best.
    """
    folder = run.folder
    periodic, best = list(_periodic(run)), _best_files(run)
    kept: dict[Path, str] = {}
    for path in folder.goes_on or periodic[-1:]:
        kept[path] = "where the run goes on"
    for word in keep:
        if word == "best":
            found = best or _best_of(run)
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


def _patterns(run: Run) -> list[str]:
    given = value_at(run.config, "default_hooks.checkpoint.filename_tmpl")
    templates = [*_TEMPLATES, given] if isinstance(given, str) and "{}" in given else _TEMPLATES
    return [re.escape(each).replace(r"\{\}", r"(\d+)") for each in templates]


def _periodic(run: Run) -> Mapping[Path, int]:
    """Return the checkpoints that were written every few epochs or iterations, in the order of their numbers."""
    found = [
        (int(match[1]), path)
        for path in run.folder.checkpoints
        for match in (re.fullmatch(pattern, path.name) for pattern in _patterns(run))
        if match
    ]
    return {path: number for number, path in sorted(found)}


def _best_files(run: Run) -> list[Path]:
    """Return the ``best_METRIC_epoch_N.pth`` of a run: another ``best_*`` is somebody's copy, or was published."""
    metrics = [re.escape(key.replace("/", "_")) for key in run.history.metrics()]
    # The history has the names without their first word.
    name = rf"best_(?:train_|val_)?(?:{'|'.join(metrics)})_(?:{'|'.join(_patterns(run))})"
    return [path for path in run.folder.checkpoints if metrics and re.fullmatch(name, path.name)]


def _best_of(run: Run) -> list[Path]:
    """Return the checkpoint whose validation was the best, for a run that has written no ``best_*``."""
    periodic = _periodic(run)
    if not periodic:
        return []

    def saved(row: Row) -> list[Path]:
        return [
            path
            for path, number in periodic.items()
            if number
            == (row.iter if row.epoch is None or path.name.startswith("iter_") else row.epoch)
        ]

    best = run.best(among=lambda row: bool(saved(row)))
    if best is None or not best.rule:
        raise ArgumentError(
            f"--keep best: {run.folder.path} has no best_* file, and its log does not tell which of its checkpoints is "
            "the best → --keep last, or the name of a file"
        )
    return saved(Row(best.iter, best.epoch, {}))


def require_ended(path: str | Path) -> None:
    """See that nobody trains in a folder.

    Raises:
        StateError: A run is alive there, or something was written there just now, after the end of the last run that is
            known; or there is no log, so that the run which writes there is another folder's.
    """
    folder = work_dir(path)
    run = Run(folder, brief=True)
    if run.state.name == "running":
        raise StateError(f"{path}: a run trains there → wait for it, or stop it")
    if not folder.parts and folder.held is None:
        raise StateError(
            f"{path} holds checkpoints without a log: whether their run has ended is not known → remove them by hand"
        )
    # Not every checkpoint: one may have been published there.
    files = [*folder.logs, *_periodic(run), *_best_files(run)]
    newest = max(files, key=modified, default=folder.path)
    # MMEngine, which leaves no file of its state, may train where a run of mm2pl has ended. That run wrote a little
    # after its last sign of life, too.
    if modified(newest) <= run.state.ended + BEAT:
        return
    silent = seconds_since_written(newest)
    if silent < STALE:
        raise StateError(
            f"{path}: {newest.name} was written {duration(max(0, silent))} ago, and it is not known whether its run "
            f"has ended → wait until {STALE / 60:.0f} minutes have passed"
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
