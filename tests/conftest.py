"""Shared by every test: markers that skip, and registries and global state that must not leak."""

from __future__ import annotations

import importlib.util

import pytest
import torch

HAS_MMENGINE = importlib.util.find_spec("mmengine") is not None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what this machine cannot run, with the reason in the summary."""
    missing = {
        "gpu": None if torch.cuda.is_available() else "needs a CUDA device",
        "parity": None if HAS_MMENGINE else "needs mmengine==0.10.7 (extra: parity)",
    }
    for item in items:
        for mark, reason in missing.items():
            if reason and item.get_closest_marker(mark):
                item.add_marker(pytest.mark.skip(reason=reason))
