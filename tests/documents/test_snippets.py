"""Each fenced block of each page, run as a reader would paste it, prints what the page shows."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.documents.output import difference
from tests.documents.pages import ROOT, Block, blocks, pages

pytestmark = pytest.mark.slow

SECONDS = 300
RUN = ("bash", "python")


def said(block: Block, folder: Path, environment: dict[str, str]) -> tuple[int, str]:
    """Paste a block into a shell, or into a file that Python runs; return the exit status and what was printed."""
    if block.language == "bash":
        words = ["bash", "-e", "-o", "pipefail", "-c", block.text]
    else:
        (folder / "snippet.py").write_text(block.text, encoding="utf-8")
        words = ["python", "snippet.py"]
    done = subprocess.run(
        words,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    return done.returncode, done.stdout


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page(page: Path, clone: Path, commands: dict[str, str]) -> None:
    printed, before = "", None
    for block in blocks(page.read_text(encoding="utf-8")):
        where = f"{page.relative_to(ROOT)}:{block.line}"
        if block.file:
            path = clone / block.file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text, encoding="utf-8")
        elif block.language in RUN and not block.not_run:
            status, printed = said(block, clone, commands)
            assert status == block.status, f"{where}:\n{printed}"
        elif block.language == "text" and before and before.language in RUN and not before.not_run:
            missing = difference(block.text, printed)
            assert missing is None, f"{where}: {missing!r} is shown; printed:\n{printed}"
        before = block
