"""One training per work folder: a file that says who trains there, and how far it is.

While a run trains, ``.run.json`` stands in its work folder. When it ends, however it ends, the file becomes
``run.json`` in the folder of its log. A killed process leaves it where it was; who trains there next sees that the
process is gone.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeGuard

from mm2pl.errors import FileError, StateError
from mm2pl.utils.process import is_alive, started_at

NAME = ".run.json"
LAST = "run.json"
FORCE = "MM2PL_FORCE_LOCK"
"""Environment variable behind ``--force-lock``; processes that a launcher starts inherit it."""

BEAT = 10.0
"""Seconds between two signs of life."""

STALE = 600.0
"""Seconds without a sign of life after which a run of another host counts as dead: its process cannot be asked."""

_JOBS = (
    ("SLURM_JOB_ID", "SLURM_RESTART_COUNT"),
    ("TORCHELASTIC_RUN_ID", "TORCHELASTIC_RESTART_COUNT"),
)
"""A job that its scheduler has started again has the number of before, and it is not running twice."""

_HELD: Counter[str] = Counter()
"""How many runs of this process train in a folder: one may begin another."""


class WorkDirLocked(StateError):
    """Another run trains in this work folder."""


class RunLock:
    """Hold a work folder while a run trains in it, and tell there what the run is doing.

    The file holds ``host``, ``space`` (of process ids), ``pid``, ``started`` (by the kernel), ``job``, ``since`` and
    ``heartbeat`` (seconds since 1970), ``state`` (``running``, ``finished``, ``stopped`` or ``failed``), ``position``
    and ``error``.

    Args:
        work_dir: The folder.
    """

    def __init__(self, work_dir: str) -> None:
        self._path = Path(os.path.realpath(work_dir), NAME)
        self._held = False
        self._next = 0.0
        self._facts: dict[str, Any] = {}

    def acquire(self, force: bool = False) -> str | None:
        """Hold the folder until :meth:`release`; a second run of this process may hold it too.

        Args:
            force: Take it from whoever holds it.

        Returns:
            What there is to say: from whom the folder was taken over.

        Raises:
            WorkDirLocked: Another run trains there; the message says which.
            OSError: The folder cannot be written.
        """
        if self._held:
            return None
        now = time.time()
        self._facts = {**_me(), "since": now, "heartbeat": now, "state": "running", "position": {}}
        said = None
        while not self._create():
            other = _read(self._path)
            if other is None:
                continue  # gone since
            if _is_me(other):
                self._write()
                break
            reason = "--force-lock" if force else _why_stale(other, self._path)
            if reason is None:
                raise WorkDirLocked(
                    f"{self._path.parent} is in use: {_described(other)} trains there → wait for it, stop it, or name "
                    "another --work-dir; with --force-lock both train there, and overwrite each other's files"
                )
            if self._put_aside(other):
                said = f"{self._path.parent} is taken over from {_described(other)}: {reason}"
        self._held = True
        _HELD[str(self._path)] += 1
        self._next = time.monotonic() + BEAT
        return said

    def is_due(self) -> bool:
        """Return whether it is time for a sign of life."""
        return self._held and time.monotonic() >= self._next

    def beat(self, position: Mapping[str, Any]) -> None:
        """Give a sign of life; nothing happens to a folder that has been taken from this run."""
        self._next = time.monotonic() + BEAT
        self._facts |= {"heartbeat": time.time(), "position": dict(position)}
        if _is_me(_read(self._path) or {}):
            # A full disk is told by what has to be written.
            with suppress(OSError):
                self._write()

    def release(
        self,
        state: str,
        log_dir: str,
        error: str | None = None,
        position: Mapping[str, Any] | None = None,
    ) -> None:
        """Leave the folder to others, and what is known of the run in the folder of its log."""
        if not self._held:
            return
        self._held = False
        _HELD[str(self._path)] -= 1
        if _HELD[str(self._path)] > 0 or not _is_me(_read(self._path) or {}):
            return
        self._facts |= {"heartbeat": time.time(), "state": state, "error": error}
        # The last sign of life may be seconds old, and that of a short run was never due.
        if position is not None:
            self._facts["position"] = dict(position)
        try:
            self._write()
            os.replace(self._path, Path(log_dir, LAST))
        except OSError:
            with suppress(OSError):
                self._path.unlink(missing_ok=True)

    def _create(self) -> bool:
        try:
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        except FileExistsError:
            return False
        except OSError as error:
            raise _unwritable(error, self._path.parent) from error
        try:
            with open(descriptor, "w", encoding="utf-8") as file:
                json.dump(self._facts, file)
        except OSError as error:
            self._path.unlink(missing_ok=True)
            raise _unwritable(error, self._path.parent) from error
        return True

    def _write(self) -> None:
        unfinished = self._path.with_name(f"{NAME}.{os.getpid()}.tmp")
        try:
            unfinished.write_text(json.dumps(self._facts), encoding="utf-8")
            os.replace(unfinished, self._path)
        finally:
            unfinished.unlink(missing_ok=True)

    def _put_aside(self, judged: Mapping[str, Any]) -> bool:
        """Remove a file that was judged; of two processes that do so at once, one succeeds."""
        aside = self._path.with_name(f"{NAME}.{os.getpid()}.old")
        try:
            os.rename(self._path, aside)
        except FileNotFoundError:
            return False
        if _identity(_read(aside) or {}) == _identity(judged):
            aside.unlink(missing_ok=True)
            return True
        # Somebody has taken it over in between; a third one may hold the folder by now.
        with suppress(OSError):
            os.link(aside, self._path)
        aside.unlink(missing_ok=True)
        return False


def _unwritable(error: OSError, folder: Path) -> FileError:
    return FileError(
        error.errno,
        f"{folder} cannot be written: {error.strerror} → make room there, or name another folder with --work-dir",
    )


def _me() -> dict[str, Any]:
    try:
        space = os.readlink("/proc/self/ns/pid")
    except OSError:
        space = ""
    # torchrun calls every job "none" that nobody has named.
    named = ([name, os.environ.get(name)] for name, _ in _JOBS)
    job = next((each for each in named if each[1] not in (None, "", "none")), None)
    return {
        "host": socket.gethostname(),
        "space": space,
        "pid": os.getpid(),
        "started": started_at(os.getpid()),
        "job": job,
    }


def _identity(facts: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(facts.get(key) for key in ("host", "space", "pid", "started"))


def _is_me(facts: Mapping[str, Any]) -> bool:
    return _identity(facts) == _identity(_me())


def _read(path: Path) -> dict[str, Any] | None:
    """Return what stands in the file, empty if that cannot be read; None if there is no file."""
    for _ in range(20):
        try:
            content = json.loads(path.read_bytes() or b"null")
        except FileNotFoundError:
            return None
        except (OSError, ValueError):
            return {}
        if isinstance(content, dict):
            return content
        time.sleep(0.02)  # it has just been created, and is about to be written
    return {}


def _why_stale(facts: Mapping[str, Any], path: Path) -> str | None:
    """Return why a run does not hold its folder any more, or None if it does."""
    alive = lives(facts)
    if alive is not None:
        return None if alive else "that process is gone"
    if not is_id(facts.get("pid")):
        return "its file is damaged"
    job = _me()["job"]
    if job is not None and job == facts.get("job") and _starts(job[0]):
        return "it is the same job, which was started again"
    silent = seconds_since_written(path)
    return None if silent < STALE else f"it has given no sign of life for {silent / 60:.0f} minutes"


def lives(facts: Mapping[str, Any]) -> bool | None:
    """Return whether the process that a run's file names is there; None where it cannot be asked from here."""
    me, pid = _me(), facts.get("pid")
    # Where the kernel does not tell when a process began, its number alone says nothing.
    if not is_id(pid) or facts.get("started") is None:
        return None
    if (facts.get("host"), facts.get("space")) != (me["host"], me["space"]):
        return None
    return is_alive(pid) and started_at(pid) == facts["started"]


def is_id(pid: object) -> TypeGuard[int]:
    """Return whether a value can be the number of a process."""
    return isinstance(pid, int) and not isinstance(pid, bool)


def _starts(job: str) -> int:
    """Return how often a scheduler has started this job again, by the variable that names the job."""
    return int(os.environ.get(dict(_JOBS)[job]) or 0)


def seconds_since_written(path: Path) -> float:
    """Return the age of a file by the clock of its disk: those of two hosts may differ."""
    probe = path.with_name(f"{NAME}.{os.getpid()}.now")
    try:
        probe.touch()
        return probe.stat().st_mtime - path.stat().st_mtime
    except OSError:
        return 0.0
    finally:
        with suppress(OSError):
            probe.unlink(missing_ok=True)


def _described(facts: Mapping[str, Any]) -> str:
    if not facts:
        return "a run whose file is damaged"
    since = facts.get("since")
    begun = (
        time.strftime(" since %Y-%m-%d %H:%M:%S", time.localtime(since))
        if isinstance(since, int | float)
        else ""
    )
    position = facts.get("position")
    place = position.get("iter") if isinstance(position, dict) else None
    done = f" (iteration {place})" if place is not None else ""
    return f"process {facts.get('pid')} on {facts.get('host')}{begun}{done}"
