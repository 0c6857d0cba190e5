"""``mmengine.runner.amp``: the context of mixed precision."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

from mm2pl.device import get_device
from mm2pl.errors import ArgumentError
from mm2pl.optim.optimizer.autocast import autocast as autocast_on


def autocast(
    device_type: str | None = None,
    dtype: torch.dtype | None = None,
    enabled: bool = True,
    cache_enabled: bool | None = None,
) -> AbstractContextManager[Any]:
    """Return a context of mixed precision; stands for ``mmengine.runner.autocast``.

    Args:
        device_type: Default: the device that the process computes on.
        dtype: Default: the device's, float16 on an accelerator and bfloat16 on a CPU.
        enabled: False makes the context do nothing.
        cache_enabled: Whether casts of weights are cached inside the context.

    Raises:
        ValueError: The device is ``mps``, as in MMEngine 0.10.7.
        RuntimeError: The device cannot compute in ``dtype``.
    """
    device_type = get_device() if device_type is None else device_type
    if device_type != "mps":
        return autocast_on(device_type, dtype, enabled, cache_enabled)
    if enabled:
        raise ArgumentError(
            "User specified autocast device_type must be cuda, cpu or another accelerator's, but got 'mps' → "
            "enabled=False, or torch.autocast('mps')"
        )
    return nullcontext()
