"""Of which kind each piece of a run's state is: what a file holds of it, and what each process gets back.

A file is the first process's. What the others know reaches it when all processes save together, and goes back to each
of them when as many go on:

============ ================================ ================== ==========================
kind         in the file                      as many processes  another number of them
============ ================================ ================== ==========================
replicated   the first process's              that               that
per rank     one per process                  each its own       nothing, or the first's
reducible    the first's, and what differs    each its own       the mean over the processes
derived      nothing that is read             computed anew      computed anew
============ ================================ ================== ==========================
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from mm2pl.dist import all_gather_object, gather_object, get_dist_info

Tensors = Mapping[str, torch.Tensor]


@dataclass(frozen=True, kw_only=True)
class Kind:
    """How a piece of state gets into a file and out of it.

    Attributes:
        gather: From this process's value make the file's; all processes must call it, the first one's result counts.
        restore: From the file's value make this process's.
    """

    gather: Callable[[Any], Any]
    restore: Callable[[Any], Any]


def gather_different(mine: Tensors) -> list[dict[str, torch.Tensor | None]]:
    """Return at the first process its own tensors, then for each other process what is not equal to them.

    ``None`` stands for a tensor that a process does not have and the first one does. The other processes get ``[]``.
    """
    rank, processes = get_dist_info()
    if processes == 1:
        return [{name: whole(tensor) for name, tensor in mine.items()}]
    # All must take part in each transfer, also those that have no such tensor.
    names = sorted(set().union(*all_gather_object(list(mine))))
    made: list[dict[str, torch.Tensor | None]] = [{} for _ in range(processes)]
    # One at a time: the first process then holds the model once per process only where all of it differs.
    for name in names:
        # On the CPU, because it is pickled: a CUDA tensor would arrive on its sender's device.
        tensor = whole(mine[name]).detach().cpu() if name in mine else None
        if rank == 0 and tensor is not None:
            made[0][name] = tensor
        if tensor is not None and hasattr(mine[name], "full_tensor"):
            continue  # it was sharded, and is now the same everywhere
        first, *others = gather_object(tensor) or (None,)
        for part, other in zip(made[1:], others, strict=False):
            if not _equal(first, other):
                part[name] = other
    return made if rank == 0 else []


def whole(tensor: torch.Tensor) -> torch.Tensor:
    """Return a tensor as it is, or all of one that is sharded; then all processes must call this."""
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor


def like(part: torch.Tensor, tensor: torch.Tensor) -> torch.Tensor:
    """Return a whole tensor as it is, or sharded as ``part`` is; then all processes must call this."""
    mesh, placements = getattr(part, "device_mesh", None), getattr(part, "placements", None)
    if mesh is None:
        return tensor
    # Imported only here: it takes two seconds.
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(tensor, mesh, placements)


def _equal(one: torch.Tensor | None, other: torch.Tensor | None) -> bool:
    if one is None or other is None:
        return one is other
    if one.is_sparse or other.is_sparse:  # which torch.equal (2.13) cannot compare
        return False
    # It also finds float32 and float64 tensors equal.
    return one.dtype == other.dtype and torch.equal(one, other)


def _own(parts: Sequence[Any]) -> Any:
    rank, processes = get_dist_info()
    return parts[rank] if len(parts) == processes else None


def _own_or_first(parts: Sequence[Any]) -> Any:
    rank, processes = get_dist_info()
    return parts[rank if len(parts) == processes else 0]


def _own_or_mean(parts: Sequence[Mapping[str, torch.Tensor | None]]) -> dict[str, torch.Tensor]:
    """Return this process's tensors, or the means that an all-reduce over those who saved would have made."""
    rank, processes = get_dist_info()
    every = [{**parts[0], **part} for part in parts]
    if len(parts) == processes:
        return {name: tensor for name, tensor in every[rank].items() if tensor is not None}
    reduced: dict[str, torch.Tensor] = {}
    for part in every:
        for name, tensor in part.items():
            if tensor is not None:
                # Divided first, then added, as DDP does it; a process without a gradient adds nothing.
                share = tensor / len(parts)
                reduced[name] = reduced[name] + share if name in reduced else share
    return reduced


REPLICATED = Kind(gather=lambda value: value, restore=lambda value: value)
PER_RANK = Kind(gather=gather_object, restore=_own)
PER_RANK_OR_FIRST = Kind(gather=gather_object, restore=_own_or_first)
#: Named tensors; the first process's are in another part of the file.
PER_RANK_IF_DIFFERENT = Kind(gather=lambda mine: [{}, *gather_different(mine)[1:]], restore=_own)
REDUCIBLE = Kind(gather=lambda parts: gather_different(parts[0]), restore=_own_or_mean)
DERIVED = Kind(gather=lambda value: None, restore=lambda value: None)

Kinds = Mapping[str, "Kind | Kinds"]

RUN: Kinds = {
    "batch_idx": REPLICATED,
    "epoch_unfinished": REPLICATED,
    "validation_pending": REPLICATED,
    "ticks_due": REPLICATED,
    # What a loop of the user's own says of itself: the first process's.
    "loops": REPLICATED,
    # Its place is the same everywhere, the random state that it was opened with is not.
    "stream": PER_RANK_OR_FIRST,
    "workers": PER_RANK,
    "rng": PER_RANK,
    # The first process's are in `state_dict`.
    "buffers": PER_RANK_IF_DIFFERENT,
}
"""The entries of ``checkpoint["mm2pl"]`` that a run writes."""

OPTIMIZER: Kinds = {
    "state": REPLICATED,
    "param_groups": REPLICATED,
    "base_param_settings": REPLICATED,
    "loss_scaler": REPLICATED,
    # Within an open window each process has the gradients of its own batches only.
    "accumulation": {"inner_count": REPLICATED, "grads": REDUCIBLE},
}
"""The entries of an optimizer wrapper's state; what a user's wrapper adds is replicated."""


SHARDED_OPTIMIZER: Kinds = {**OPTIMIZER, "state": DERIVED, "param_groups": DERIVED}
"""The same where each process has a part of the optimizer's own state: Lightning's strategy saves and restores that."""


def gather(kinds: Kinds, state: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a file holds of ``state``. All processes must call this; the first one's result is to be written."""
    return {
        key: gather(kind, value) if isinstance(kind, Mapping) else kind.gather(value)
        for key, value in state.items()
        if (kind := kinds.get(key, REPLICATED)) is not DERIVED
    }


def restore(kinds: Kinds, saved: Mapping[str, Any]) -> dict[str, Any]:
    """Return this process's part of what :func:`gather` returned; ``None`` where nothing of it is for this one."""
    return {
        key: restore(kind, value) if isinstance(kind, Mapping) else kind.restore(value)
        for key, value in saved.items()
        if (kind := kinds.get(key, REPLICATED)) is not DERIVED
    }


def with_own_states(
    optimizer: Mapping[str, Any], states: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Put the optimizers' own states back into what :data:`SHARDED_OPTIMIZER` left of one wrapper, or of several.

    An entry that has them stays as it is.
    """
    parts = [part for part in optimizer.values() if isinstance(part, Mapping)]
    if any("param_groups" in part for part in (optimizer, *parts)):
        return dict(optimizer)
    if len(states) == 1:
        return {**states[0], **optimizer}
    pairs = zip(optimizer.items(), states, strict=True)
    return {name: {**state, **part} for (name, part), state in pairs}
