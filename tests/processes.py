"""Two processes of one job, as ``torchrun`` starts them, for the tests that compare them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

#: torchrun's own store takes a free port itself: one that was looked for beforehand may be taken when it is used.
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
ROOT = str(Path(__file__).resolve().parents[1])


def torchrun(
    *arguments: object, cwd: Path | None = None, timeout: float = 240, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a script, or a module after ``-m``, as two processes of one thread each, to its end."""
    return subprocess.run(
        [sys.executable, *TORCHRUN, *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": ROOT, **environment},
        capture_output=True,
        text=True,
        timeout=timeout,
    )


def trained(*arguments: object, **options: Any) -> None:
    """Run two processes that must end well; what they wrote to stderr is the failure's message.

    Raises:
        AssertionError: One of them failed.
    """
    done = torchrun(*arguments, **options)
    assert done.returncode == 0, done.stderr[-5000:]
