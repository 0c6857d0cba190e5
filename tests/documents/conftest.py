"""A clone as a reader has it, for each page, and one server of commands for all."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.documents import server
from tests.documents.pages import ROOT


@pytest.fixture(scope="session")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Return the environment of a page's shell; its commands are served while the tests run."""
    folder = tmp_path_factory.mktemp("commands")
    bin, address = folder / "bin", folder / "socket"
    server.install(bin, address)
    # What a page says to install is installed here: `test_pages` compares the names.
    pip = bin / "pip"
    pip.write_text("#!/bin/sh\nexit 0\n")
    pip.chmod(0o755)
    environment = {
        **os.environ,
        "PATH": f"{bin}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        # As in a terminal, where a line comes out when it is printed.
        "PYTHONUNBUFFERED": "1",
        "MPLBACKEND": "agg",
        "COLUMNS": "100",
    }
    environment.pop("PYTHONWARNINGS", None)  # set by tox
    words = [sys.executable, "-m", "tests.documents.server", str(address)]
    with subprocess.Popen(
        words, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield environment
        process.kill()


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """Return a folder with what a clone has; what a page writes stays in it."""
    folder = tmp_path / "mm2pl"
    folder.mkdir()
    skip = shutil.ignore_patterns("__pycache__", "work_dirs")
    for name in ("configs", "examples"):
        shutil.copytree(ROOT / name, folder / name, ignore=skip)
    for name in ("mm2pl", "tests", "pyproject.toml", "constraints.txt", "tox.ini"):
        (folder / name).symlink_to(ROOT / name)
    return folder
