"""Every name that the toolboxes import from mmengine is served."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from mm2pl.compat import ours
from tests.compat.list_imports import imported

ROWS = [
    line.split("\t")
    for line in (Path(__file__).parent / "toolbox_imports.tsv").read_text().splitlines()
]

NOT_SERVED = {
    ("mmengine", "Hook"),  # MMEngine has none either, nor the next two
    ("mmengine", "Runner"),
    ("mmengine", "Visualizer"),
}


def served(module: str, name: str) -> bool:
    """Say whether ``module`` has ``name`` (``a.b`` too), submodules included; all by our own paths."""
    path = module
    try:
        found = importlib.import_module(ours(path))
        for part in filter(None, name.split(".")):
            path = f"{path}.{part}"
            there = hasattr(found, part)
            found = getattr(found, part) if there else importlib.import_module(ours(path))
    except (ImportError, AttributeError):
        return False
    return True


@pytest.mark.parametrize(
    ("module", "name", "users"), ROWS, ids=[f"{module}:{name}" for module, name, _ in ROWS]
)
def test_name_is_served(module, name, users):
    if (module, name) == ("mmengine", "__version__"):
        pytest.skip("the alias answers for it")
    expected = (module, name) not in NOT_SERVED
    assert served(module, name) == expected, f"used by {users}"


def test_what_is_not_served_says_so():
    code = "\n".join(
        f"""
try:
    from {module} import {name}
except ImportError as error:
    print({name!r} in str(error) or {module[9:]!r} in str(error), "pip install" in str(error))
"""
        for module, name in sorted(NOT_SERVED)
    )
    hidden = "import mm2pl.compat.alias as alias\nalias.is_installed = lambda: False\n"
    done = subprocess.run(
        [sys.executable, "-c", f"{hidden}alias.alias_mmengine()\n{code}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["True", "True"] * len(NOT_SERVED)


def test_the_table_is_about_all_toolboxes():
    users = {user.rpartition("-")[0] for _, _, text in ROWS for user in text.split()}
    assert users == {
        *(
            "mmaction2",
            "mmagic",
            "mmcls",
            "mmcv",
            "mmdeploy",
            "mmdet",
            "mmdet3d",
            "mmflow",
            "mmocr",
            "mmpose",
        ),
        *(
            "mmpretrain",
            "mmrazor",
            "mmrotate",
            "mmsegmentation",
            "mmselfsup",
            "mmtrack",
            "mmyolo",
            "opencompass",
        ),
        "xtuner",
    }
    assert len(ROWS) > 300


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
