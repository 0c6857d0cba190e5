"""A Runner in the cells of a notebook: ``python notebook.py STRATEGY``, in a folder with the project's config."""

from __future__ import annotations

import sys
from importlib.util import find_spec

import pytest

NOTEBOOK = __file__

has_notebook = bool(find_spec("nbclient") and find_spec("ipykernel"))
needs_notebook = pytest.mark.skipif(not has_notebook, reason="needs nbclient and ipykernel")

RUNNER = """
from mm2pl.config import Config
from mm2pl.runner import Runner
from tests.entrances.door import flags as two

config = Config.fromfile("config.py")
flags = two({strategy!r})
runner = Runner.from_cfg(config, trainer=flags)
runner.train()
"""


def executed(*cells: str) -> str:
    """Run cells in a kernel of their own; return what they print.

    Raises:
        nbclient.exceptions.CellExecutionError: A cell fails.
    """
    import nbformat
    from nbclient import NotebookClient

    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    NotebookClient(book, timeout=200, kernel_name="python3").execute()
    outputs = [output for cell in book.cells for output in cell.outputs]
    # Where rich is installed its progress bar writes the log, as pieces of the page.
    return "".join(
        output.get("text") or output.get("data", {}).get("text/plain", "") for output in outputs
    )


def in_a_session(cell: str) -> None:
    """Run a cell where there is no kernel: all that Lightning 2.6 asks of an interactive session is ``sys.ps1``."""
    sys.ps1 = ">>> "
    exec(compile(cell, "<cell>", "exec"), {"__name__": "__main__"})


if __name__ == "__main__":
    runner = RUNNER.format(strategy=sys.argv[1])
    if has_notebook:
        print(executed(runner))
    else:
        in_a_session(runner)
