"""What a ModelCheckpoint remembers of its files: as a checkpoint says it, names of files in its own folder."""

from __future__ import annotations

import os
from typing import Any

from mm2pl.fileio import get_file_backend
from mm2pl.hooks.checkpoint_files import CheckpointFiles

PATHS = ("best_model_path", "kth_best_model_path", "last_model_path")


def keep_own_files(callback: Any, states: dict[str, Any], source: str) -> None:
    """Leave in a callback's state only what concerns files of the folder that it writes to.

    Lightning 2.6 takes the paths as they are, deletes what they name once a better file is there, and keeps
    ``best_model_path`` even of another folder.

    Args:
        callback: One that writes its best files into ``dirpath``, such as a ``ModelCheckpoint``; others are left alone.
        states: The callbacks' states in a checkpoint; that of this one is replaced.
        source: The checkpoint. Where neither it nor the files of its run stand in ``dirpath``, their history begins
            anew.
    """
    folder, key = getattr(callback, "dirpath", None), str(getattr(callback, "state_key", ""))
    state = states.get(key)
    if not folder or not isinstance(state, dict) or not hasattr(callback, "best_k_models"):
        return
    files = CheckpointFiles(str(folder), get_file_backend(str(folder)))
    before = str(state.get("dirpath") or "")
    if not (files.holds(source) or files.holds(os.path.join(before, "x"))):
        # All that Lightning asks for where the folder is another one.
        states[key] = {"best_model_path": "", "dirpath": before or os.path.dirname(source)}
        return

    def own(path: object) -> str:
        name = str(path) if path else ""
        if not name.endswith(callback.FILE_EXTENSION):
            return ""  # of the files in its folder, only those that it could have written
        # A name such as "{val/loss}" makes folders below it.
        below = os.path.relpath(name, before) if before else os.path.basename(name)
        outside = os.path.isabs(below) or os.pardir in below.split(os.sep)
        return files.own(name) if outside else os.path.join(str(folder), below)

    ranked = state.get("best_k_models")
    ranked = ranked if isinstance(ranked, dict) else {}
    states[key] = {
        "best_model_score": None,  # which Lightning 2.6 takes for given
        **state,
        **{name: own(state.get(name)) for name in PATHS},
        "dirpath": folder,
        "best_k_models": {own(path): score for path, score in ranked.items() if own(path)},
    }
