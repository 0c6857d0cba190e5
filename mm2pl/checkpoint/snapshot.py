"""A checkpoint as it is at one moment, for a writer that comes to it later."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from mm2pl.checkpoint.plain import to_plain
from mm2pl.logging.storable import to_host


class Snapshot:
    """A copy of a checkpoint, to be written by :class:`~mm2pl.lightning.MMCheckpointIO`.

    It is not a mapping, so Lightning 2.6's ``AsyncCheckpointIO`` leaves it alone. That plugin would copy each tensor
    again, and one that stands in two places (``optimizer`` and ``optimizer_states`` share them) twice.

    Attributes:
        content: The checkpoint, as plain data on the CPU.
    """

    def __init__(self, checkpoint: Mapping[str, Any], memory: SnapshotMemory) -> None:
        self._memory = memory
        self._tensors: list[torch.Tensor] = []
        self.content = to_plain(checkpoint, move=self._copied)

    def _copied(self, value: torch.Tensor) -> torch.Tensor:
        made = self._memory.copied(value)
        self._tensors.append(made)
        return made

    def release(self) -> None:
        """Hand the memory on to the next snapshot; the content is not to be read any more."""
        self._memory.take_back(self._tensors)
        self.content, self._tensors = {}, []


class SnapshotMemory:
    """Memory of snapshots that have been written, for the next ones.

    Fresh memory took five times as long as the copying itself, since the system clears each page first. What is kept is
    as much as was ever in use at one time.
    """

    def __init__(self) -> None:
        self._free: dict[Any, list[torch.Tensor]] = {}

    def copied(self, value: torch.Tensor) -> torch.Tensor:
        """Return a copy of a tensor on the CPU."""
        free = self._free.get(_form(value)) if value.layout == torch.strided else None
        return free.pop().copy_(value) if free else to_host(value)

    def take_back(self, tensors: list[torch.Tensor]) -> None:
        """Keep tensors that nobody needs any more; a writer's thread calls this."""
        for tensor in (each for each in tensors if each.layout == torch.strided):
            self._free.setdefault(_form(tensor), []).append(tensor)


def _form(value: torch.Tensor) -> Any:
    return type(value), value.layout, value.shape, value.stride(), value.dtype
