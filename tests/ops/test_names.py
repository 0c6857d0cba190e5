"""The table of functions has no hole: it is held against the names that the files of MMCV 2.1.0 load.

Where an MMCV of that version is installed, ``tests/data/ops/names.json`` is held against its files too.
"""

from __future__ import annotations

import ast
import importlib.metadata
import importlib.util
import json
from pathlib import Path

import pytest

from mm2pl.ops import adapted
from mm2pl.ops.ext import FUNCTIONS

FILE = Path(__file__).parents[1] / "data" / "ops" / "names.json"
NAMES: dict[str, list[str]] = json.loads(FILE.read_text())


def installed() -> Path | None:
    """Return the folder of MMCV 2.1.0's operators, without an import of it."""
    for package in ("mmcv", "mmcv-lite"):
        try:
            if importlib.metadata.version(package) == "2.1.0":
                found = importlib.util.find_spec("mmcv")
                return Path(found.origin).parent / "ops" if found and found.origin else None
        except importlib.metadata.PackageNotFoundError:
            continue
    return None


def loaded(file: Path) -> list[str]:
    """Return the names that a file asks ``load_ext`` for."""
    return sorted(
        name
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Call) and getattr(node.func, "attr", None) == "load_ext"
        for name in ast.literal_eval(node.args[1])
    )


def test_the_table_has_no_hole() -> None:
    assert {name for names in NAMES.values() for name in names} == {*FUNCTIONS}
    assert len(FUNCTIONS) == 112


@pytest.mark.skipif(installed() is None, reason="needs mmcv-lite 2.1.0")
def test_the_names_are_those_of_the_files() -> None:
    folder = installed()
    assert folder is not None
    found = {file.name: loaded(file) for file in folder.glob("*.py")}
    assert {name: names for name, names in found.items() if names} == NAMES


@pytest.mark.skipif(installed() is None, reason="needs mmcv-lite 2.1.0")
def test_what_is_replaced_is_there() -> None:
    folder = installed()
    assert folder is not None
    for module, functions in adapted.FUNCTIONS.items():
        text = (folder / f"{module.rpartition('.')[2]}.py").read_text()
        for path in functions:
            name = path.partition(".")[0]
            ways = f"def {name}(", f"class {name}(Function)", f"\n{name} = "
            assert any(way in text for way in ways), (module, name)
