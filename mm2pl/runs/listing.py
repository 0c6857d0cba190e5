"""Many runs as a table: chosen, sorted, and written for a terminal."""

from __future__ import annotations

import ast
import math
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from mm2pl.closest import closest, did_you_mean
from mm2pl.errors import ArgumentError
from mm2pl.runs.configs import leaves, value_at
from mm2pl.runs.record import Record, Run
from mm2pl.runs.tables import Table

SORTS: dict[str, Callable[[Record], tuple[Any, ...]]] = {
    "time": lambda r: (-(r.started or r.updated),),
    "name": lambda r: (r.name,),
    "state": lambda r: (r.state, -r.updated),
    "progress": lambda r: (-(r.progress if r.progress is not None else -1),),
    "best": lambda r: _by_best(r),
    "loss": lambda r: (math.inf if r.loss is None else r.loss,),
    "rate": lambda r: (r.seconds_per_iter or math.inf,),
    "left": lambda r: (math.inf if r.seconds_left is None else r.seconds_left,),
    "size": lambda r: (-r.checkpoint_bytes,),
}
"""What ``--sort`` accepts; what is newest, best, fastest or largest stands first, and what is not known last."""

COLUMNS = ("run", "state", "progress", "best", "loss", "it/s", "left", "checkpoints", "updated")


_SPARE = ("checkpoints", "updated", "it/s", "loss", "left", "best")
"""Columns that a narrow terminal does without, the first one first."""


def _by_best(record: Record) -> tuple[Any, ...]:
    best = record.best
    if best is None:
        return (1, "", 0.0)
    # Metrics of different names are not compared.
    return (0, best.key, best.value if best.rule == "less" else -best.value)


def chosen(runs: Iterable[Run], filters: Sequence[str]) -> list[Run]:
    """Return the runs whose configs have all these values.

    Args:
        runs: The runs.
        filters: ``key=value``, with the path of a value in the config; ``key`` alone: it is there.

    Raises:
        ArgumentError: No run's config has such a key.
    """
    runs = list(runs)
    for each in filters:
        key, equals, text = each.partition("=")
        found = [run for run in runs if value_at(run.config, key, _NOTHING) is not _NOTHING]
        if runs and not found:
            known = {path for run in runs for path, _ in leaves(run.config)}
            hint = did_you_mean(closest(key, known))
            raise ArgumentError(
                f"--filter {each}: no config of the {len(runs)} runs has {key!r} → give key=value with the path of a "
                f"value, such as optim_wrapper.optimizer.lr=0.01.{hint}"
            )
        runs = [r for r in found if not equals or _is(value_at(r.config, key), text)]
    return runs


_NOTHING = object()


def _is(value: object, text: str) -> bool:
    if str(value) == text:
        return True
    try:
        return bool(ast.literal_eval(text) == value)
    except (ValueError, SyntaxError):
        return False


def cells(record: Record, now: float) -> list[str]:
    """Return the columns of a run."""
    pace = record.seconds_per_iter
    return [
        record.name,
        record.state,
        progress(record),
        record.best.text if record.best else "",
        "" if record.loss is None else f"{record.loss:.4g}",
        f"{1 / pace:.3g}" if pace else "",
        "" if record.seconds_left is None else duration(record.seconds_left),
        f"{record.checkpoints} of {size(record.checkpoint_bytes)}" if record.checkpoints else "",
        f"{duration(max(0.0, now - record.updated))} ago" if record.updated else "",
    ]


def progress(record: Record) -> str:
    """``epoch 3/12`` or ``iter 500/20000``; with ``?`` for what is not known."""
    if record.max_epochs and record.epoch is not None:
        return f"epoch {record.epoch}/{record.max_epochs}"
    if record.iter is None:
        return ""
    return f"iter {record.iter}/{record.max_iters or '?'}"


def duration(seconds: float) -> str:
    """Write a time with its two largest units.

    >>> duration(7), duration(3720), duration(200_000)
    ('7s', '1h02m', '2d07h')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02}s"
    if whole < 86_400:
        return f"{whole // 3600}h{whole % 3600 // 60:02}m"
    return f"{whole // 86_400}d{whole % 86_400 // 3600:02}h"


def size(count: float) -> str:
    """Write a number of bytes.

    >>> size(700), size(1_300_000_000)
    ('700 B', '1.2 GiB')
    """
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def table(records: Iterable[Record]) -> Table:
    """Return a row per run, and below it what has ended it or what could not be read."""
    records, now = list(records), time.time()
    rows = [cells(record, now) for record in records]
    # Without columns that say nothing of any run.
    kept = [i for i in range(len(COLUMNS)) if any(row[i] for row in rows)]
    return Table(
        heads=[COLUMNS[i] for i in kept],
        rows=[[row[i] for i in kept] for row in rows],
        notes={i: [t for t in [r.error, *r.notes] if t] for i, r in enumerate(records)},
        colors=_COLORS,
        spare=_SPARE,
    )


_COLORS = {"running": "green", "failed": "red", "killed": "red", "stopped": "yellow"}
