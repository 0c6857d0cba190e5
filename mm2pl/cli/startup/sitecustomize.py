"""Serve mmengine in a process that a script under ``mm2pl run`` has started: a worker, or one of torchrun's.

Python imports this file by itself, by its name, where ``mm2pl run`` has put the folder into ``PYTHONPATH``. It does
nothing without the variable that ``mm2pl run`` sets too.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from importlib.machinery import PathFinder
from pathlib import Path
from types import TracebackType

FOLDER = Path(__file__).resolve().parent


def start() -> None:
    """Serve mmengine, tell a mistake in one message, and let another ``sitecustomize`` do its work."""
    # `sys.path` becomes what it would be without this file; the variable goes on to the next process.
    path = [entry for entry in sys.path if Path(entry).resolve() != FOLDER]
    # The mm2pl of the parent process, which may be a checkout that nobody has installed.
    sys.path[:] = [str(FOLDER.parents[2]), *path]
    from mm2pl.compat import alias_mmengine

    sys.path[:] = path
    alias_mmengine(force=True)
    sys.excepthook = tell
    theirs = PathFinder.find_spec("sitecustomize")
    if theirs is not None and theirs.loader is not None:
        module = importlib.util.module_from_spec(theirs)
        sys.modules["sitecustomize"] = module
        theirs.loader.exec_module(module)


def tell(kind: type[BaseException], error: BaseException, where: TracebackType | None) -> None:
    """Print an error as ``mm2pl run`` does; Python's exit code is 1."""
    from mm2pl.cli.faults import told

    if text := told(error, "mm2pl run"):
        print(text, file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, where)


if os.environ.get("MM2PL_SERVES_MMENGINE"):
    start()
