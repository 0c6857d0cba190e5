"""The table of what the codemod leaves to MMCV 2.x (`mm2pl.mmcv.codemod.kept`), against an installed MMCV."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mm2pl.mmcv.codemod import kept
from tests.processes import ROOT

pytestmark = [
    pytest.mark.ecosystem,
    pytest.mark.skipif(importlib.util.find_spec("mmcv") is None, reason="needs mmcv-lite"),
]

ABSENT = """
import importlib, json, sys
from mm2pl.compat import alias_mmengine
alias_mmengine()
absent = []
for module, names in json.load(sys.stdin).items():
    try:
        installed = importlib.import_module(module)
    except ImportError:
        absent.append(module)
    else:
        absent += [f"{module}.{name}" for name in names if not hasattr(installed, name)]
print(json.dumps(absent))
"""


def absent(table: dict[str, list[str]]) -> list[str]:
    """Return the modules and names of a table that an installed MMCV does not have; in a process of its own."""
    site = Path(__file__).parent / "site"  # a torchvision built for CUDA needs it
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", ABSENT],
        input=json.dumps(table),
        env={**os.environ, "PYTHONPATH": f"{site}{os.pathsep}{ROOT}", "MM2PL_MMCV_EXT": "mm2pl"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    found: list[str] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_mmcv_has_every_name_that_is_left_to_it():
    # A package shows some of what its modules have, in MMCV 1.x as well: what counts is the module.
    packages = {module.rpartition(".")[0] for module in kept._NAMES}
    table = {m: sorted(names) for m, names in kept._NAMES.items() if m not in packages}
    assert sum(map(len, table.values())) > 300
    gone = {"mmcv.arraymisc": ["quantize", "gone"], "mmcv.gone": ["x"]}
    assert absent({**gone, **table}) == ["mmcv.arraymisc.gone", "mmcv.gone"]
