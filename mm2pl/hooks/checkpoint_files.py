"""The checkpoints of one run in their folder, and the text that names the newest."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from typing import Any

from mm2pl.checkpoint.marker import MARKER
from mm2pl.checkpoint.writer import write_atomically
from mm2pl.dist import is_main_process

_LONGEST = 255
"""Letters of a file's name, on usual file systems."""


def is_below(path: str, folder: str) -> bool:
    """Return whether a file stands in a folder or in one below it.

    >>> is_below("a/b/c.pth", "a"), is_below("ab/c.pth", "a")
    (True, False)
    """
    return f"{_real(_parent(path))}{os.sep}".startswith(f"{_real(folder)}{os.sep}")


class CheckpointFiles:
    """Delete and name files of one folder; of another folder's, such as those of the run resumed here, none.

    Args:
        folder: A path or URI.
        backend: Its storage backend.
        writes_later: A plugin writes in the background, so that a file which stands there may be an older one.
    """

    def __init__(self, folder: str, backend: Any, writes_later: bool = False) -> None:
        self.folder = folder
        self.writes_later = writes_later
        self.backend = backend
        self._written: set[str] = set()
        self._replaced: dict[str, str] = {}
        self._before: dict[str, tuple[int, int]] = {}

    def path(self, name: str) -> str:
        """Return the path of a file of this folder."""
        return self.backend.join_path(self.folder, name)

    def own(self, path: str) -> str:
        """Return the path in this folder of a file that a checkpoint names: its last part is all that counts.

        MMEngine keeps absolute paths, and a folder may have been copied, or the file be another run's.
        """
        return self.path(re.split(r"[/\\]", path)[-1])

    def holds(self, path: str, *folders: str) -> bool:
        """Return whether a file stands in this folder, or in one of the others: directly, not below."""
        return _real(_parent(path)) in {_real(folder) for folder in (self.folder, *folders)}

    def note(self, path: str) -> None:
        """Take note of what this process is about to write."""
        self._written.add(path)
        if self.writes_later and os.path.isfile(path):  # perhaps an earlier run's
            self._before[path] = _stamp(path)

    def all_written(self) -> None:
        """Take what stands there for what was asked for: the plugin has ended."""
        self._before.clear()

    def is_there(self, path: str) -> bool:
        """Return whether a file that was asked for has been written."""
        if path in self._before and os.path.isfile(path) and _stamp(path) == self._before[path]:
            return False
        return self.backend.exists(path)

    def remover(self, path: str, kept: Iterable[str | None]) -> Callable[[], None] | None:
        """Return what removes one of :meth:`path`'s or :meth:`own`'s files.

        None if there is no such file, if it is one of those ``kept``, or if removing is another process's task.
        """
        if not is_main_process() or is_among(path, kept):
            return None
        if self.backend.isfile(path):
            return lambda: self.backend.remove(path)
        # DeepSpeed's and FSDP's checkpoints are folders. Nobody but this process can vouch for what is in one.
        if path in self._written and self.backend.isdir(path):
            return lambda: self.backend.rmtree(path)
        return None

    def remove(self, paths: Iterable[str], kept: Iterable[str | None]) -> None:
        """Remove files of this folder, but for those ``kept``."""
        for path in paths:
            if (remove := self.remover(path, kept)) is not None:
                remove()

    def replace(self, old: str, new: str) -> bool:
        """Plan to remove ``old`` once ``new`` is there; return whether that is this process's task."""
        # What this process saved may be in a plugin's queue still.
        queued = is_main_process() and old in self._written and not is_among(old, [new])
        planned = queued or self.remover(old, [new]) is not None
        if planned:
            self._replaced[old] = new
        return planned

    def remove_replaced(self, kept: Iterable[str | None]) -> None:
        """Remove what is replaced by files that are there by now, but for those ``kept``."""
        ready = [old for old, new in self._replaced.items() if self.is_there(new)]
        for old in ready:
            del self._replaced[old]
        self.remove(ready, [*kept])

    def name_newest(self, path: str, work_dir: str) -> None:
        """Write into the work folder which file is the newest."""
        if "://" in work_dir:
            self.backend.put_text(path, self.backend.join_path(work_dir, MARKER))
            return
        # A relative path means another place once somebody continues from another folder.
        text = path if "://" in path else os.path.abspath(path)
        marker = os.path.join(os.path.realpath(work_dir), MARKER)
        write_atomically(marker, lambda file: file.write(text.encode()))


def best_name(metric: str, template: str, step: int) -> str:
    """Return the name of the best file of a metric.

    >>> best_name("val/loss", "epoch_{}.pth", 3)
    'best_val_loss_epoch_3.pth'
    """
    return f"best_{metric}_{template.format(step)}".replace("/", "_")


def number_in(path: object, name: Callable[[int], str]) -> int | None:
    """Return the epoch or iteration for which ``name`` gives the last part of ``path``, or None.

    >>> number_in("/a/epoch_12.pth", "epoch_{}.pth".format), number_in("/a/notes.txt", "epoch_{}.pth".format)
    (12, None)
    """
    last = re.split(r"[/\\]", str(path))[-1]
    found = map(int, re.findall(r"\d+", last[:_LONGEST]))
    return next((n for n in (*found, 0) if os.path.basename(name(n)) == last), None)


def is_among(path: str, others: Iterable[str | None]) -> bool:
    """Return whether one of the others is the same file, also through links."""
    return _real(path) in {_real(other) for other in others if other}


def _stamp(path: str) -> tuple[int, int]:
    found = os.stat(path)
    return found.st_ino, found.st_mtime_ns


def _parent(path: str) -> str:
    return path.rpartition("/")[0] if "://" in path else os.path.dirname(os.path.abspath(path))


def _real(path: str) -> str:
    return path if "://" in path else os.path.realpath(path)
