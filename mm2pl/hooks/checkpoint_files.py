"""The checkpoints of one run in their folder, and the text that names the newest."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any

from mm2pl.checkpoint.latest import MARKER
from mm2pl.checkpoint.writer import write_atomically
from mm2pl.dist import is_main_process


class CheckpointFiles:
    """Delete and name files of one folder; of another folder's, such as those of the run resumed here, none.

    Args:
        folder: A path or URI.
        backend: Its storage backend.
    """

    def __init__(self, folder: str, backend: Any) -> None:
        self.folder = folder
        self.backend = backend

    def path(self, name: str) -> str:
        """Return the path of a file of this folder."""
        return self.backend.join_path(self.folder, name)

    def own(self, path: str) -> str:
        """Return the path in this folder: of another folder's file, that of a copy, which is the run's own now."""
        inside = _real(path).startswith(os.path.join(_real(self.folder), ""))
        return path if inside else self.path(os.path.basename(path))

    def remover(self, path: str, kept: Iterable[str | None]) -> Callable[[], None] | None:
        """Return what removes this folder's file of that name.

        None if there is no such file, if it is one of those ``kept``, or if removing is another process's task.
        """
        path = self.own(path)
        if not is_main_process() or is_among(path, kept):
            return None
        remove = self.backend.remove
        if not self.backend.isfile(path):
            # DeepSpeed's and FSDP's checkpoints are folders.
            if not self.backend.isdir(path):
                return None
            remove = self.backend.rmtree
        return lambda: remove(path)

    def remove(self, paths: Iterable[str], kept: Iterable[str | None]) -> None:
        """Remove this folder's files of these names, but for those ``kept``."""
        for path in paths:
            if (remove := self.remover(path, kept)) is not None:
                remove()

    def name_newest(self, path: str, work_dir: str) -> None:
        """Write into the work folder which file is the newest."""
        if "://" in work_dir:
            self.backend.put_text(path, self.backend.join_path(work_dir, MARKER))
            return
        # A relative path means another place once somebody continues from another folder.
        text = path if "://" in path else os.path.abspath(path)
        marker = os.path.join(os.path.realpath(work_dir), MARKER)
        write_atomically(marker, lambda file: file.write(text.encode()))


def is_among(path: str, others: Iterable[str | None]) -> bool:
    """Return whether one of the others is the same file, also through links."""
    return _real(path) in {_real(other) for other in others if other}


def _real(path: str) -> str:
    return path if "://" in path else os.path.realpath(path)
