"""The names of the package itself."""

from __future__ import annotations

import importlib.metadata
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("room", ["utils", "registry", "logging", "fileio", "config"])
def test_a_room_is_itself_before_it_was_imported(room: str) -> None:
    """`mm2pl.registry` has a file `utils`, which is not the room of that name."""
    code = f"import mm2pl; print(mm2pl.{room}.__name__)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == f"mm2pl.{room}"


def test_a_file_of_a_room_is_no_name_of_the_package() -> None:
    code = "import mm2pl\ntry:\n    mm2pl.linked\nexcept AttributeError as error:\n    print(error)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "module 'mm2pl' has no attribute 'linked'"


def test_every_extra_that_a_message_names_is_declared() -> None:
    declared = set(importlib.metadata.metadata("mm2pl").get_all("Provides-Extra"))
    texts = [file.read_text() for file in (ROOT / "mm2pl").rglob("*.py")]
    named = {name for text in texts for name in re.findall(r"mm2pl\[(\w+)\]", text)}
    assert {"plot", "visual", "migrate"} <= named <= declared


def test_the_license_that_the_metadata_names_is_there() -> None:
    named = importlib.metadata.metadata("mm2pl")
    assert named["License-Expression"] == "Apache-2.0"
    assert "Apache License" in (ROOT / "LICENSE").read_text()
