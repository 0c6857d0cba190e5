"""The names of the package itself."""

from __future__ import annotations

import subprocess
import sys

import pytest


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
