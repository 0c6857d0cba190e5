"""Which runs are continued: the axes, what cannot be combined and why, and a pairwise cover of the rest.

What a LightningModule written by hand loses, in Lightning 2.6, has no run to be equal to and is left out too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from heapq import heapify, heappop, heappush
from itertools import combinations, product
from typing import NamedTuple

Axes = Mapping[str, Sequence[str]]
Pair = tuple[tuple[str, str], tuple[str, str]]


class Cell(NamedTuple):
    """One value of each axis."""

    writer: str
    place: str
    length: str
    kind: str
    door: str
    workers: str
    processes: str

    def __str__(self) -> str:
        return ", ".join(self)


OWN = ("MMDataModule", "loaders")
"""Doors of a Trainer that its user has made."""

AXES: dict[str, tuple[str, ...]] = {
    "writer": (
        "CheckpointHook by epoch",
        "CheckpointHook by iteration",
        "ModelCheckpoint at epoch end",
        "ModelCheckpoint every n steps",
        "ModelCheckpoint by time",
        "ModelCheckpoint on validation",
        "OnException",
        "SIGTERM",
        "SIGKILL",
        "by hand",
    ),
    "place": ("epoch end", "mid-epoch", "open window"),
    "length": ("same", "extended", "shortened"),
    "kind": (
        "plain",
        "EMAHook",
        "EMAWeightAveraging",
        "SWA",
        "early stopping",
        "ReduceOnPlateau",
        "OneCycle",
        "two optimizers",
        "AMP bf16",
    ),
    "door": ("config by epoch", "config by iteration", *OWN),
    "workers": ("0", "2", "persistent"),
    "processes": ("1", "2"),
}

AT_EPOCH_ENDS = ("CheckpointHook by epoch", "ModelCheckpoint at epoch end")


def is_manual(cell: Cell) -> bool:
    """Return whether the run is under manual optimization: its model's ``train_step`` drives the optimizer."""
    if cell.door in OWN:
        return cell.kind == "two optimizers"
    return cell.kind != "SWA"


def impossible(cell: Cell) -> str | None:
    """Return why a combination cannot exist, or cannot be equal; ``None`` if it can."""
    for rule in RULES:
        if (reason := rule(cell)) is not None:
            return reason
    return None


def _one_epoch(cell: Cell) -> str | None:
    if cell.door != "config by iteration":
        return None
    if cell.writer in AT_EPOCH_ENDS:
        return "a run by iterations is one epoch, so nothing is written at the end of another"
    if cell.kind == "SWA":
        return "SWA begins at an epoch's start, and a run by iterations has one epoch"
    return None


def _where_writers_write(cell: Cell) -> str | None:
    if cell.writer in AT_EPOCH_ENDS and cell.place == "mid-epoch":
        return "written at the ends of epochs only"
    if cell.writer in AT_EPOCH_ENDS and cell.place == "open window" and not is_manual(cell):
        return "Lightning's loop closes a window with its epoch"
    if cell.writer == "ModelCheckpoint on validation" and cell.door == "config by epoch":
        return "a run by epochs validates between two epochs" if cell.place != "epoch end" else None
    return None


def _model_checkpoint_counts_steps(cell: Cell) -> str | None:
    if cell.writer == "ModelCheckpoint by time" and is_manual(cell):
        return "Lightning 2.6 does not look at train_time_interval under manual optimization"
    saves_in_batches = ("ModelCheckpoint every n steps", "ModelCheckpoint by time")
    if cell.writer in saves_in_batches and cell.place == "open window":
        return (
            "ModelCheckpoint writes once per optimizer step, so nothing is written before the next"
        )
    return None


def _lightning_alone(cell: Cell) -> str | None:
    after_validation = ("ModelCheckpoint at epoch end", "ModelCheckpoint on validation")
    at_end = cell.place == "epoch end"
    watches = cell.kind in ("early stopping", "ReduceOnPlateau") and cell.door in OWN
    if watches and at_end and cell.writer not in after_validation:
        return "Lightning leaves out the validation that followed the file"
    if cell.kind == "SWA":
        written = after_validation if cell.door in OWN else (*after_validation, *AT_EPOCH_ENDS)
        if not at_end or cell.writer not in written:
            return "in an epoch that Lightning restarts, SWA has no schedule until the next"
    if cell.kind == "EMAWeightAveraging" and cell.writer == "SIGTERM" and at_end:
        return "Lightning ends the validation at once, when the average is in the weights' place"
    return None


RULES: tuple[Callable[[Cell], str | None], ...] = (
    _one_epoch,
    _where_writers_write,
    _model_checkpoint_counts_steps,
    _lightning_alone,
)


def cells(axes: Axes) -> Iterator[Cell]:
    """Yield all combinations that can exist."""
    for values in product(*(axes[name] for name in Cell._fields)):
        cell = Cell(*values)
        if impossible(cell) is None:
            yield cell


def pairs_of(cell: Cell) -> set[Pair]:
    """Return every two values of a cell, with their axes."""
    return set(combinations(zip(Cell._fields, cell, strict=True), 2))


def pairwise(axes: Axes) -> list[Cell]:
    """Return few cells in which every two values meet that can meet; the same cells each time.

    Always takes a cell with the most pairs not seen yet; of those, one whose values were taken least often.
    """
    used: Counter[str] = Counter()
    missing: set[Pair] = set()
    # A cell's new pairs become fewer, never more: an old count is a bound, so few cells are counted again.
    queue = []
    for number, cell in enumerate(cells(axes)):
        pairs = pairs_of(cell)
        missing |= pairs
        queue.append((-len(pairs), 0, number, cell, pairs))
    heapify(queue)
    chosen = []
    while missing:
        _, _, number, cell, pairs = heappop(queue)
        left = pairs & missing
        rank = (-len(left), sum(used[value] for value in cell))
        if queue and rank > queue[0][:2]:
            heappush(queue, (*rank, number, cell, left))
            continue
        missing -= left
        used.update(cell)
        chosen.append(cell)
    return chosen


def with_few(chosen: list[Cell], axis: str, cheap: str) -> list[Cell]:
    """Give cells the cheap value of an axis as long as every two values still meet."""
    met = Counter(pair for cell in chosen for pair in pairs_of(cell))
    changed = []
    for cell in chosen:
        other = cell._replace(**{axis: cheap})
        lost = pairs_of(cell) - pairs_of(other)
        if impossible(other) is None and all(met[pair] > 1 for pair in lost):
            met.subtract(pairs_of(cell))
            met.update(pairs_of(other))
            cell = other
        changed.append(cell)
    return changed


ONE_PROCESS = with_few(pairwise({**AXES, "processes": ("1",)}), "workers", "0")
"""What CI runs."""
TWO_PROCESSES = [cell._replace(processes="2") for cell in ONE_PROCESS]
