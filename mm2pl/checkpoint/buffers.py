"""Buffers that differ between processes, such as running means: a checkpoint has only the first process's in it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import nn

from mm2pl.dist import all_gather_object, broadcast_object_list


def own_buffers(modules: Iterable[nn.Module]) -> list[dict[str, torch.Tensor]]:
    """Return, per process, those of its buffers that are not equal to the first process's. All must call this.

    Args:
        modules: The same ones in every process; a buffer's name begins with the position of its module.
    """
    # On the CPU, because they are pickled: a CUDA tensor would arrive on its sender's device.
    mine = {name: buffer.detach().cpu() for name, buffer in _named(modules)}
    of_first: list[dict[str, torch.Tensor]] = [mine]
    broadcast_object_list(of_first)
    return all_gather_object(
        {name: buffer for name, buffer in mine.items() if not _equal(buffer, of_first[0].get(name))}
    )


def restore_buffers(modules: Iterable[nn.Module], saved: Mapping[str, torch.Tensor]) -> None:
    """Put one process's part of :func:`own_buffers` back in place; what the modules do not have is left out."""
    for name, buffer in _named(modules):
        if name in saved and saved[name].shape == buffer.shape:
            # In place: other objects, such as DDP, hold this very tensor.
            buffer.copy_(saved[name])


def _equal(mine: torch.Tensor, other: torch.Tensor | None) -> bool:
    # torch.equal (2.13) also finds float32 and float64 tensors equal.
    return other is not None and mine.dtype == other.dtype and torch.equal(mine, other)


def _named(modules: Iterable[nn.Module]) -> Iterable[tuple[str, torch.Tensor]]:
    for position, module in enumerate(modules):
        yield from module.named_buffers(prefix=str(position))
