"""Tracing."""

from __future__ import annotations

import torch


def is_jit_tracing() -> bool:
    """Return whether `torch.jit.trace` is running."""
    return torch.jit.is_tracing()
