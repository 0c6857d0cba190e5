"""Which checkpoint of a work folder is the newest."""

from __future__ import annotations

import logging
import os
import re
import time
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mm2pl.checkpoint.format import is_resumable
from mm2pl.checkpoint.marker import MARKER, file_named, read_marker
from mm2pl.checkpoint.progress import progress_of
from mm2pl.checkpoint.reader import (
    CheckpointError,
    begins_like_torch,
    read_outline,
    what_is_wrong,
)
from mm2pl.checkpoint.schema import check
from mm2pl.logging import print_log

_START = 64
"""Bytes that tell what a file is."""
_NO_PERIODIC = re.compile(r"best_.*|.*-[0-9a-f]{8}\.pth")
"""Best files, and those of ``published_keys``, which have a hash in their names."""
_PERIODIC = re.compile(r"(epoch|iter)_\d+\.(pth|ckpt)")


def find_latest_checkpoint(path: str, more: Sequence[str] = ()) -> str | None:
    """Return the checkpoint from which a run in the folder ``path`` goes on, or None if it has none.

    That is what ``last_checkpoint`` names. Where that text is missing, or its file is gone or damaged, it is the newest
    intact one of the run's own files, and one line of the log says so. A folder that was copied or moved since is
    known: its own file of that name comes first.

    Args:
        path: The work folder.
        more: Further folders with files of the run, such as ``CheckpointHook(out_dir=…)``.

    Raises:
        CheckpointError: The run has files, but none from which it could go on.
    """
    folder = Path(path).expanduser()
    saved, wrong = read_marker(folder)
    if saved and "://" in saved:  # not a file of this machine: who reads it finds out
        return saved
    folders = [folder, *map(Path, more)]
    if not any(_own_files(folders)):
        folders += _folder_of(saved, folder)
    why = f"{folder / MARKER} {wrong}"
    if saved is not None:
        marked = next(filter(None, (file_named(each, saved) for each in folders)), None)
        found = None if marked is None else damage(marked)
        if marked is not None and found is None:
            return str(marked)
        gone = "is not a file of this run" if os.path.exists(saved) else "is not there"
        why = f"{marked or saved}, which {MARKER} names, {found or gone}"
    newest = _newest(folders, why)
    if newest is not None:
        print_log(f"{why} → {newest} is the newest intact checkpoint", "current", logging.WARNING)
    elif saved is None:
        print_log("Did not find last_checkpoint to be resumed.")
    else:
        raise CheckpointError(f"{why}, and {folder} has no other checkpoint → {_WAYS_OUT}")
    return newest


_WAYS_OUT = "copy an intact one there, name one by --resume PATH, or start anew in another work_dir"


def _folder_of(marked: str | None, folder: Path) -> list[Path]:
    """Return the folder of the marked file, if `CheckpointHook(out_dir=…)` has put it there."""
    # It names that folder as the last part of work_dir; another folder belongs to another run.
    parent = Path(marked).parent if marked else folder
    return [parent] if parent.name == folder.resolve().name else []


def damage(path: str | os.PathLike[str]) -> str | None:
    """Return what is visibly wrong with a checkpoint, or None; of a large file only its ends are read.

    >>> damage("/nowhere/epoch_1.pth")
    'is not there'
    """
    path = Path(path)
    if path.is_dir():  # of a sharded strategy, such as FSDP's
        return None if any(path.iterdir()) else "is an empty folder"
    if not path.is_file():
        return "is a link to nothing" if path.is_symlink() else "is not there"
    try:
        with open(path, "rb") as file:
            start = file.read(_START)
            if start[:2] == b"PK":
                # The table of contents stands at the end.
                return None if zipfile.is_zipfile(file) else "is truncated"
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    return None if begins_like_torch(start) else ("is not a checkpoint" if start else "is empty")


def _newest(folders: Sequence[Path], why: str) -> str | None:
    """Return the newest file from which a run can go on.

    Raises:
        CheckpointError: The run has files, but no such.
    """
    usable: list[tuple[Any, Path]] = []
    useless: list[str] = []
    for path in _own_files(folders):
        age, wrong = _age(path)
        if wrong is None:
            usable.append((age, path))
        elif age is None or _PERIODIC.fullmatch(path.name):
            useless.append(f"{path} {wrong}")
    # Only what is about to be taken is read as a whole, since a file may have many gigabytes.
    for _, path in sorted(usable, reverse=True):
        wrong = what_is_wrong(path)
        if wrong is None:
            return str(path)
        useless.append(f"{path} {wrong}")
    if useless:
        listed = "\n".join(f"  {line}" for line in useless)
        raise CheckpointError(
            f"{why}, and a run can go on from no other file of it → {_WAYS_OUT}:\n{listed}"
        )
    return None


def _own_files(folders: Sequence[Path]) -> Iterator[Path]:
    known = {folder.resolve(): folder for folder in reversed(folders) if folder.is_dir()}
    for folder in known.values():
        for path in sorted(folder.iterdir()):
            if path.suffix in (".pth", ".ckpt") and not _NO_PERIODIC.fullmatch(path.name):
                yield path


def _age(path: Path) -> tuple[Any, str | None]:
    """Return what orders files by age, None for a damaged one, and why no run can go on from it."""
    wrong = damage(path)
    if wrong is not None:
        return None, wrong
    written = time.strftime("%Y%m%d_%H%M%S", time.localtime(path.stat().st_mtime))
    if not zipfile.is_zipfile(path):
        return (written, 0), None
    try:
        checkpoint = read_outline(path, check_bits=False)
        check(checkpoint, path.name)
    except CheckpointError as error:
        return (written, 0), f"cannot be read: {error}".splitlines()[0]
    if not is_resumable(checkpoint):
        return (written, 0), "holds weights only"
    meta = checkpoint.get("meta")
    meta = meta if isinstance(meta, Mapping) else {}
    # Copying a folder changes the times of its files, but not what stands in them. MMCV 1.x wrote another form.
    if re.fullmatch(r"\d{8}_\d{6}", str(meta.get("time"))):
        written = meta["time"]
    return (written, meta.get("iter", progress_of(checkpoint)[1])), None
