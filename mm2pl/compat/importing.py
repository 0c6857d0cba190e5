"""Import a package of a config, which may have been written for MMEngine."""

from __future__ import annotations

import importlib
from types import ModuleType

from .alias import alias_mmengine


def import_module(name: str) -> ModuleType:
    """Import the module ``name``; if what it lacks is MMEngine, serve that from mm2pl until the process ends.

    Raises:
        ImportError: It cannot be imported for another reason.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as problem:
        # An alias that is active already has said all there is to say.
        if problem.name != "mmengine" or not alias_mmengine().active:
            raise
    # Outside the handler, so that a second failure does not name the first as its context.
    return importlib.import_module(name)
