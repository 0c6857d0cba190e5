"""Whether a run is alive, by the file of its own state; others' runs have none."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mm2pl.run.lock import STALE, lives
from mm2pl.runs.folders import WorkDir, modified

STATES = ("running", "finished", "stopped", "failed", "killed", "unknown")
"""``killed``: the process is gone, and could not say why. ``unknown``: there is no file that says more."""


@dataclass(frozen=True)
class State:
    """What a run says of itself.

    Attributes:
        name: One of :data:`STATES`.
        error: What has ended the run, in one line.
        position: ``epoch``, ``iter``, ``max_epochs`` and ``max_iters`` as far as they are known.
        since: When it was started, in seconds since 1970.
        heartbeat: When it gave its last sign of life.
        start: The start that it is about.
        ended: Until when it is known that nobody trains, by the clock of the disk; 0 where that is not known.
    """

    name: str = "unknown"
    error: str | None = None
    position: dict[str, int] = field(default_factory=dict)
    since: float | None = None
    heartbeat: float | None = None
    start: str | None = None
    ended: float = 0.0


def state_of(folder: WorkDir) -> State:
    """Return the state of the training that was started last in a folder."""
    starts = [part for part in folder.parts if part.scalars or part.text or part.facts]
    if folder.held is not None:
        facts = _read(folder.held)
        start = starts[-1].start if starts else None
        # The silence of a process that cannot be asked proves nothing.
        ended = modified(folder.held) if lives(facts) is False else 0.0
        return _state(facts, _of_holder(facts, folder.held), start, ended)
    # A later validation has a folder too, and says nothing of the training.
    told = [part for part in starts if part.facts]
    if not told or _trained_since(starts, told[-1].start):
        return State()
    assert told[-1].facts is not None
    facts = _read(told[-1].facts)
    name = facts.get("state")
    if name not in ("finished", "stopped", "failed"):
        return _state(facts, "unknown", told[-1].start)
    return _state(facts, name, told[-1].start, modified(told[-1].facts))


def _trained_since(parts: list[Any], start: str) -> bool:
    """Return whether a training that leaves no file of its state was started later: MMEngine's, in the same folder."""
    later = (part.scalars for part in parts if part.start > start and part.scalars)
    return any(b'"iter"' in _head(path) for path in later)


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(4096)
    except OSError:
        return b""


def _of_holder(facts: dict[str, Any], path: Path) -> str:
    alive = lives(facts)
    if alive is None:
        # A process of another machine: the clocks of the two may differ, so that only a long silence counts.
        silent = time.time() - modified(path) >= STALE
        return "unknown" if not facts else "killed" if silent else "running"
    return "running" if alive else "killed"


def _state(facts: dict[str, Any], name: str, start: str | None, ended: float = 0.0) -> State:
    error, position = facts.get("error"), facts.get("position")
    return State(
        name=name,
        error=error.strip().splitlines()[0] if isinstance(error, str) and error.strip() else None,
        position={k: v for k, v in position.items() if isinstance(v, int)}
        if isinstance(position, dict)
        else {},
        since=_number(facts.get("since")),
        heartbeat=_number(facts.get("heartbeat")),
        start=start,
        ended=ended,
    )


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
