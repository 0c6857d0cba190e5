"""The notebook's cells, run from above to below, print what is stored below them."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.documents.output import difference
from tests.documents.pages import ROOT, Block
from tests.documents.test_snippets import said

pytestmark = pytest.mark.slow

NOTEBOOK = ROOT / "examples" / "notebook.ipynb"
MARK = "next cell"


def cells() -> list[dict[str, Any]]:
    """Return the notebook's cells of code."""
    read = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    return [cell for cell in read["cells"] if cell["cell_type"] == "code"]


def shown(cell: dict[str, Any]) -> str:
    """Return what a cell has printed when the notebook was stored."""
    return "".join(
        line
        for output in cell["outputs"]
        if output.get("name") == "stdout"
        for line in output["text"]
    )


def in_a_kernel(folder: Path) -> list[str]:
    """Return what each cell prints in Jupyter's kernel."""
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(notebook, resources={"metadata": {"path": str(folder / "examples")}}).execute()
    return [shown(cell) for cell in notebook["cells"] if cell["cell_type"] == "code"]


def as_a_program(folder: Path, environment: dict[str, str]) -> list[str]:
    """Return what each cell prints in one process of Python."""
    program = "\n".join(f"{''.join(cell['source'])}\nprint({MARK!r})" for cell in cells())
    file = folder / "cells.py"
    file.write_text(program, encoding="utf-8")
    status, printed = said(Block(1, "bash", "python cells.py 2> err.txt"), folder, environment)
    assert status == 0, (folder / "err.txt").read_text(encoding="utf-8")
    return printed.split(f"{MARK}\n")[:-1]


def test_the_notebook(clone: Path, commands: dict[str, str]) -> None:
    has_jupyter = find_spec("nbclient") and find_spec("ipykernel")
    printed = in_a_kernel(clone) if has_jupyter else as_a_program(clone, commands)
    assert len(printed) == len(cells())
    for cell, text in zip(cells(), printed, strict=True):
        missing = difference(shown(cell), text)
        assert missing is None, f"{missing!r} is shown; printed:\n{text}"
