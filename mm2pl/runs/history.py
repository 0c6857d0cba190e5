"""What a run has logged: its training and validation rows, the parts of a resumed run joined."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from mm2pl.runs.folders import Part, WorkDir

_TIMES = {"time", "data_time", "eta", "memory", "iter", "epoch", "step", "mode", "iter_num"}
"""What stands in a row and is not a value of the training."""

_HEAD = re.compile(
    r"(Epoch|Iter)(?:\((train|val)\))?\s*(?:\[\s*(\d+)\])?\s*\[\s*(\d+)(?:/\s*(\d+))?\](.*)"
)
_VALUE = re.compile(r"([^\s:,]+): (-?(?:\d[\d.]*(?:e[+-]?\d+)?|nan|inf))(?=[\s,]|$)", re.IGNORECASE)
_HEAD_BYTES = 1 << 20
"""So much of a text log is looked at for the length of an epoch; a log begins with the environment and the config."""
_LAST_ROWS = 20


@dataclass(frozen=True)
class Row:
    """What was logged at one moment.

    Attributes:
        iter: Iterations finished by then.
        epoch: The epoch, from 1; ``None`` for a run that counts iterations.
        values: Finite or not; what is not a number is left out.
    """

    iter: int
    epoch: int | None
    values: dict[str, float]


@dataclass
class History:
    """The rows of a run, oldest first.

    Attributes:
        train: Of the training.
        val: Of the validations.
        epoch_length: Iterations of an epoch, where it can be told.
        damaged: How many lines could not be read.
    """

    train: list[Row] = field(default_factory=list)
    val: list[Row] = field(default_factory=list)
    epoch_length: int | None = None
    damaged: int = 0

    @property
    def last(self) -> Row | None:
        """The last row of the training."""
        return self.train[-1] if self.train else None

    def metrics(self) -> list[str]:
        """Return the names of what the validations have computed, in order."""
        return list(dict.fromkeys(key for row in self.val for key in row.values))

    def _add(self, row: Row, of_training: bool) -> None:
        """Add a row; one of the training that is not after the last one begins a part that was resumed earlier."""
        if of_training:
            self._cut(row.iter - 1)
        (self.train if of_training else self.val).append(row)

    def _cut(self, iteration: int) -> None:
        """Forget what was logged after an iteration."""
        for rows in (self.train, self.val):
            while rows and rows[-1].iter > iteration:
                rows.pop()


def read_history(
    folder: WorkDir, brief: bool = False, place: tuple[str | None, int | None] = (None, None)
) -> History:
    """Read what a run has logged: MMEngine's and MMCV 1.x's JSON, or else the text.

    Args:
        folder: The work folder.
        brief: Read of the training's rows only the last ones: a long run has a million.
        place: A start, and the iteration at which it is by its own account. If it has logged nothing yet, the rows
            after that iteration are those of an older run in the same folder.
    """
    history = History()
    for part in folder.parts:
        length = _length_in_text(part.text)
        # Without it the length, and the place of a validation, follow from the rows: then all must be there.
        short = brief and length is not None
        rows = list(_rows(part, history, short)) if part.scalars else []
        if not rows and part.text is not None:
            rows = list(_rows_of_text(part.text, short))
        by_epoch = _counts_epochs(rows, length)
        if by_epoch:
            history.epoch_length = length or _length_of(rows) or history.epoch_length
        if part.start == place[0] and place[1] is not None and not any(map(_place, rows)):
            history._cut(place[1])
        for row, of_training in _placed(rows, by_epoch, history):
            history._add(row, of_training)
    return history


def _lines(path: Path) -> list[bytes]:
    try:
        return path.read_bytes().split(b"\n")
    except OSError:
        return []


def _rows(part: Part, history: History, brief: bool) -> Iterator[dict[str, Any]]:
    """Yield the rows of a file of JSON lines, and count those that are damaged."""
    assert part.scalars is not None
    lines, begun = _lines(part.scalars), False
    for number, line in enumerate(lines):
        if not line.strip():
            continue
        of_training = _is_of_training(line)
        # The first one tells from where the run was resumed.
        if brief and begun and of_training and number < len(lines) - _LAST_ROWS:
            continue
        begun |= of_training
        try:
            row = json.loads(line)
        except ValueError:
            row = None
        if isinstance(row, dict):
            yield row
        # The last line of a run that is writing has no end yet.
        elif number < len(lines) - 1:
            history.damaged += 1


def _is_of_training(line: bytes) -> bool:
    return b'"mode": "train"' in line or (b'"iter":' in line and b'"mode"' not in line)


def _rows_of_text(path: Path, brief: bool) -> Iterator[dict[str, Any]]:
    """Yield the rows of a log as text, in the form of MMCV 1.x's JSON."""
    lines, begun = _lines(path), False
    for number, line in enumerate(lines):
        if b"Epoch" not in line and b"Iter" not in line:
            continue
        found = _HEAD.search(line.decode(errors="replace"))
        if found is None:
            continue
        unit, mode, epoch, count, _, rest = found.groups()
        if brief and begun and mode != "val" and number < len(lines) - _LAST_ROWS:
            continue
        begun |= mode != "val"
        row: dict[str, Any] = {name: float(value) for name, value in _VALUE.findall(rest)}
        row.pop("eta", None)
        row |= {"mode": mode or "train", "iter": int(count)}
        if unit == "Epoch" and epoch is not None:
            row |= {"epoch": int(epoch)}
        yield row


def _length_in_text(path: Path | None) -> int | None:
    """Return the iterations of an epoch by the first line of the training, such as ``Epoch(train) [1][10/1563]``."""
    if path is None:
        return None
    try:
        with path.open("rb") as file:
            text = file.read(_HEAD_BYTES)
    except OSError:
        return None
    found = re.search(rb"Epoch(?:\(train\))?\s+\[\s*\d+\]\[\s*\d+/\s*(\d+)\]", text)
    return int(found[1]) if found else None


def _length_of(rows: Iterable[dict[str, Any]]) -> int | None:
    """Return the iterations of an epoch by the rows: where epochs begin to log, or how far MMCV 1.x counts."""
    firsts: dict[int, int] = {}
    by_mode, most = False, 0
    for row in rows:
        iteration, epoch = _place(row) or (0, None)
        if epoch is None:
            continue
        by_mode |= "mode" in row
        most = max(most, iteration)
        firsts.setdefault(epoch, iteration)
    if by_mode:
        return most or None
    (one, first), *later = [*firsts.items()] or [(0, 0)]
    for epoch, start in later:
        if epoch > one and (start - first) % (epoch - one) == 0:
            return (start - first) // (epoch - one)
    return None


def _place(row: dict[str, Any]) -> tuple[int, int | None] | None:
    """Return iteration and epoch of a row of the training, as they are counted there; None for any other row."""
    iteration, epoch = row.get("iter"), row.get("epoch")
    if row.get("mode", "train") != "train" or not isinstance(iteration, int):
        return None
    return iteration, epoch if isinstance(epoch, int) else None


def _placed(
    rows: list[dict[str, Any]], by_epoch: bool, history: History
) -> Iterator[tuple[Row, bool]]:
    """Yield rows with the iterations of the whole run, and whether each is of the training."""
    length, last = history.epoch_length, history.train[-1].iter if history.train else 0
    for row in rows:
        place = _place(row)
        values = {
            key.removeprefix("train/").removeprefix("val/"): float(value)
            for key, value in row.items()
            if isinstance(value, int | float) and not isinstance(value, bool)
        }
        if place is not None:
            iteration, epoch = place
            if "mode" in row and by_epoch and epoch is not None:
                iteration += (epoch - 1) * (length or 0)
            last = iteration
            yield Row(iteration, epoch if by_epoch else None, values), True
        # The first line of MMCV 1.x's files tells of the environment.
        elif (row.get("mode") == "val" or "step" in row) and (
            found := {key: value for key, value in values.items() if key not in _TIMES}
        ):
            yield _validation(row, found, by_epoch, length, last), False


def _validation(
    row: dict[str, Any], values: dict[str, float], by_epoch: bool, length: int | None, last: int
) -> Row:
    if row.get("mode") == "val":
        # MMCV 1.x writes the learning rate of the training into them.
        values = {
            k: v for k, v in values.items() if k != "lr" and not k.startswith("lr/")
        } or values
    count = row.get("epoch", row.get("step")) if by_epoch else row.get("step")
    count = count if isinstance(count, int) and not isinstance(count, bool) else 0
    if not by_epoch:
        # MMEngine 0.10.7 logs validations at step 0 unless `log_metric_by_epoch=False`: they follow what stands above.
        return Row(max(count, last), None, values)
    if length and last <= count * length:
        return Row(count * length, count, values)
    return Row(last, count, values)


def _counts_epochs(rows: list[dict[str, Any]], length: int | None) -> bool:
    """Return whether a run counts epochs: MMCV 1.x's by iterations write an epoch too, and begin no count again."""
    places = [place for row in rows if (place := _place(row))]
    if not any(epoch is not None for _, epoch in places):
        return any(row.get("mode") == "val" and "epoch" in row for row in rows) and not places
    if not any("mode" in row for row in rows):
        # With a log processor that counts epochs, MMEngine 0.10.7 writes epoch 1 all through a run by iterations.
        at_zero = any(row.get("step") == 0 for row in rows if "iter" not in row)
        beyond = length is not None and any(i > (epoch or 0) * length for i, epoch in places)
        return not (at_zero or beyond)
    if length is not None:
        return True
    pairs = pairwise(places)
    return any(b[0] <= a[0] and (b[1] or 0) > (a[1] or 0) for a, b in pairs)


def finite(value: float | None) -> float | None:
    """Return a value that JSON can hold; None for NaN and infinity."""
    return value if value is not None and math.isfinite(value) else None
