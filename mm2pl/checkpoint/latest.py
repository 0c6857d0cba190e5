"""Which checkpoint of a work folder is the newest."""

from __future__ import annotations

import os
from pathlib import Path

from mm2pl.logging import print_log


def find_latest_checkpoint(path: str) -> str | None:
    """Return what ``last_checkpoint`` in the folder ``path`` names, or None if there is no such file.

    A folder that was moved since is found: a checkpoint of that name in it is returned instead.
    """
    marker = Path(path) / "last_checkpoint"
    if not marker.exists():
        print_log("Did not find last_checkpoint to be resumed.")
        return None
    saved = marker.read_text().strip()
    # MMEngine 0.10.7 writes an absolute path and returns it even if the folder has moved since.
    moved = Path(path) / os.path.basename(saved)
    return str(moved) if not os.path.exists(saved) and moved.exists() else saved
