"""A checkpoint as it is given away: chosen keys, and a hash in its name."""

from __future__ import annotations

import hashlib
import os
import pickle
from collections.abc import Sequence

from mm2pl.checkpoint.weights import _load_checkpoint
from mm2pl.checkpoint.writer import save_checkpoint
from mm2pl.logging import print_log


def publish(path: str, keys: Sequence[str]) -> None:
    """Write a copy of a checkpoint that has these keys only next to it."""
    checkpoint = _load_checkpoint(path)
    removed = [key for key in checkpoint if key not in keys]
    if removed:
        print_log(
            f"Key {removed} will be removed because they are not found in published_keys. "
            f"If you want to keep them, please set `{removed}` in published_keys",
            logger="current",
        )
    checkpoint = {key: checkpoint[key] for key in checkpoint if key in keys}
    digest = hashlib.sha256(pickle.dumps(checkpoint)).hexdigest()
    final_path = f"{os.path.splitext(path)[0]}-{digest[:8]}.pth"
    save_checkpoint(checkpoint, final_path)
    print_log(f"The checkpoint ({path}) is published to {final_path}.", logger="current")
