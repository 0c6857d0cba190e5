"""The one door to the inside of torch's DataLoader: what torch 2.4 to 2.13 keep behind an underscore.

Nothing else in mm2pl uses a private name of :mod:`torch.utils.data` (``tests/lightning/test_private`` holds that).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils.data import DataLoader, TensorDataset

from mm2pl.errors import UnsupportedVersion

REQUIREMENT = "torch>=2.4,<2.14"
"""Versions that are known to have it."""


def self_test() -> list[str]:
    """Return what the installed torch lacks of what is used here; ``[]`` if nothing."""
    return [] if hasattr(DataLoader(TensorDataset()), "_iterator") else ["DataLoader._iterator"]


def has_live_workers(loader: DataLoader) -> bool:
    """Return whether persistent workers of an earlier pass are waiting for the next one.

    Raises:
        UnsupportedVersion: This version of torch does not tell. Their random states could not be restored.
    """
    try:
        return loader._iterator is not None
    except AttributeError as error:
        raise UnsupportedVersion(
            f"torch {torch.__version__}", "without DataLoader._iterator", REQUIREMENT
        ) from error


def send_workers_home(loader: DataLoader) -> None:
    """Let the next pass start workers of its own: living ones have been given their sampler long ago."""
    if has_live_workers(loader):
        # Dropping the iterator ends its workers: torch's `__del__` shuts them down.
        loader._iterator = None


@contextmanager
def replaced(loader: DataLoader, **changes: Any) -> Iterator[None]:
    """Change attributes of a loader for the moment in which it makes an iterator."""
    before = {name: getattr(loader, name) for name in changes}
    try:
        for name, value in changes.items():
            # DataLoader's own __setattr__ forbids some, because an iterator would not notice it.
            object.__setattr__(loader, name, value)
        yield
    finally:
        for name, value in before.items():
            # The loader outlives this pass: its later passes are whole.
            object.__setattr__(loader, name, value)
