"""Every name that the toolboxes import from mmengine is served."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

import pytest

from tests.compat.list_imports import imported

ROWS = [
    line.split("\t")
    for line in (Path(__file__).parent / "toolbox_imports.tsv").read_text().splitlines()
]


def served(module: str, name: str) -> bool:
    """Say whether ``module`` has ``name`` (``a.b`` too), submodules included; all by our own paths."""
    path = module
    try:
        found = importlib.import_module(path)
        for part in filter(None, name.split(".")):
            path = f"{path}.{part}"
            if not hasattr(found, part):
                importlib.import_module(path)
            found = getattr(found, part)
    except (ImportError, AttributeError):
        return False
    return True


@pytest.mark.parametrize(
    ("module", "name", "users"), ROWS, ids=[f"{module}:{name}" for module, name, _ in ROWS]
)
def test_name_is_served(module, name, users):
    if (module, name) == ("mmengine", "__version__"):
        pytest.skip("the alias answers for it")
    assert served(module.replace("mmengine", "mm2pl", 1), name), f"used by {users}"


def test_the_table_is_about_all_five():
    users = {user for _, _, text in ROWS for user in text.split()}
    packages = "mmcv-2.1.0", "mmdet-3.3.0", "mmpose-1.3.2", "mmpretrain-1.2.0"
    assert users == {*packages, "mmsegmentation-1.2.2"}
    assert len(ROWS) > 200


def test_what_the_list_finds():
    source = """
import mmengine
import mmengine.fileio as io
from mmengine.utils import digit_version as version, is_str
import torch
def load():
    from mmengine.runner.checkpoint import load_checkpoint
    return io.load(mmengine.fileio.get("x")), torch.fileio.load
"""
    assert set(imported(ast.parse(source))) == {
        ("mmengine", ""),
        ("mmengine", "fileio"),
        ("mmengine", "fileio.get"),
        ("mmengine.fileio", ""),
        ("mmengine.fileio", "load"),
        ("mmengine.utils", "digit_version"),
        ("mmengine.utils", "is_str"),
        ("mmengine.runner.checkpoint", "load_checkpoint"),
    }
