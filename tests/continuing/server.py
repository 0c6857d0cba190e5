"""Processes that have imported everything: ``python -m tests.continuing.server``.

Reads lines, each a list of parts to train at the same time, and forks a process for each; answers with the list of
their exit statuses. An import takes five seconds, a fork a few milliseconds, and no cell sees what another has left.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
import tempfile
import time
import traceback
import warnings
from contextlib import suppress
from pathlib import Path

from tests.continuing.cover import Cell
from tests.continuing.runs import Part, read_part, train

LIMIT = 60  # seconds
MODULES = "modules.txt"
PATIENCE = 10  # seconds that the others of several processes get when the first has ended


def in_fork(part: Part) -> int:
    """Start a process that trains a part; return its id."""
    if pid := os.fork():
        return pid
    status = 1
    try:
        os.setsid()
        output = os.open(f"{part.folder}/output_{part.rank}.txt", os.O_CREAT | os.O_WRONLY)
        for stream in (1, 2):
            os.dup2(output, stream)
        warnings.simplefilter("ignore")
        train(part)
        Path(part.folder, MODULES).write_text("\n".join(sys.modules))
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def wait(pids: list[int]) -> list[int | None]:
    """Return the exit statuses, negative for a signal; ``None`` for what has not ended in time."""
    statuses: dict[int, int] = {}
    end = time.monotonic() + LIMIT
    while len(statuses) < len(pids) and time.monotonic() < end:
        for pid in set(pids) - set(statuses):
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                statuses[pid] = os.waitstatus_to_exitcode(status)
                end = min(end, time.monotonic() + PATIENCE)
        time.sleep(0.005)
    for pid in pids:
        with suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)  # also the workers of a process that was killed
        if pid not in statuses:
            os.waitpid(pid, 0)
    return [statuses.get(pid) for pid in pids]


def import_what_a_run_imports() -> None:
    """Import the modules that a training imports only when it needs them, here and so in all processes to come."""
    with tempfile.TemporaryDirectory() as folder:
        for door in ("config by epoch", "MMDataModule"):
            cell = Cell("by hand", "epoch end", "same", "EMAHook", door, "2", "1")
            wait([in_fork(Part(cell, "whole", folder))])
            for module in Path(folder, MODULES).read_text().split():
                with suppress(ImportError):
                    importlib.import_module(module)


def main() -> None:
    """Serve until told to end: another process that was forked meanwhile may keep the input open."""
    import_what_a_run_imports()
    for line in sys.stdin:
        parts = json.loads(line)
        if parts is None:
            return
        pids = [in_fork(read_part(each)) for each in parts]
        print(json.dumps(wait(pids)), flush=True)


if __name__ == "__main__":
    main()
