"""The commands of the page on runs, in their order, and what they print."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

import examples
from mm2pl.cli.main import main

PAGE = Path(examples.__file__).parent / "after_the_first_run.md"
ROOT = PAGE.parents[1]

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


def commands() -> list[tuple[str, list[str]]]:
    """Return each command with the lines that the page shows below it."""
    blocks = re.findall(r"```console\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    parts = [part for block in blocks for part in block.split("$ ")[1:]]
    return [(part.splitlines()[0], part.splitlines()[1:]) for part in parts]


def alike(line: str) -> str:
    """Return a line without what is of one machine: hashes, numbers, times, bars and the widths of columns."""
    line = re.sub(r"-[0-9a-f]{8}\.pth", "-#.pth", line)
    line = re.sub(r"\d[\d.]*(?:e[+-]?\d+)?", "#", line)
    # A minute has passed between two commands on a slow machine, or has not.
    line = re.sub(r"(?:#[dhms])+ ago", "# ago", line)
    return " ".join(re.sub("[▁▂▃▄▅▆▇█ ]+", " ", line).split())


def test_the_commands_print_what_the_page_says(tmp_path, monkeypatch, capsys):
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    for command, shown in commands():
        program, *words = shlex.split(command)
        assert (program, main(words)) == ("mm2pl", 0)
        pattern = "".join(
            r"(?:.*\n)*?" if line == "…" else f"{re.escape(alike(line))}\n" for line in shown
        )
        printed = "".join(f"{alike(line)}\n" for line in capsys.readouterr().out.splitlines())
        assert re.fullmatch(pattern, printed), f"{command}\n{printed}"
    assert {"curves.png", "train.png"} <= {path.name for path in tmp_path.iterdir()}
