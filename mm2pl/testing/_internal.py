"""The base class of tests with several processes, which is torch's; it needs the package ``expecttest``."""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    """Import ``MultiProcessTestCase`` when it is asked for."""
    if name != "MultiProcessTestCase":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from torch.testing._internal.common_distributed import MultiProcessTestCase

    return MultiProcessTestCase
