"""Checkpoints from the internet."""

from __future__ import annotations

from importlib import import_module
from typing import Any


def load_url(*args: Any, **kwargs: Any) -> Any:
    """Load weights from a URL; see :func:`mm2pl.checkpoint.loader.load_url`."""
    # By a name that is put together: `utils` stands below the room that reads checkpoints.
    return import_module(f"{__name__.partition('.')[0]}.checkpoint.loader").load_url(
        *args, **kwargs
    )


__all__ = ["load_url"]
