"""Two processes over gloo: mm2pl's run next to MMEngine's, and how often each averages gradients."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.processes import trained
from tests.scenarios import assert_equal

pytestmark = pytest.mark.parity

SCRIPT = Path(__file__).resolve().parents[1] / "ddp_run.py"


def run(package: str, folder: Path, *arguments: str) -> list[dict[str, Any]]:
    """Train with two processes; return what each recorded."""
    trained(SCRIPT, package, folder, *arguments)
    # Our own files of this run, with more than tensors in them.
    return [torch.load(folder / f"{package}_{rank}.pt", weights_only=False) for rank in (0, 1)]


@pytest.mark.parametrize(
    ("arguments", "reduces"),
    [(["1"], 15), (["4"], 4), (["2", "broadcast"], 8)],
    ids=["plain", "accumulation", "broadcast buffers"],
)
def test_two_processes_equal_mmengines(tmp_path: Path, arguments: list, reduces: int) -> None:
    pytest.importorskip("mmengine")
    theirs = run("mmengine", tmp_path, *arguments)
    ours = run("mm2pl", tmp_path, *arguments)
    for mine, other in zip(ours, theirs, strict=True):
        # Seventy points in batches of 8: nine batches in one process, five in each of two, three times over.
        assert len(mine["batches"]) == 15
        assert (mine.pop("reduces"), other.pop("reduces")) == (reduces, reduces)
        assert_equal(mine, other)
    assert ours[0]["loss"] != ours[1]["loss"]
