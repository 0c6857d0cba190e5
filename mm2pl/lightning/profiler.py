"""No profiling, at no cost."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

from lightning.pytorch.profilers import PassThroughProfiler

# Shared: a nullcontext keeps no state, so it may also be entered inside itself.
_NOTHING = nullcontext()


class NoProfiler(PassThroughProfiler):
    """Stand for Lightning's default profiler without making a context manager some twenty times per iteration.

    ``--trainer.profiler simple`` replaces it, as it replaces Lightning's own.

    ``dirpath`` and ``filename`` are Lightning's arguments of every profiler; nothing is written there.
    """

    def profile(self, action_name: str) -> AbstractContextManager[Any]:  # type: ignore[override]
        """Return a context that does nothing."""
        return _NOTHING
