"""What each process of a run does: when one dies or hangs, one line says which, and the others and it end."""

from __future__ import annotations

import atexit
import contextlib
import datetime
import itertools
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from typing import TYPE_CHECKING, Any

import torch.distributed as torch_dist

from mm2pl.lightning.failures import is_echo, store_of_run
from mm2pl.lightning.private import start_method
from mm2pl.utils.process import is_alive
from mm2pl.utils.users_code import innermost

if TYPE_CHECKING:
    from lightning.pytorch import Trainer

    from mm2pl.run.run import Run

BEAT = 0.5
"""Seconds between two notes of what a process does. Lightning 2.6 looks after its children every 5."""

PATIENCE = 3.0
"""Seconds in which a process that has failed may say so, before it is taken for one that hangs."""

GRACE = 20.0
"""Seconds after which a process ends itself when another one has said how the run has failed."""

STORE_TIMEOUT = 5.0
"""Seconds after which a question to the store is given up."""

_ENDED = "see why (dmesg, if memory ran out), then --resume"
_ABORTED = "see what it said before that, and whether another process hangs, then --resume"

_NUMBERS = itertools.count()


class Ranks:
    """Note in the run's store what this process does, and tell what the others did last when one is missing.

    A thread writes the notes, since a process that hangs cannot. It is a context, around one call of the Trainer;
    there is nothing to do for a single process.

    Args:
        run: The run; without one there is nothing to note.
        trainer: Its Trainer.
    """

    def __init__(self, run: Run | None, trainer: Trainer) -> None:
        self._run: Any = run
        self._trainer = trainer
        self._worker = threading.get_ident()
        self._over = threading.Event()
        self._store: Any = None
        self._listener: socket.socket
        self._thread: threading.Thread
        self._joining = threading.Lock()
        self._told = self._condemned = 0.0
        # The last note of the first process, which may hold the store, and whether it has left in good order.
        self._first: dict[str, Any] = {}
        self._first_is_done = False
        self._last: tuple[Any, float] = None, 0.0
        self._prefix = ""

    def __enter__(self) -> Ranks:
        several = self._run is not None and self._trainer.world_size > 1
        # A process that forks others takes no part in the run, and the thread would not be in its copies.
        if several and not start_method(self._trainer):
            # Only here: a Trainer of one process, which not every process may have, is not counted.
            start = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
            self._prefix = f"mm2pl/ranks/{start}/{next(_NUMBERS)}"
            self._run.others = self
            self._thread = threading.Thread(target=self._watch, name="mm2pl-ranks", daemon=True)
            self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *exc: object) -> None:
        self._over.set()
        if not self._prefix:
            return
        self._run.others = None
        # Python ends a daemon thread wherever it is; within the store's C++ that aborts the process.
        self._thread.join(STORE_TIMEOUT + BEAT)
        if kind is not None:
            # Those that still wait for this one; after a good end they may have work left.
            atexit.register(_end, self._children())
        elif self._store is not None and self._has_store():
            with contextlib.suppress(RuntimeError):
                self._store.set(self._key("done", self._rank), "")
        if self._store is not None:
            self._listener.close()

    # While the run goes on

    def _watch(self) -> None:
        while not self._join():
            if self._over.wait(BEAT / 10):
                return
        while not self._over.is_set():
            if self._has_store():
                with contextlib.suppress(RuntimeError):
                    self._beat()
            elif not (self._condemned or self._first_is_done):
                self._condemned = time.monotonic()
            self._over.wait(BEAT)
            if self._condemned and time.monotonic() > self._condemned + GRACE:
                if self._rank == 1 and not (self._told or self._has_store()):
                    self._say(f"{_described(0, self._first, 'is gone')} → {_ENDED}")
                os._exit(1)

    def _join(self) -> bool:
        """Connect to the store as soon as the processes have met; return whether that is done."""
        with self._joining:  # the thread asks, and a process that fails before it has
            if self._store is None and torch_dist.is_initialized():
                store = store_of_run(timeout=datetime.timedelta(seconds=STORE_TIMEOUT))
                with contextlib.suppress(OSError):
                    if store is not None:
                        self._listener = socket.create_connection(
                            (store.host, store.port), STORE_TIMEOUT
                        )
                        self._store = store
            return self._store is not None

    def _has_store(self) -> bool:
        """Return whether the process that holds the store is there; torch 2.13 would complain at length if not."""
        # Nobody ever writes to this connection: it becomes readable when its other end is closed.
        poll = select.poll()  # unlike select() it takes any number of open files
        poll.register(self._listener, select.POLLIN)
        return not poll.poll(0)

    def _beat(self) -> None:
        self._store.set(self._key("note", self._rank), json.dumps(self._note()))
        if self._rank != 0:
            self._first = self._note_of(0)
            self._first_is_done = self._has("done", 0)
        if killed := self._killed():
            self._tell(list(killed))
        if not self._condemned and self._store.check([self._key("verdict")]):
            self._condemned = time.monotonic()

    def _note(self) -> dict[str, Any]:
        run, now = self._run, time.monotonic()
        place = [run.reached, run.epoch, run.iter]
        # In a validation these are the same at each batch.
        if (so_far := [*place, run.points]) != self._last[0]:
            self._last = so_far, now
        still = now - self._last[1]
        # A process that is stopped writes no more notes, so that a duration would not grow.
        return {
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "place": place,
            "since": time.time() - still,
            "line": self._line() if still >= BEAT else "",
        }

    def _line(self) -> str:
        """Return the line of the user's own code in which the run is now, if it is in one."""
        frame = sys._current_frames().get(self._worker)
        walk = reversed(list(traceback.walk_stack(frame))) if frame is not None else ()
        found = innermost(traceback.StackSummary.extract(iter(walk), lookup_lines=False))
        return f"{found.filename}:{found.lineno}, in {found.name}" if found is not None else ""

    # When it has failed

    def is_told(self, error: BaseException) -> bool:
        """Return whether somebody has said why this process fails; say it if its partner is missing.

        Args:
            error: What ends this process; of one error the answer stays the same.
        """
        if not self._prefix:  # no process has a partner here
            return False
        known = vars(error)
        if "_mm2pl_told" not in known:
            known["_mm2pl_told"] = self._is_told(error)
        return known["_mm2pl_told"]

    def _is_told(self, error: BaseException) -> bool:
        if not self._join():
            return self._is_lonely(error)
        kind = "waits" if is_echo(error) else "failed"
        with contextlib.suppress(RuntimeError):
            if self._has_store():
                self._store.set(self._key(kind, self._rank), "")
                if kind == "failed":
                    return False
                silent = self._silent()
                return silent is None or self._tell(silent, error)
        if kind == "waits" and self._rank == 1 and not self._told:
            # The first process is gone, and with it the store. The next one speaks for all others.
            self._say(f"{_described(0, self._first, 'is gone')} → {_ENDED}")
        return kind == "waits"

    def _is_lonely(self, error: BaseException) -> bool:
        """Return whether the processes of the run have not met, which is then said."""
        if not (is_echo(error) and "clients joined" in str(error)):
            return False
        self._say(
            f"{self._trainer.world_size} processes do not meet: {error} → start all of them; "
            "env_cfg.dist_cfg.timeout, in seconds, is the longest wait"
        )
        return True

    def _silent(self) -> list[int] | None:
        """Return who neither waits nor has failed, after some patience; None if somebody has failed."""
        end = time.monotonic() + PATIENCE
        while True:
            if any(self._has("failed", rank) for rank in range(self._trainer.world_size)):
                return None
            silent = [r for r in range(self._trainer.world_size) if not self._has("waits", r)]
            gone = all(_is_gone(self._note_of(rank)) for rank in silent)
            if gone or self._told or time.monotonic() > end:
                return silent
            time.sleep(BEAT / 5)

    def _tell(self, silent: list[int], error: BaseException | None = None) -> bool:
        """Say which processes are missing, or with which ``error`` all of them wait; of all that could, one does."""
        if self._told or self._store.add(self._key("told"), 1) > 1:
            return True
        notes = {rank: self._note_of(rank) for rank in silent or range(self._trainer.world_size)}
        killed = self._killed()
        texts = [_described(rank, note, killed.get(rank, "")) for rank, note in notes.items()]
        if silent and all(rank in killed or _is_gone(note) for rank, note in notes.items()):
            killers = {how.rpartition(" ")[2] for how in killed.values()}
            advice = _ENDED if killers <= {"SIGKILL"} else _ABORTED
        elif silent:
            advice = (
                "see what it does there; env_cfg.dist_cfg.timeout, in seconds, is the longest wait"
            )
        else:
            texts.insert(
                0, f"the processes wait for each other in different places, or fail alike: {error}"
            )
            advice = "all of them must come to the same collectives"
        self._say(f"{'; '.join(texts)} → {advice}")
        self._store.set(self._key("verdict"), "")
        return True

    def _say(self, text: str) -> None:
        self._told = time.monotonic()
        self._run.logger.error(text)

    # Who is there

    @property
    def _rank(self) -> int:
        return self._trainer.global_rank

    def _key(self, *parts: object) -> str:
        return "/".join(map(str, (self._prefix, *parts)))

    def _has(self, kind: str, rank: int) -> bool:
        return self._store.check([self._key(kind, rank)])

    def _note_of(self, rank: int) -> dict[str, Any]:
        key = self._key("note", rank)
        return json.loads(self._store.get(key)) if self._store.check([key]) else {}

    def _children(self) -> list[subprocess.Popen[bytes]]:
        """Return the processes that this one has started for the run: Lightning's launcher does."""
        return getattr(self._trainer.strategy.launcher, "procs", [])

    def _killed(self) -> dict[int, str]:
        """Return which of the processes that this one has started were ended by a signal, and by which."""
        codes = {self._rank + n: child.poll() for n, child in enumerate(self._children(), start=1)}
        return {
            rank: f"was ended by {_signal_name(-code)}"
            for rank, code in codes.items()
            if code is not None and code < 0
        }


def _described(rank: int, note: dict[str, Any], how: str = "") -> str:
    """Say in one clause which process is missing and what it did last."""
    if not note:
        return f"rank {rank} {how or 'is missing'}: it has told nothing of itself yet"
    reached, epoch, iteration = note["place"]
    if not how:
        how = (
            "is gone"
            if _is_gone(note)
            else f"has not gone on for {time.time() - note['since']:.0f} seconds"
        )
    line = f", at {note['line']}" if note["line"] else ""
    return (
        f"rank {rank} (process {note['pid']} on {note['host']}) {how}: last seen at {reached or 'the start'} "
        f"in epoch {epoch + 1}, iteration {iteration + 1}{line}"
    )


def _is_gone(note: dict[str, Any]) -> bool:
    """Return whether the process that wrote a note is known to have ended: one of this host can be asked."""
    return note.get("host") == socket.gethostname() and not is_alive(note["pid"])


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _end(children: list[subprocess.Popen[bytes]]) -> None:
    """End processes that are left when the one that started them ends."""
    for child in children:
        child.terminate()
    for child in children:
        try:
            child.wait(timeout=5)
        except subprocess.TimeoutExpired:
            child.kill()
