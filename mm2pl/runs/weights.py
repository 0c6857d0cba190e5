"""Which weights of two checkpoints differ, and by how much."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from mm2pl.checkpoint.format import weights_of
from mm2pl.checkpoint.reader import read_checkpoint
from mm2pl.runs.compare import MISSING, Section

_ROWS = 20


def compare_weights(paths: Sequence[Path]) -> Section:
    """Compare the weights of some checkpoints with those of the first one.

    Returns:
        A row per weight that differs, those that differ most first: the norm of the difference over the norm of the
        first one's, or the shapes where they are not the same.

    Raises:
        CheckpointError: A file cannot be read, or holds no weights.
    """
    states = [weights_of(read_checkpoint(path, "cpu"))["state_dict"] for path in paths]
    rows = {name: _row(name, states) for name in dict.fromkeys(n for s in states for n in s)}
    differing = {name: row for name, row in rows.items() if row[0]}
    order = sorted(differing, key=lambda name: -differing[name][0])
    shown = [(name, differing[name][1]) for name in order[:_ROWS]]
    note = f"{len(rows) - len(differing)} of {len(rows)} are the same in all"
    if len(order) > _ROWS:
        note += f"; {len(order) - _ROWS} more differ by at most {differing[order[_ROWS]][0]:.3g}"
    names = [("file", [path.name for path in paths])]
    return Section("weights", [*names, *shown], note)


def _row(name: str, states: Sequence[Mapping[str, Any]]) -> tuple[float, list[str]]:
    """Return by how much a weight differs at most, and what is written of it for each file."""
    values = [state.get(name) for state in states]
    first, cells, most = values[0], ["" if name in states[0] else MISSING], 0.0
    for value in values[1:]:
        if not isinstance(value, torch.Tensor) or not isinstance(first, torch.Tensor):
            same = _equal(first, value)
            cells.append(MISSING if value is None else "the same" if same else "")
            most = most if same else float("inf")
            continue
        if value.shape != first.shape:
            cells.append(f"{tuple(value.shape)} instead of {tuple(first.shape)}")
            most = float("inf")
            continue
        distance = _distance(first, value)
        cells.append("the same" if distance == 0 else f"{distance:.3g}")
        most = max(most, distance)
    return most, cells


def _equal(one: object, other: object) -> bool:
    """Return whether two entries that are not weights are equal: an extra state may hold anything."""
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(_equal(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(_equal, one, other))
    return type(one) is type(other) and bool(one == other)


def _distance(first: torch.Tensor, value: torch.Tensor) -> float:
    if torch.equal(first, value):
        return 0.0
    one, other = first.double(), value.double()
    norm = one.norm().item()
    distance = (one - other).norm().item()
    # NaN is the largest difference that there is.
    found = distance / norm if norm else distance
    return found if found == found else float("inf")
