"""Whether a cell's continued run ends as the run that was never stopped."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from mm2pl.checkpoint.progress import progress_of
from tests.continuing.cover import OWN, Cell
from tests.continuing.runs import Part, kept_plan, place_of, validates_at

ROOT = Path(__file__).parents[2]
ENDS = {"OnException": 1, "SIGTERM": 1, "SIGKILL": -signal.SIGKILL}
"""How a stopped part ends, if it does not end by itself."""


class Failed(Exception):
    """A part that did not end as it should."""


class Server:
    """Train parts in processes of their own."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.continuing.server"],
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def train(self, part: Part) -> None:
        """Train a part with all its processes.

        Raises:
            Failed: It did not end as planned, with the last lines it wrote.
        """
        os.makedirs(part.folder)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        ranks = range(int(part.cell.processes))
        parts = [json.dumps(part._replace(rank=rank, port=port)) for rank in ranks]
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(parts) + "\n")
        self._process.stdin.flush()
        statuses = json.loads(self._process.stdout.readline())
        planned = ENDS.get(part.cell.writer, 0) if part.name == "stopped" else 0
        for rank, status in zip(ranks, statuses, strict=True):
            if status != planned:
                lines = Path(part.folder, f"output_{rank}.txt").read_text().strip().splitlines()
                raise Failed(f"{part.name}: exit status {status}: {' | '.join(lines[-2:])}")

    def close(self) -> None:
        """Let the server end."""
        assert self._process.stdin is not None
        self._process.stdin.write("null\n")
        with self._process:  # flushes and closes its input, and waits
            pass


class Wholes:
    """The runs that were never stopped; cells that differ only in how they are stopped share one."""

    def __init__(self, server: Server, folder: Path) -> None:
        self._server, self._folder = server, folder
        self._made: dict[Any, Part] = {}
        self._begun = 0

    def of(self, cell: Cell) -> Part:
        """Return the part, trained once."""
        part = Part(cell, "whole", "")
        window, own_plan = cell.place == "open window", cell.door in OWN and cell.length != "same"
        same = (*cell[3:], window, own_plan, kept_plan(part), validates_at(cell))
        if same not in self._made:
            self._begun += 1
            made = part._replace(folder=str(self._folder / str(self._begun)))
            self._server.train(made)
            self._made[same] = made
        return self._made[same]


def difference(cell: Cell, server: Server, wholes: Wholes, folder: Path) -> str | None:
    """Train a cell; return the first thing that is not as in the run that was never stopped."""
    with suppress(FileNotFoundError):
        (folder / "stopped").rmdir()
    try:
        whole = wholes.of(cell)
        stopped = Part(cell, "stopped", str(folder / "stopped"))
        server.train(stopped)
        file = newest(folder / "stopped")
        if file is None:
            return "no file"
        _, place = progress_of(torch.load(file, weights_only=True))
        if cell.writer != "SIGTERM" and place != place_of(cell):
            return f"the file stands after batch {place}, not {place_of(cell)}"
        server.train(stopped._replace(name="continued", folder=str(folder / "on"), file=str(file)))
    except Failed as error:
        return str(error)
    for rank in range(int(cell.processes)):
        on = torch.load(folder / "on" / f"continued_{rank}.pt", weights_only=True)
        never = torch.load(Path(whole.folder, f"whole_{rank}.pt"), weights_only=True)
        if (where := first_difference(on, never, place)) is not None:
            return where if cell.processes == "1" else f"process {rank}: {where}"
    return None


def newest(folder: Path) -> Path | None:
    """Return the file that was written last."""
    files = [path for kind in ("*.ckpt", "*.pth") for path in folder.rglob(kind)]
    return max(files, key=lambda path: path.stat().st_mtime_ns, default=None)


def first_difference(on: dict[str, Any], whole: dict[str, Any], place: int) -> str | None:
    """Compare each later step, then what is there at the end."""
    later = {step: seen for step, seen in whole["steps"].items() if step >= place}
    if on["steps"].keys() != later.keys():
        return f"steps {span(on['steps'])}, not {span(later)}"
    for what in ("lr", "loss"):
        for step, seen in later.items():
            if on["steps"][step].get(what) != seen.get(what):
                return f"{what} of step {step}, {step - place} after the file"
    for what in ("weights", "averages", "optimizers"):
        if not equal(on[what], whole[what]):
            return what
    return None


def span(steps: dict[int, Any]) -> str:
    return f"{min(steps)} to {max(steps)} ({len(steps)})" if steps else "none"


def equal(one: Any, other: Any) -> bool:
    """Compare nested containers; tensors bit for bit."""
    if isinstance(one, torch.Tensor):
        return isinstance(other, torch.Tensor) and torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(equal, one, other))
    return one == other
