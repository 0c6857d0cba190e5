"""Odd but legitimate config files, and what becomes of them under MMEngine."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

import pytest

from mm2pl.config import Config, ConfigError
from tests.parity.config_corpus import differences

pytestmark = pytest.mark.parity
theirs = pytest.importorskip("mmengine.config")

BASE = """model = dict(type='R', depth=50, stages=(0, 1), head=dict(w=[1, 2]))
lr = 0.1
pipe = [dict(type='A'), dict(type='B', p=0.5)]
"""
TABLE = (Path(__file__).parent.parent / "configs" / "odd_configs.txt").read_text()
CASES = dict(case.split("\n", 1) for case in re.split(r"^== ", TABLE, flags=re.M)[1:])
PARSED = ["filename", "text", "env_variables", "_imported_names"]


# Types and dates are dumped as text, as by MMEngine; nan is never equal.
NO_LITERALS = {"builtin type", "ConfigDict from mmengine", "yaml scalars", "json nan"}


@pytest.fixture(autouse=True)
def _quiet() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a deprecated config
        yield


def write(folder: Path, case: str) -> Path:
    """Write the files of a case; return the first."""
    start, *others = re.split(r"^-- ", case, flags=re.M)
    files = {"c.py": start} if start or not others else {}
    files |= dict(other.split("\n", 1) for other in others)  # type: ignore[misc]
    for name, text in {"b.py": BASE, **files}.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return folder / next(iter(files))


def outcome(reader: Any, path: Path) -> Any:
    try:
        return reader.fromfile(path)
    except Exception as error:
        return error


@pytest.mark.parametrize("name", CASES)
def test_read_or_refused_as_by_mmengine(name: str, tmp_path: Path) -> None:
    path = write(tmp_path, CASES[name])
    expected, got = outcome(theirs.Config, path), outcome(Config, path)
    if isinstance(expected, Exception):
        assert isinstance(got, ConfigError), (expected, got)
        return
    assert isinstance(got, Config), got
    for values in ("_cfg_dict", "_to_lazy_dict", "to_dict"):
        pair = (getattr(config, values) for config in (expected, got))
        assert not [*differences(*(v() if callable(v) else v for v in pair))], values
    for attribute in PARSED:
        assert getattr(got, attribute) == getattr(expected, attribute), attribute
    got.dump(tmp_path / "dumped.py")
    assert (Config.fromfile(tmp_path / "dumped.py") == got) is (name not in NO_LITERALS)


HIDDEN = r"c\.py:\d: This `_base_` is not read"
QUOTED = "is not replaced inside a string"
# What ours gives (a dict, or the message) | what MMEngine gives (values of some keys, or the kind of its error) | why
DECISIONS: dict[str, tuple[str, Any, Any]] = {
    "a tuple of bases is a list of them": (
        "_base_ = ('b.py',)\nmodel = 1\npipe = 2\n",
        {"lr": 0.1, "model": 1, "pipe": 2},
        TypeError,
    ),
    # A base that silently counts for nothing changes the run.
    "in an if": ("if True:\n    _base_ = 'b.py'\n    a = 1\n", HIDDEN, {"a": 1}),
    "alone in an if": ("if True:\n    _base_ = 'b.py'\n", HIDDEN, ValueError),
    "annotated": ("_base_: str = 'b.py'\na = 1\n", HIDDEN, {"a": 1}),
    "one of two targets": ("a = _base_ = 'b.py'\n", HIDDEN, {"a": "b.py"}),
    # MMEngine leaves the mark in the string that it has put there for the time being.
    "a quoted variable": ("_base_ = 'b.py'\nx = '{{_base_.lr}}'\n", QUOTED, {"lr": 0.1}),
    "a quoted variable in YAML": (
        "-- c.yaml\n_base_: b.py\nx: 'a {{_base_.lr}}'\n",
        QUOTED,
        {"lr": 0.1},
    ),
    "a variable as an argument": (
        "_base_ = 'b.py'\nmodel = pipe = None\nx = str({{_base_.lr}}) + '!'\n",
        {"lr": 0.1, "model": None, "pipe": None, "x": "0.1!"},
        {"lr": 0.1},
    ),
    "a variable as a key": (
        "_base_ = 'b.py'\nmodel = pipe = None\nx = {{{_base_.lr}}: 1}\n",
        {"lr": 0.1, "model": None, "pipe": None, "x": {0.1: 1}},
        {"lr": 0.1},
    ),
    # More is read than by MMEngine, where it is clear what is meant.
    "an environment variable without quotes": ("a = {{$MM2PL_ODD:5}}\n", {"a": 5}, SyntaxError),
    "a list in the environment": ("a = {{'$MM2PL_ODD:[1,2]'}}\n", {"a": [1, 2]}, TypeError),
    "the name of the file": ("a = __file__[-4:]\n", {"a": "c.py"}, NameError),
    "an empty file": ("-- c.yaml\n", {}, AttributeError),
}


@pytest.mark.parametrize(("case", "ours", "mmengines"), DECISIONS.values(), ids=DECISIONS)
def test_decided_otherwise(case: str, ours: Any, mmengines: Any, tmp_path: Path) -> None:
    path = write(tmp_path, case)
    if isinstance(ours, str):
        with pytest.raises(ConfigError, match=ours):
            Config.fromfile(path)
    else:
        assert Config.fromfile(path).to_dict() == ours
    expected = outcome(theirs.Config, path)
    if isinstance(mmengines, dict):
        assert mmengines.items() <= expected.to_dict().items()
        assert expected.to_dict() != ours
    else:
        assert isinstance(expected, (mmengines, RuntimeError))
