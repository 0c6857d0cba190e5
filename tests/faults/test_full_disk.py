"""A work folder without room, from the start or from some moment on: one message, and nothing is left half written."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from mm2pl.checkpoint.reader import read_checkpoint
from tests.faults.test_foreign import train

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


@pytest.fixture
def disk(tmp_path):
    """Return a function that makes a file system of some KB; skip where nobody may mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def mount(options: str) -> Path:
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
        if subprocess.run(command, capture_output=True).returncode:
            pytest.skip("mounting needs the rights of root")
        return folder

    yield mount
    if os.path.ismount(folder):
        # Lazily: the run's log file is still open. A mount that stays makes a later pytest fail, when
        # it prunes its old temporary folders and cannot remove this one.
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ("size=8k", "No space left on device"),
        ("size=200k", "No space left on device"),
        ("ro", "Read-only file system"),
    ],
)
def test_no_room_from_the_start(disk, options, reason):
    folder = disk(options)
    with pytest.raises(OSError, match=rf"work_dir='.*' cannot be written: {reason} → make room"):
        train(folder / "run")
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("kilobytes", [268, 280, 300, 316])
def test_a_disk_that_becomes_full(disk, kilobytes, capfd):
    folder = disk(f"size={kilobytes}k") / "run"
    with pytest.raises(OSError, match=r"could not be written: No space left on device"):
        train(folder, epochs=200)
    printed = capfd.readouterr()
    assert "Traceback" not in printed.out + printed.err
    assert not list(folder.glob(".*"))
    for file in folder.glob("*.pth"):
        read_checkpoint(file)
