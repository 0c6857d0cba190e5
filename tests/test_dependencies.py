"""The contract rooms know nothing of Lightning, of the bridge, or of MMEngine."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import mm2pl

ROOT = Path(mm2pl.__file__).parent
CONTRACT = [
    "registry",
    "config",
    "fileio",
    "structures",
    "logging",
    "dist",
    "utils",
    "model",
    "dataset",
    "optim",
    "evaluator",
]
ABOVE = ("lightning", "mm2pl.lightning", "mm2pl.runner", "mm2pl.cli", "mm2pl.mmcv", "mm2pl.hooks")


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return names


def below(name: str, roots: tuple[str, ...]) -> bool:
    return any(name == root or name.startswith(f"{root}.") for root in roots)


@pytest.mark.parametrize("room", CONTRACT)
def test_contract_rooms_do_not_look_up(room):
    wrong = {
        f"{path.relative_to(ROOT)}: {name}"
        for path in (ROOT / room).rglob("*.py")
        for name in imported(path)
        if below(name, ABOVE)
    }
    assert not wrong


def test_nothing_imports_mmengine_at_the_top():
    wrong = {
        str(path.relative_to(ROOT))
        for path in ROOT.rglob("*.py")
        for node in ast.parse(path.read_text()).body
        if isinstance(node, (ast.Import, ast.ImportFrom))
        and any(
            below(name, ("mmengine", "mmcv", "addict", "yapf", "cv2"))
            for name in (
                [a.name for a in node.names]
                if isinstance(node, ast.Import)
                else [node.module or ""]
            )
        )
    }
    assert not wrong
