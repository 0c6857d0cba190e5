"""What is wrong with the small broken configs is said, at its file and line."""

from __future__ import annotations

import pickle
import re
from pathlib import Path

import pytest

from mm2pl.config import Config, ConfigError
from mm2pl.config.errors import (
    _KINDS,
    ConfigKeyError,
    ConfigSyntaxError,
    Site,
    locate_error,
)

CONFIGS = Path(__file__).parent.parent / "configs"

# file: builtin exception, place, message, lines of the chain
BAD: dict[str, tuple[type[Exception], str, str, list[str]]] = {
    "bad_syntax.py": (SyntaxError, "bad_syntax.py:2", "'(' was never closed", []),
    "bad_yaml.yaml": (SyntaxError, "bad_yaml.yaml:3", "expected ',' or '}'", []),
    "bad_json.json": (SyntaxError, "bad_json.json:2", "Expecting value", []),
    "bad_base_missing.py": (
        *(FileNotFoundError, "bad_base_missing.py:3"),
        *("sample/_base_/dat.py does not exist. Did you mean 'data.py'?", []),
    ),
    "bad_cycle.py": (
        *(RuntimeError, "bad_cycle_half.py:2", "inherits from itself"),
        ["bad_cycle.py:1"],
    ),
    "bad_duplicate.py": (
        *(KeyError, "bad_duplicate.py:2"),
        "'model' is defined in <configs>/sample/_base_/model.py:4 and in <configs>/sample/_base_/model.py:4",
        [],
    ),
    "bad_merge.py": (
        *(TypeError, "bad_merge.py:5"),
        *("model.head.topk is a dict in the child config and cannot inherit", []),
    ),
    "bad_name.py": (AttributeError, "bad_name.py:3", "'dept'. Did you mean 'depth'?", []),
    "bad_variable.py": (KeyError, "bad_variable.py:3", "'bckbone'. Did you mean 'backbone'?", []),
    "bad_quoted_variable.py": (
        *(RuntimeError, "bad_quoted_variable.py:2"),
        *("'{{_base_.data_root}}' is not replaced inside a string", []),
    ),
    "bad_environment.py": (
        *(KeyError, "bad_environment.py:2"),
        *("variable 'MM2PL_TEST_UNSET' is not set", []),
    ),
    "bad_division.py": (RuntimeError, "bad_division.py:4", "ZeroDivisionError", []),
    "bad_nested.py": (
        *(RuntimeError, "bad_division.py:4", "ZeroDivisionError: division by zero"),
        ["bad_nested.py:2"],
    ),
    "bad_with.py": (RuntimeError, "bad_with.py:2", "Only the `read_base` context manager", []),
    "bad_mixed.py": (
        *(RuntimeError, "sample/pure/child.py", "Use one style in the whole chain"),
        ["bad_mixed.py:1"],
    ),
    "bad_mixed_pure.py": (
        *(RuntimeError, "sample/deprecated.py:1", "cannot inherit by `_base_ = ...`"),
        ["bad_mixed_pure.py:4"],
    ),
    "bad_pure_name.py": (KeyError, "bad_pure_name.py:4", "'modle'. Did you mean 'model'?", []),
    "bad_pure_missing.py": (
        *(RuntimeError, "bad_pure_missing.py:4"),
        *("base_mdel.py, which does not exist. Did you mean 'base_model.py'", []),
    ),
    "bad_pure_star.py": (RuntimeError, "bad_pure_star.py:1", "`from torch.optim import *`", []),
    "bad_pure_call.py": (
        *(RuntimeError, "bad_pure_call.py:4"),
        *("torch.nn.ReLU is imported lazily in <configs>/bad_pure_call.py, line 1", []),
    ),
    "bad_package.py": (
        *(ModuleNotFoundError, "bad_package.py:1"),
        *("'mm2pl_is_no_such_package' is not installed", []),
    ),
    "bad_type.py": (TypeError, "bad_type.py:1", "_base_ contains 5", []),
    "bad_reserved.py": (KeyError, "bad_reserved.py", "filename is reserved for config file", []),
}


@pytest.mark.parametrize(("name", "case"), BAD.items(), ids=BAD)
def test_bad_configs(name: str, case: tuple) -> None:
    kind, place, message, via = case
    with pytest.raises(ConfigError, match=f"^{re.escape(f'{CONFIGS}/{place}: ')}") as caught:
        Config.fromfile(CONFIGS / name)
    assert isinstance(caught.value, kind)
    first, *chain = str(caught.value).splitlines()
    assert message.replace("<configs>", str(CONFIGS)) in first
    assert chain == [f"  inherited by {CONFIGS}/{line}" for line in via]


def test_every_bad_config_is_in_the_table() -> None:
    assert {path.name for path in CONFIGS.glob("bad_*")} == {*BAD, "bad_cycle_half.py"}


@pytest.mark.parametrize(("theirs", "ours"), _KINDS, ids=lambda kind: kind.__name__)
def test_kinds_stay_what_they_were(theirs: type, ours: type) -> None:
    assert issubclass(ours, theirs)
    assert issubclass(ours, ConfigError)
    located = locate_error(theirs("why"), "a.py", 3)
    assert (type(located), located.at) == (ours, Site("a.py", 3))


def test_errors_can_be_pickled() -> None:
    error = ConfigKeyError("why", Site("a.py", 3), [Site("b.py")], key="modle", accepted=["model"])
    text = "a.py:3: why Did you mean 'model'?\n  inherited by b.py"
    assert str(error) == str(pickle.loads(pickle.dumps(error))) == text


def test_syntax_errors_print_our_text() -> None:
    assert str(ConfigSyntaxError("why", Site("a.py", 3))) == "a.py:3: why"
