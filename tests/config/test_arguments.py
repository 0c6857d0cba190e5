from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

import pytest

from mm2pl.config import ConfigDict, DictAction
from mm2pl.config.arguments import add_args


@pytest.fixture
def parser() -> ArgumentParser:
    parser = ArgumentParser()
    parser.add_argument("--cfg-options", nargs="+", action=DictAction)
    return parser


VALUES: dict[str, Any] = {
    "1": 1,
    "-1": -1,
    "1e-3": 1e-3,
    "inf": float("inf"),
    "True": True,
    "false": False,
    "None": None,
    "none": "none",
    "": "",
    "abc": "abc",
    "'a b'": "ab",
    "a,b": ["a", "b"],
    "1,2.5,x": [1, 2.5, "x"],
    "[1]": [1],
    "[]": [],
    "()": (),
    "(1)": (1,),
    "(1,)": (1,),
    "1,": [1],
    "[1, 2, [3, (4, 5)]]": [1, 2, [3, (4, 5)]],
    "[(1,2),(3,4)]": [(1, 2), (3, 4)],
    "(1,2),(3,4)": [(1, 2), (3, 4)],
    "[True,None]": [True, None],
    "a=b": "a=b",
    "f(x)": "f(x)",
    "[[],()]": [[], ()],
}


@pytest.mark.parametrize(("text", "value"), VALUES.items(), ids=[repr(v) for v in VALUES])
def test_values(parser: ArgumentParser, text: str, value: Any) -> None:
    options = parser.parse_args(["--cfg-options", f"a.b={text}"]).cfg_options
    assert options == {"a.b": value}
    assert type(options["a.b"]) is type(value)


def test_occurrences_add_up(parser: ArgumentParser) -> None:
    args = ["--cfg-options", "a=1", "b=2", "--cfg-options", "b=3"]
    assert parser.parse_args(args).cfg_options == {"a": 1, "b": 3}


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("a", "must be KEY=VALUE"),
        ("a=[1,2", r"a closing '\]' is missing"),
        ("a=[1,2)", r"'\)' closes nothing"),
        ("a=1]", r"'\]' closes nothing"),
    ],
)
def test_mistakes_end_the_program(
    parser: ArgumentParser, capsys: pytest.CaptureFixture, argument: str, message: str
) -> None:
    with pytest.raises(SystemExit, match="2"):
        parser.parse_args(["--cfg-options", argument])
    assert pytest.importorskip("re").search(message, capsys.readouterr().err)


def test_add_args() -> None:
    cfg = ConfigDict(a=1, b={"c": 0.5, "d": "x", "e": (1, 2), "f": False}, g=[], h=None)
    parser = add_args(ArgumentParser(), cfg)
    args = parser.parse_args(["--a", "2", "--b.c", "1", "--b.d", "y", "--b.e", "3", "4", "--b.f"])
    assert vars(args) == {"a": 2, "b.c": 1.0, "b.d": "y", "b.e": [3, 4], "b.f": True}
