from __future__ import annotations

import ast

import pytest

from mm2pl.config.errors import ConfigParsingError, ConfigSyntaxError
from mm2pl.config.packages import package_folder
from mm2pl.config.source import (
    compiled_source,
    is_pure_python,
    is_standard_module,
    key_line,
    parse,
    read_source,
    statements,
)
from mm2pl.config.utils import MODULE2PACKAGE, PKG2PROJECT

STYLES = {
    "x = 1": False,
    "import os, sys\nfrom math import pi": False,
    "from mmengine.config import read_base": False,
    "from mm2pl.config import Config": False,
    "from mmengine import Config": False,
    "from mm2pl import Config": False,
    "from mmengine import Registry": True,
    "import torch": True,
    "import os, torch": True,
    "from .x import y": True,
    "from . import y": True,
    "with read_base():\n    pass": True,
    "with config.read_base():\n    pass": True,
    "import torch\n_base_ = 'x'": True,
    "_base_ = 'x'\nimport torch": False,
    "if 1:\n    import torch\n_base_ = 'x'": False,
    "def f():\n    import torch": True,
    "x = [1]\nwhile x:\n    try:\n        import torch\n    finally:\n        pass": True,
}


@pytest.mark.parametrize(("text", "pure"), STYLES.items(), ids=STYLES)
def test_style(text: str, pure: bool) -> None:
    assert is_pure_python(ast.parse(text), "a.py") is pure


@pytest.mark.parametrize(
    "text", ["with open('x'): pass", "x = 1\nwith f: pass", "with a(), b(): pass"]
)
def test_unknown_style(text: str) -> None:
    with pytest.raises(ConfigParsingError, match=r"a.py:\d: Only the `read_base` context manager"):
        is_pure_python(ast.parse(text), "a.py")


@pytest.mark.parametrize(
    ("name", "standard"),
    [
        *((name, True) for name in ("os", "os.path", "mmengine.config", "mm2pl.config.utils")),
        *((name, False) for name in ("torch", "mmengine", "")),
    ],
)
def test_standard_modules(name: str, standard: bool) -> None:
    assert is_standard_module(name) is standard


def test_statements_are_breadth_first() -> None:
    text = "if a:\n    b\nelse:\n    c\ntry:\n    d\nexcept E:\n    e\nfinally:\n    f\nmatch g:\n    case 1: h\ni"
    names = [node.value.id for node in statements(ast.parse(text)) if isinstance(node, ast.Expr)]
    assert names == ["i", "b", "c", "d", "f", "e", "h"]


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (["a"], 1),
        (["m"], 2),
        (["m", "x"], 3),
        (["m", "x", "y"], 4),
        (["m", "x", "missing"], 3),
        (["m", "z", "w"], 6),
        (["m", "deep", "no"], 2),
        (["missing"], 0),
        (["k"], 8),
    ],
)
def test_key_line(path: list[str], line: int) -> None:
    text = "a = 1\nm = dict(\n  x=dict(\n    y=1),\n  z={\n    'w': 1, **a},\n)\nk: int = 5"
    assert key_line(ast.parse(text), path) == line


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = (", r"a.py:1: '\(' was never closed: 'x = \('"),
        ("x = 1\0", "a.py: source code string cannot contain null bytes|a.py:1"),
        ("x = " + "-" * 100_000 + "1", "a.py"),
        ("x = " + "y" * 1000 + "(", r"a.py:1: .{200}$"),
    ],
)
def test_syntax_errors(text: str, message: str) -> None:
    with pytest.raises(ConfigSyntaxError, match=message if len(text) < 900 else "a.py") as caught:
        parse(text, "a.py")
    assert len(str(caught.value)) < 300


def test_code_is_shared_by_equal_text() -> None:
    first = compiled_source("x = 1", "a.py", any_style=False)
    assert compiled_source("x = 1", "a.py", any_style=False) is first
    assert compiled_source("x = 2", "a.py", any_style=False) is not first
    assert read_source("x = 1", "a.py", any_style=False).tree.body


def test_future_flags_do_not_leak_into_configs() -> None:
    namespace: dict = {}
    exec(compiled_source("x: int = 1", "a.py", any_style=True).code, namespace)
    assert namespace["__annotations__"] == {"x": int}


def test_names_of_toolboxes() -> None:
    assert MODULE2PACKAGE["mmseg"] == "mmsegmentation"
    assert MODULE2PACKAGE["mmdet"] == "mmdet"
    assert PKG2PROJECT is MODULE2PACKAGE
    assert len(MODULE2PACKAGE) == 19


def test_package_folder_imports_nothing() -> None:
    assert package_folder("mm2pl").endswith("mm2pl")
