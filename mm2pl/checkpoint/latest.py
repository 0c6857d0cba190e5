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

import torch

from mm2pl.checkpoint.format import is_resumable
from mm2pl.checkpoint.progress import progress_of
from mm2pl.checkpoint.reader import CheckpointError
from mm2pl.checkpoint.unpickle import replace_stand_ins, stand_ins_allowed
from mm2pl.logging import print_log

MARKER = "last_checkpoint"
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
    marked = _marked(folder)
    if not marked:
        why = f"{folder / MARKER} is {'missing' if marked is None else 'empty'}"
    elif "://" in marked:  # not a file of this machine: who reads it finds out
        return marked
    else:
        wrong = damage(marked)
        if wrong is None:
            return marked
        why = f"{marked}, which {MARKER} names, {wrong}"
    found = _newest(folder, [*more, *_folder_of(marked, folder)], why)
    if found is not None:
        print_log(f"{why} → {found} is the newest intact checkpoint", "current", logging.WARNING)
    elif not marked:
        print_log("Did not find last_checkpoint to be resumed.")
    else:
        raise CheckpointError(f"{why}, and {folder} has no other checkpoint → {_WAYS_OUT}")
    return found


_WAYS_OUT = "copy an intact one there, name one by --resume PATH, or start anew in another work_dir"


def _marked(folder: Path) -> str | None:
    """Return what the marker names; the file of that name in the folder, if there is one."""
    marker = folder / MARKER
    if not marker.is_file():
        return None
    saved = marker.read_text().strip()
    # MMEngine 0.10.7 writes an absolute path, and goes on from the original after the folder was copied.
    own = folder / os.path.basename(saved)
    return str(own) if saved and own.exists() else saved


def _folder_of(marked: str | None, folder: Path) -> list[str]:
    """Return the folder of the marked file, if `CheckpointHook(out_dir=…)` has put it there."""
    # It names that folder as the last part of work_dir; another folder belongs to another run.
    parent = Path(marked).parent if marked else folder
    return [str(parent)] if parent.name == folder.resolve().name else []


def damage(path: str | os.PathLike[str]) -> str | None:
    """Return what is visibly wrong with a checkpoint, or None; of a large file only its ends are read.

    >>> damage("/nowhere/epoch_1.pth")
    'is not there'
    """
    path = Path(path)
    if path.is_dir():  # of a sharded strategy, such as FSDP's
        return None if any(path.iterdir()) else "is an empty folder"
    if not path.is_file():
        return "is not there"
    with open(path, "rb") as file:
        start = file.read(2)
        if start == b"PK":
            # The table of contents stands at the end.
            return None if zipfile.is_zipfile(file) else "is truncated"
    # torch's format before 1.6 is a pickle.
    return None if start[:1] == b"\x80" else ("is no checkpoint" if start else "is empty")


def _newest(folder: Path, more: Sequence[str], why: str) -> str | None:
    """Return the newest file from which a run can go on.

    Raises:
        CheckpointError: The run has files, but no such.
    """
    usable: list[tuple[Any, Path]] = []
    useless: list[str] = []
    for path in _own_files([folder, *map(Path, more)]):
        age, wrong = _age(path)
        if wrong is None:
            usable.append((age, path))
        elif age is None or _PERIODIC.fullmatch(path.name):
            useless.append(f"{path} {wrong}")
    if usable:
        return str(max(usable)[1])
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
        # On this device tensors have no contents, so nothing but the outline is read.
        with stand_ins_allowed():
            checkpoint = replace_stand_ins(torch.load(path, "meta", weights_only=True))
    except Exception as error:
        return (written, 0), f"cannot be read: {error}".splitlines()[0]
    if not isinstance(checkpoint, Mapping) or not is_resumable(checkpoint):
        return (written, 0), "holds weights only"
    meta = checkpoint.get("meta") or {}
    # Copying a folder changes the times of its files, but not what stands in them. MMCV 1.x wrote another form.
    if re.fullmatch(r"\d{8}_\d{6}", str(meta.get("time"))):
        written = meta["time"]
    return (written, meta.get("iter", progress_of(checkpoint)[1])), None
