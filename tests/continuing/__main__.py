"""The matrix as a table: ``python -m tests.continuing [--two] [--door loaders] [--writer SIGKILL] …``."""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from tests.continuing.cover import AXES, ONE_PROCESS, TWO_PROCESSES
from tests.continuing.judge import Server, Wholes, difference
from tests.continuing.table import table


def main() -> None:
    """Run cells, print what differs in each, and the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.continuing")
    parser.add_argument("--two", action="store_true", help="with two processes")
    for axis, values in AXES.items():
        parser.add_argument(f"--{axis}", choices=values)
    given = vars(parser.parse_args())
    cells = TWO_PROCESSES if given.pop("two") else ONE_PROCESS
    wanted = {axis: value for axis, value in given.items() if value is not None}
    results = {}
    server = Server()
    with tempfile.TemporaryDirectory() as folder:
        wholes = Wholes(server, Path(folder, "wholes"))
        for number, cell in enumerate(cells):
            if any(getattr(cell, axis) != value for axis, value in wanted.items()):
                continue
            begin = time.monotonic()
            results[cell] = difference(cell, server, wholes, Path(folder, str(number)))
            took = time.monotonic() - begin
            print(f"{took:4.1f} s  {cell}: {results[cell] or 'equal'}", flush=True)
    server.close()
    print(table(results))


if __name__ == "__main__":
    main()
