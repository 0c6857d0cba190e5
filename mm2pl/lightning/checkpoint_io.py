"""Read and write files for the Trainer: atomically, and from both worlds."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from lightning.fabric.plugins import CheckpointIO

from mm2pl.checkpoint import format as files
from mm2pl.checkpoint.loader import CheckpointLoader
from mm2pl.checkpoint.reader import MapLocation
from mm2pl.checkpoint.snapshot import Snapshot
from mm2pl.checkpoint.writer import save_checkpoint

HANDED_BACK = "mm2pl_handed_back"
"""The one key of a file that is read as it was written, since it is not a checkpoint."""


class MMCheckpointIO(CheckpointIO):
    """Make ``Trainer.fit(ckpt_path=…)`` and ``Trainer.save_checkpoint`` work on files of both worlds.

    A file is written under a temporary name and renamed: a kill never leaves half of one. Reading accepts MMEngine's
    ``.pth`` as well as Lightning's ``.ckpt``, without running code from the file.
    """

    def save_checkpoint(
        self,
        checkpoint: dict[str, Any] | Snapshot,
        path: str | os.PathLike[str],
        storage_options: dict[str, Any] | None = None,
    ) -> None:
        """Write a checkpoint; ``storage_options`` are MMEngine's ``backend_args``."""
        content = checkpoint.content if isinstance(checkpoint, Snapshot) else checkpoint
        # Lightning 2.6 hands the weights alone from a forked process to the one that forked it, by such a file.
        whole = content if "state_dict" in content else {HANDED_BACK: content}
        try:
            save_checkpoint(whole, str(path), backend_args=storage_options)
        finally:
            if isinstance(checkpoint, Snapshot):
                checkpoint.release()

    def load_checkpoint(
        self,
        path: str | os.PathLike[str],
        map_location: MapLocation = None,
        weights_only: bool | None = None,
    ) -> dict[str, Any]:
        """Read a checkpoint and give it Lightning's keys.

        Only an explicit ``weights_only=False`` (``Trainer.fit(…, weights_only=False)``) runs code from the file.

        Raises:
            CheckpointError: If the file is damaged or no checkpoint.
            FileNotFoundError: If there is no such file.
        """
        # Lightning's strategies name no device. Its own plugin reads to the CPU too, and each part is moved later.
        checkpoint = CheckpointLoader.load_checkpoint(
            str(path), map_location or "cpu", weights_only=weights_only is not False
        )
        if HANDED_BACK in checkpoint:
            return checkpoint[HANDED_BACK]
        # Weights alone are enough for a test. Whether a fit may go on from them is asked where the stage is known.
        return files.from_mmengine(checkpoint, resume=False)

    def remove_checkpoint(self, path: str | os.PathLike[str]) -> None:
        """Delete a local checkpoint."""
        Path(path).unlink(missing_ok=True)
