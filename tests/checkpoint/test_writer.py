"""How a file comes onto the disk. That it is whole or not there at all is in `tests/faults`."""

from __future__ import annotations

import os

from mm2pl.checkpoint.writer import write_atomically


def test_small_parts_do_not_go_to_the_system_one_by_one(tmp_path):
    seen = []

    def write(file):
        for _ in range(500):
            file.write(b"x" * 1000)
            seen.append(os.fstat(file.fileno()).st_size)

    write_atomically(tmp_path / "x.pth", write)
    assert set(seen) == {0}
    assert (tmp_path / "x.pth").stat().st_size == 500_000
