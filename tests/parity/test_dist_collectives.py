"""The same scenarios in two processes on MMEngine's functions and on ours."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import torch

pytestmark = pytest.mark.parity

FOLDER = Path(__file__).parents[1] / "dist"
NAMES = ("all_reduce", "gathering", "broadcasting", "dicts_and_params", "collecting")


def load_run_two() -> Any:
    spec = importlib.util.spec_from_file_location("dist_conftest", FOLDER / "conftest.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.run_two


def same(mine: Any, theirs: Any) -> bool:
    if isinstance(mine, torch.Tensor):
        return torch.equal(mine, theirs) and mine.dtype == theirs.dtype
    if isinstance(mine, dict):
        return mine.keys() == theirs.keys() and all(same(mine[k], theirs[k]) for k in mine)
    if isinstance(mine, (list, tuple)):
        return len(mine) == len(theirs) and all(map(same, mine, theirs))
    return mine == theirs


def test_every_rank_gets_the_same(tmp_path: Path) -> None:
    pytest.importorskip("mmengine")
    run_two = load_run_two()
    results = []
    for package in ("mm2pl", "mmengine"):
        (tmp_path / package).mkdir()
        results.append(run_two(package, tmp_path / package, *NAMES))
    for mine, theirs in zip(*results, strict=True):
        assert [name for name in NAMES if not same(mine[name], theirs[name])] == []
