"""What the interpreter reads is what Python would have made of it."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest

from mm2pl.config import Config, ConfigError
from mm2pl.config.errors import ConfigSafetyError
from mm2pl.config.safe import Budget, Sandbox

SAMPLE = Path(__file__).parents[2] / "configs" / "sample"
BASE = "n = 1\nd = dict(x=dict(y=[1, dict(z=2)]), k='v')\nl = [dict(t='A'), dict(t='B')]"

SNIPPETS = (SAMPLE.parent / "safe_snippets.txt").read_text(encoding="utf-8").split("---\n")


@pytest.mark.parametrize("text", SNIPPETS, ids=range(len(SNIPPETS)))
def test_same_as_python(tmp_path: Path, text: str) -> None:
    (tmp_path / "base.py").write_text(BASE)
    (tmp_path / "a.py").write_text(f"_base_ = 'base.py'\n{text}")
    expected = Config.fromfile(tmp_path / "a.py")
    safe = Config.fromfile(tmp_path / "a.py", safe=True)
    assert repr(safe) == repr(expected)
    assert [*safe] == [*expected]


MISTAKES = {
    "x = 1\ny = zz": (NameError, "a.py:3: .*'zz' is not defined"),
    "x = dict(\n    a=1,\n    b=_base_.q)": (AttributeError, "a.py:4: .*no attribute 'q'"),
    "x = [1][5]": (IndexError, "a.py:2: IndexError"),
    "x = dict(a=1)['b']": (KeyError, "a.py:2: KeyError: 'b'"),
    "x = 1 / 0": (RuntimeError, "a.py:2: ZeroDivisionError"),
    "x = 1 + 'a'": (TypeError, "a.py:2: TypeError"),
    "x = [1] + (2,)": (TypeError, "a.py:2: TypeError"),
    "a, b = 1, 2, 3": (ValueError, "a.py:2: ValueError"),
    "a, *b, c = 1,": (ValueError, "a.py:2: ValueError: not enough values"),
    "for i in 5: pass": (TypeError, "'int' object is not iterable"),
    "x = 5()": (TypeError, "'int' object is not callable"),
    "x = dict(a=1, **dict(a=2))": (TypeError, "multiple values for 'a'"),
    "x = dict(**5)": (TypeError, r"argument after \*\* must be a dict"),
    "x = {**5}": (TypeError, "'int' object is not a mapping"),
    "x = 5[0]": (TypeError, "'int' object is not subscriptable"),
    "x = 5\nx[0] = 1": (TypeError, "does not support item assignment"),
    "del zz": (NameError, "'zz' is not defined"),
    "assert 0, 'why'": (RuntimeError, "a.py:2: AssertionError: why"),
    "break": (ValueError, "break outside of a loop"),
    "def f(): pass": (ValueError, "a.py:2: FunctionDef is not allowed with safe=True"),
    "x = 1 @ 2": (ValueError, "MatMult is not allowed"),
    "import torch.nn": (ValueError, "a.py:2: Importing torch.nn is not allowed"),
    "import json": (ValueError, "a.py:2: Importing json is not allowed with safe=True; copy, math"),
    "from mm2pl.config import Config\nx = Config()": (ValueError, "a.py:3: .*cannot be called"),
}


@pytest.mark.parametrize(("text", "case"), MISTAKES.items(), ids=MISTAKES)
def test_mistakes_have_a_line(tmp_path: Path, text: str, case: tuple) -> None:
    kind, message = case
    (tmp_path / "base.py").write_text(BASE)
    (tmp_path / "a.py").write_text(f"_base_ = 'base.py'\n{text}")
    with pytest.raises(ConfigError, match=message) as caught:
        Config.fromfile(tmp_path / "a.py", safe=True)
    assert isinstance(caught.value, kind)


@pytest.mark.parametrize(
    "name",
    [
        *("_base_/model.py", "_base_/data.py", "_base_/runtime.yaml", "_base_/schedule.json"),
        *("pure/base_model.py", "pure/base_data.py", "pure/child.py", "pure/grandchild.py"),
        "pure/standard.py",
    ],
)
def test_sample_configs(name: str) -> None:
    safe = Config.fromfile(SAMPLE / name, safe=True)
    assert safe == Config.fromfile(SAMPLE / name)
    assert safe._to_lazy_dict() == safe.to_dict()


def test_nothing_is_imported(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(
        "from mm2pl_is_missing import A\nimport mm2pl_is_missing.b\n"
        "custom_imports = dict(imports=['mm2pl_is_missing'])\n"
        "x = dict(type=A, y=mm2pl_is_missing.b.C)"
    )
    cfg = Config.fromfile(tmp_path / "a.py", safe=True)
    assert cfg.x == {"type": "mm2pl_is_missing.A", "y": "mm2pl_is_missing.b.C"}


def test_the_environment_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MM2PL_TEST_SECRET", "secret")
    (tmp_path / "a.py").write_text("x = '{{$MM2PL_TEST_SECRET:default}}'")
    cfg = Config.fromfile(tmp_path / "a.py", safe=True)
    assert (cfg.x, cfg.env_variables) == ("default", {})


def test_root_of_the_bases(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "base.py").write_text("x = 1")
    (tmp_path / "a" / "c.py").write_text("_base_ = '../base.py'")
    with pytest.raises(
        ConfigSafetyError, match=r"c\.py:1: The base .* lies outside of .*/a\. Move"
    ):
        Config.fromfile(tmp_path / "a" / "c.py", safe=True)
    assert Config.fromfile(tmp_path / "a" / "c.py", safe=tmp_path).x == 1
    (tmp_path / "configs" / "deep").mkdir(parents=True)
    (tmp_path / "configs" / "b.py").write_text("x = 2")
    (tmp_path / "configs" / "deep" / "c.py").write_text("_base_ = '../b.py'")
    assert Config.fromfile(tmp_path / "configs" / "deep" / "c.py", safe=True).x == 2


def test_bases_in_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    configs = tmp_path / "mm2pl_test_safe" / ".mim" / "configs" / "net"
    configs.mkdir(parents=True)
    (tmp_path / "mm2pl_test_safe" / "__init__.py").write_text("raise RuntimeError('imported')")
    (configs / "a.py").write_text("_base_ = '../b.py'")
    (configs.parent / "b.py").write_text("m = dict(type='X')")
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "c.py").write_text("_base_ = 'mm2pl_test_safe::net/a.py'")
    cfg = Config.fromfile(tmp_path / "c.py", safe=True)
    assert cfg.m == {"type": "X", "_scope_": "mm2pl_test_safe"}


@pytest.mark.parametrize("suffix", ["yaml", "json"])
def test_data_files(tmp_path: Path, suffix: str) -> None:
    text = '{"a": [1, 2.5, null, true, "x"], "b": {"c": -1}, "d": 10000000000000}'
    (tmp_path / f"a.{suffix}").write_text(text)
    expected = Config.fromfile(tmp_path / f"a.{suffix}")
    assert repr(Config.fromfile(tmp_path / f"a.{suffix}", safe=True)) == repr(expected)


def test_budget_can_be_set(tmp_path: Path) -> None:
    sandbox = Sandbox(str(tmp_path / "a.py"), budget=Budget(operations=10))
    namespace: dict[str, Any] = {}
    with pytest.raises(ConfigSafetyError, match="too many operations"):
        sandbox.run(ast.parse("x = list(range(9))"), "a.py", namespace)
