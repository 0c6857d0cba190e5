"""What is wrong with a checkpoint."""

from __future__ import annotations

from mm2pl.errors import UserError


class CheckpointError(UserError, RuntimeError, ValueError):
    """A file that is not a readable checkpoint, or not the one that is needed here.

    A RuntimeError too, because MMEngine raises that for a file without weights.
    """
