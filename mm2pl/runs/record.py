"""One run in figures: how far it is, how good, how fast, and what it takes on the disk."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

from mm2pl.errors import ArgumentError
from mm2pl.run.metric_rule import RULES, infer_rule
from mm2pl.runs.configs import read_config, value_at
from mm2pl.runs.folders import WorkDir, modified, size_of
from mm2pl.runs.history import History, Row, finite, read_history
from mm2pl.runs.state import State, state_of


@dataclass(frozen=True, kw_only=True)
class Best:
    """The best value of the metric by which a run is judged.

    Attributes:
        rule: ``greater``, ``less``, or ``""`` if it is not known which is better: the value is then the last one.
    """

    key: str
    value: float
    iter: int
    epoch: int | None
    rule: str

    @property
    def text(self) -> str:
        """``accuracy 94 at epoch 3``."""
        place = f"iter {self.iter}" if self.epoch is None else f"epoch {self.epoch}"
        return f"{self.key} {self.value:.4g} at {place}{'' if self.rule else ' (last)'}"


@dataclass(kw_only=True)
class Record:
    """What is known of a run; ``None`` where nothing is.

    Attributes:
        progress: How much of it is done, from 0 to 1.
        seconds_per_iter: Of the last iterations that were logged.
        seconds_left: Of a run that is running.
        updated: When something was written last, in seconds since 1970.
        notes: What could not be read.
    """

    name: str
    path: str
    state: str
    error: str | None = None
    epoch: int | None = None
    max_epochs: int | None = None
    iter: int | None = None
    max_iters: int | None = None
    progress: float | None = None
    best: Best | None = None
    loss: float | None = None
    seconds_per_iter: float | None = None
    seconds_left: float | None = None
    checkpoints: int = 0
    checkpoint_bytes: int = 0
    started: float | None = None
    updated: float = 0.0
    notes: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Return what JSON can hold."""
        return asdict(self)


class Run:
    """A run by its folder; each of its files is read when it is first asked for.

    Args:
        folder: The work folder.
        brief: Read only what a record needs of the log.
    """

    def __init__(self, folder: WorkDir, brief: bool = False) -> None:
        self.folder, self._brief = folder, brief

    @property
    def name(self) -> str:
        """The path of the folder."""
        return str(self.folder.path)

    @cached_property
    def config(self) -> dict[str, Any]:
        """The config that it left; empty if there is none."""
        return read_config(self.folder.config)

    @cached_property
    def history(self) -> History:
        """What it has logged."""
        place = self.state.start, self.state.position.get("iter")
        return read_history(self.folder, self._brief, place)

    @cached_property
    def state(self) -> State:
        """What it says of itself."""
        return state_of(self.folder)

    def judged_by(self) -> tuple[str, str] | None:
        """Return the metric that decides which checkpoint is best, and its rule."""
        names = self.history.metrics()
        hook = value_at(self.config, "default_hooks.checkpoint", None)
        old = value_at(self.config, "evaluation", None)
        given = next((each for each in (hook, old) if isinstance(each, dict)), {})
        wanted = given.get("save_best")
        wanted = wanted[0] if isinstance(wanted, list | tuple) and wanted else wanted
        key = wanted if wanted in names else next(iter(names), None)
        if key is None:
            return None
        rule = given.get("rule") if wanted in (key, "auto") else None
        rule = rule[0] if isinstance(rule, list | tuple) and rule else rule
        if rule in RULES:
            return key, rule
        try:
            return key, infer_rule(key)
        except ArgumentError:
            return key, ""

    def best(
        self, key: str | None = None, among: Callable[[Row], bool] = lambda row: True
    ) -> Best | None:
        """Return the best value of the metric that decides, or of another one.

        Args:
            key: The other metric.
            among: Whether a validation counts.
        """
        judged = self.judged_by()
        if judged is None or (key is not None and key not in self.history.metrics()):
            return None
        rule = judged[1] if key in (None, judged[0]) else _rule_of(str(key))
        name = key or judged[0]
        rows = [r for r in self.history.val if finite(r.values.get(name)) is not None and among(r)]
        if not rows:
            return None
        row = rows[-1] if not rule else rows[0]
        for each in rows if rule else ():
            if RULES[rule](each.values[name], row.values[name]):
                row = each
        return Best(key=name, value=row.values[name], iter=row.iter, epoch=row.epoch, rule=rule)

    def record(self) -> Record:
        """Return it in figures."""
        folder, state, last = self.folder, self.state, self.history.last
        record = Record(
            name=self.name,
            path=str(folder.path.resolve()),
            state=state.name,
            error=state.error if state.name in ("failed", "stopped") else None,
            best=self.best(),
            loss=_loss(last),
            seconds_per_iter=_time(last),
            checkpoints=len(folder.checkpoints),
            checkpoint_bytes=sum(map(size_of, folder.checkpoints)),
            started=state.since or _started(folder),
            updated=_updated(folder),
            notes=self._notes(),
        )
        self._place(record, last)
        return record

    def _place(self, record: Record, last: Row | None) -> None:
        """Fill in how far the run is, and how long it takes."""
        position, length = self.state.position, self.history.epoch_length
        epochs, iters = _length(self.config)
        record.max_epochs = position.get("max_epochs") or epochs
        record.max_iters = position.get("max_iters") or iters
        if record.max_iters is None and record.max_epochs and length:
            record.max_iters = record.max_epochs * length
        logged = max((row.iter for row in [last, *self.history.val[-1:]] if row), default=None)
        record.iter = max(
            (each for each in (position.get("iter"), logged) if each is not None), default=None
        )
        if record.max_epochs:
            ended = [row.epoch for row in self.history.val[-1:] if row.epoch]
            begun = [last.epoch - 1] if last and last.epoch else []
            of_iters = [record.iter // length] if record.iter and length else []
            told = [position["epoch"]] if "epoch" in position else []
            record.epoch = max([*ended, *begun, *of_iters, *told], default=None)
        done, whole = record.iter, record.max_iters
        if done is None or not whole:
            done, whole = record.epoch, record.max_epochs
        if done is not None and whole:
            record.progress = min(1.0, done / whole)
        pace = record.seconds_per_iter
        if record.state == "running" and pace and record.iter is not None and record.max_iters:
            record.seconds_left = max(0, record.max_iters - record.iter) * pace

    def _notes(self) -> list[str]:
        notes = []
        if self.history.damaged:
            notes.append(f"{self.history.damaged} damaged lines in its log are left out")
        # A Runner that was made without a config writes an empty one.
        if self.folder.config is not None and not self.config and size_of(self.folder.config) > 1:
            notes.append(f"{self.folder.config.name} cannot be read")
        return notes


def _rule_of(key: str) -> str:
    try:
        return infer_rule(key)
    except ArgumentError:
        return ""


def _length(config: dict[str, Any]) -> tuple[int | None, int | None]:
    """Return the epochs or the iterations that a config asks for, in MMEngine's words or those of MMCV 1.x."""
    epochs = ("train_cfg.max_epochs", "runner.max_epochs", "total_epochs")
    iters = ("train_cfg.max_iters", "runner.max_iters", "total_iters")
    first = [
        next((v for path in paths if isinstance(v := value_at(config, path), int)), None)
        for paths in (epochs, iters)
    ]
    return first[0], first[1]


def _loss(row: Row | None) -> float | None:
    if row is None:
        return None
    single = [value for key, value in row.values.items() if "loss" in key]
    return finite(row.values.get("loss", single[0] if single else None))


def _time(row: Row | None) -> float | None:
    return None if row is None else finite(row.values.get("time"))


def _started(folder: WorkDir) -> float | None:
    starts = [part.start for part in folder.parts if re.fullmatch(r"\d{8}_\d{6}", part.start)]
    try:
        return time.mktime(time.strptime(starts[-1], "%Y%m%d_%H%M%S")) if starts else None
    except (ValueError, OverflowError):
        return None


def _updated(folder: WorkDir) -> float:
    files = [*folder.logs, *folder.checkpoints]
    return max(map(modified, files), default=modified(folder.path))
