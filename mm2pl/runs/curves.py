"""The curves of runs: chosen by name, smoothed, and written as text."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile

from mm2pl.closest import closest, did_you_mean
from mm2pl.errors import ArgumentError
from mm2pl.runs.history import Row
from mm2pl.runs.record import Run
from mm2pl.utils.sparkline import COLUMNS, sparkline


@dataclass(frozen=True, kw_only=True)
class Curve:
    """One value of one run over the training.

    Attributes:
        run: The name of the run, as short as it can be.
        key: The name of the value.
        of_training: Or of the validations.
        xs: Iterations or epochs.
        ys: NaN and infinity as they were logged.
    """

    run: str
    key: str
    of_training: bool
    xs: list[float]
    ys: list[float]

    def as_dict(self) -> dict[str, object]:
        """Return what JSON can hold."""
        ys = [y if math.isfinite(y) else None for y in self.ys]
        kind = "train" if self.of_training else "val"
        return {"run": self.run, "key": self.key, "kind": kind, "x": self.xs, "y": ys}


def axis_of(runs: Sequence[Run]) -> str:
    """Return over what all of these runs can be drawn: ``epoch``, or ``iter``."""
    rows = [row for run in runs for row in (*run.history.train, *run.history.val)]
    return "epoch" if rows and all(row.epoch is not None for row in rows) else "iter"


def curves(
    runs: Sequence[Run], keys: Sequence[str] | None = None, axis: str | None = None
) -> list[Curve]:
    """Return the curves of some runs, those of one key together.

    Args:
        runs: The runs.
        keys: Names of values, or words of them: ``mAP`` finds ``coco/bbox_mAP``; default: the loss, the metric that
            decides which checkpoint is best, and the learning rate.
        axis: ``epoch`` or ``iter``; default: :func:`axis_of`.

    Raises:
        ArgumentError: No run has logged such a value, or there are no epochs.
    """
    if axis == "epoch" and axis_of(runs) != "epoch":
        raise ArgumentError("--x epoch: not all of these runs count epochs → --x iter")
    axis = axis or axis_of(runs)
    known = list(dict.fromkeys(key for run in runs for key in _keys(run)))
    if not known:
        raise ArgumentError(
            f"{', '.join(run.name for run in runs)}: nothing was logged → there is no curve to draw"
        )
    names = short_names([run.name for run in runs])
    found: list[Curve] = []
    for key in _chosen(runs, known, keys):
        for run, name in zip(runs, names, strict=True):
            for of_training, rows in ((True, run.history.train), (False, run.history.val)):
                drawn = [row for row in rows if key in row.values]
                if drawn:
                    length = run.history.epoch_length
                    xs = [_x(row, axis, of_training, length) for row in drawn]
                    ys = [row.values[key] for row in drawn]
                    found.append(Curve(run=name, key=key, of_training=of_training, xs=xs, ys=ys))
    return found


def _x(row: Row, axis: str, of_training: bool, length: int | None) -> float:
    if axis == "iter" or row.epoch is None:
        return float(row.iter)
    return row.iter / length if length and of_training else float(row.epoch)


def _keys(run: Run) -> list[str]:
    rows = [*run.history.train, *run.history.val]
    names = dict.fromkeys(key for row in rows for key in row.values)
    return [name for name in names if name not in ("iter", "epoch", "step")]


def _chosen(runs: Sequence[Run], known: list[str], keys: Sequence[str] | None) -> list[str]:
    if not keys:
        judged = [decides[0] for run in runs if (decides := run.judged_by())]
        usual = dict.fromkeys(["loss", *judged, "lr"])
        return [key for key in usual if key in known] or known[:3]
    chosen: list[str] = []
    for key in keys:
        words = [name for name in known if key in re.split(r"[/._]", name)]
        found = [key] if key in known else words
        if not found:
            raise ArgumentError(
                f"--keys {key}: these runs have logged {', '.join(known)}.{did_you_mean(closest(key, known))}"
            )
        chosen += found
    return list(dict.fromkeys(chosen))


def short_names(names: Sequence[str]) -> list[str]:
    """Return the names of folders without what all have in common.

    >>> short_names(["work_dirs/a/x", "work_dirs/b/x"]), short_names(["work_dirs/a"])
    (['a/x', 'b/x'], ['a'])
    """
    paths = [os.path.abspath(name) for name in names]
    parts = [path.split(os.sep) for path in paths]
    alike = (len(set(each)) == 1 for each in zip(*parts, strict=False))
    common = sum(1 for _ in takewhile(bool, alike))
    # A run that is the parent of another, or the only one, keeps its own name.
    common = min([common, *(len(each) - 1 for each in parts)])
    return ["/".join(each[common:]) for each in parts]


def smoothed(curve: Curve, weight: float) -> Curve:
    """Return a curve of the training as a running mean, in which a value counts ``weight`` times the one after it.

    >>> line = Curve(run="a", key="loss", of_training=True, xs=[1, 2], ys=[3.0, 0.0])
    >>> smoothed(line, 0.5).ys
    [3.0, 1.0]
    """
    # A schedule is exact, and would come late.
    if not weight or not curve.of_training or curve.key.endswith(("lr", "momentum")):
        return curve
    mean = total = 0.0
    ys = []
    for y in curve.ys:
        # One NaN would be in every value after it.
        if math.isfinite(y):
            mean, total = mean * weight + y, total * weight + 1
        ys.append(mean / total if total and math.isfinite(y) else y)
    return replace(curve, ys=ys)


def as_text(found: Iterable[Curve], log: bool = False) -> str:
    """Return a sparkline per curve; those of one key share their scale."""
    groups: dict[str, list[Curve]] = {}
    for curve in found:
        groups.setdefault(curve.key, []).append(curve)
    lines: list[str] = []
    for key, group in groups.items():
        lines.append(f"{key}{' (log)' if log else ''}")
        low_x, high_x = min(min(c.xs) for c in group), max(max(c.xs) for c in group)
        scaled = [[_scaled(y, log) for y in curve.ys] for curve in group]
        values = [y for ys in scaled for y in ys if math.isfinite(y)]
        low, high = (min(values), max(values)) if values else (0.0, 0.0)
        for curve, ys in zip(group, scaled, strict=True):
            columns = _columns(curve.xs, ys, low_x, high_x)
            lines.append(f"{sparkline(columns, low, high)}  {_ends(curve)}")
    return "\n".join(lines)


def _scaled(value: float, log: bool) -> float:
    if not log:
        return value
    return math.log10(value) if value > 0 else math.nan


def _columns(xs: Sequence[float], ys: Sequence[float], low: float, high: float) -> list[float]:
    """Return the mean of each column; one without a value repeats the one before it, up to the curve's end."""
    width = (high - low) / COLUMNS or 1.0
    held: dict[int, list[float]] = {}
    for x, y in zip(xs, ys, strict=True):
        held.setdefault(min(COLUMNS - 1, int((x - low) / width)), []).append(y)
    found, last = [], math.nan
    for column in range(COLUMNS):
        values = [y for y in held.get(column, ()) if math.isfinite(y)]
        if column in held:
            last = sum(values) / len(values) if values else math.nan
        found.append(last if column <= max(held) else math.nan)
    return found


def _ends(curve: Curve) -> str:
    values = [y for y in curve.ys if math.isfinite(y)]
    kind = "" if curve.of_training else " (val)"
    if not values:
        return f"{curve.run}{kind}: no finite value"
    ends = f"{curve.ys[0]:.4g} → {curve.ys[-1]:.4g}, {min(values):.4g} to {max(values):.4g}"
    return f"{curve.run}{kind}: {ends}"
