"""Which lines are the user's own: not Python's, not an installed package's, not mm2pl's."""

from __future__ import annotations

import sysconfig
from collections.abc import Iterable
from pathlib import Path
from traceback import FrameSummary

PACKAGE = Path(__file__).resolve().parent.parent


def innermost(frames: Iterable[FrameSummary]) -> FrameSummary | None:
    """Return the last of some frames, outermost first, that runs the user's own code; None if there is none.

    >>> import sys, traceback
    >>> innermost(traceback.extract_stack(sys._getframe())[:0]) is None
    True
    """
    installed = [
        Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "purelib", "platlib")
    ]
    for frame in reversed(list(frames)):
        file = Path(frame.filename).resolve()
        own = not any(folder in file.parents for folder in (*installed, PACKAGE))
        # `<string>` and the like have no file; the program's own entry point has, outside of the packages.
        if own and file.is_file() and file.suffix == ".py":
            return frame
    return None
