"""Tables on terminals of any width."""

from __future__ import annotations

import importlib.util
import sys

import pytest

from mm2pl.runs import tables
from mm2pl.runs.tables import Table, plain, show

WIDE = Table(
    heads=["run", "loss", "it/s"],
    rows=[["a[0]", "0.25", "10"], ["b", "4", "8"]],
    right=[1],
    notes={0: ["was killed"]},
    note="two runs",
    spare=["it/s", "loss"],
    colors={"8": "red"},
)
LINES = {
    80: ["run   loss  it/s", "a[0]  0.25  10", "    was killed", "b        4  8", "two runs"],
    14: [
        "run   loss",
        "a[0]  0.25",
        "    was killed",
        "b        4",
        "two runs",
        "no room for: it/s",
    ],
    5: ["run", "a[0]", "    was killed", "b", "two runs", "no room for: it/s, loss"],
}


@pytest.mark.parametrize("width", LINES)
def test_spare_columns_are_left_out_for_the_width(width):
    assert plain([WIDE.within(width)]).splitlines() == LINES[width]


@pytest.mark.parametrize("has_rich", [True, False])
@pytest.mark.parametrize("width", [80, 30])
def test_a_terminal_shows_the_same_with_rich_and_without(width, has_rich, monkeypatch, capsys):
    if has_rich:
        pytest.importorskip("rich")
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setattr(
        tables, "find_spec", importlib.util.find_spec if has_rich else lambda n: None
    )
    show([WIDE, Table(title="model", heads=["", ""], rows=[["loss", "L1"]])])
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert lines == [*LINES[80], "", "model", "  loss  L1"]


def test_what_is_no_terminal_gets_every_column(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "5")
    show([WIDE])
    assert capsys.readouterr().out.splitlines() == LINES[80]


def test_a_table_without_rows_says_why():
    assert plain([Table(title="config", heads=["", "a"], rows=[], note="the same in all")]) == (
        "config\n  the same in all"
    )
