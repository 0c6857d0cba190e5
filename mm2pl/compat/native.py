"""Hand our objects to MMEngine's, where both are installed and theirs check the class."""

from __future__ import annotations

import importlib
from typing import Any


def config_for(receiver: Any, cfg: Any) -> Any:
    """Return a config of the kind that ``receiver`` takes: MMEngine's if its class is one of theirs.

    Args:
        receiver: Such as a toolbox's visualizer.
        cfg: Our :class:`~mm2pl.config.Config`.
    """
    homes = {cls.__module__.partition(".")[0] for cls in type(receiver).__mro__}
    if "mmengine" not in homes:
        return cfg
    theirs = importlib.import_module("mmengine.config")
    return theirs.Config(cfg.to_dict(), filename=cfg.filename)
