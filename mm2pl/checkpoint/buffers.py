"""Buffers that differ between processes, such as running means: ``state_dict`` has only the first process's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import nn


def buffers_of(modules: Iterable[nn.Module]) -> dict[str, torch.Tensor]:
    """Return the buffers of several modules; a buffer's name begins with the position of its module."""
    return {
        name: buffer
        for position, module in enumerate(modules)
        for name, buffer in module.named_buffers(prefix=str(position))
    }


def restore_buffers(modules: Iterable[nn.Module], saved: Mapping[str, torch.Tensor | None]) -> None:
    """Put those of :func:`buffers_of` that were saved back in place; what the modules do not have is left out."""
    for name, buffer in buffers_of(modules).items():
        value = saved.get(name)
        if value is not None and value.shape == buffer.shape:
            # In place: other objects, such as DDP, hold this very tensor.
            buffer.copy_(value)
