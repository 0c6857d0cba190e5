"""The progress bar: on a terminal only, below whole log lines, and cheap."""

from __future__ import annotations

import io
import re
import sys

import pytest
from lightning.pytorch.callbacks import ProgressBar, TQDMProgressBar

from mm2pl.lightning.progress_bar import RunProgressBar, is_terminal, with_progress_bar
from tests.scenarios import Scenario, build

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

SGD = {"optimizer": {"type": "SGD", "lr": 0.05}}
ITERS = {"by_epoch": False, "max_iters": 11, "val_interval": 4}


class Terminal(io.StringIO):
    """A standard output that says it is a terminal."""

    writes = 0

    def isatty(self):
        return True

    def write(self, text):
        self.writes += text.startswith("\r")
        return super().write(text)


@pytest.fixture
def open_terminal(monkeypatch):
    """Return what to call inside a test: pytest replaces the standard output again after the fixtures."""

    def open_it():
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.setenv("COLUMNS", "150")
        monkeypatch.setattr(sys, "stdout", Terminal())
        return sys.stdout

    return open_it


def run(tmp_path, trainer=None, train_cfg=None, seconds=0.0):
    """Train, and return the runner; the bar is refreshed at every batch."""
    book = {k: [] for k in ("loss", "lr", "momentum", "metrics", "place", "validated_at")}
    scenario = Scenario(optim_wrapper=SGD, options={"log_level": "INFO"})
    scenario.train_cfg = train_cfg or scenario.train_cfg
    runner = build("mm2pl", scenario, str(tmp_path), book, trainer=trainer)
    for bar in bars(runner):
        bar.seconds = seconds
    runner.train()
    return runner


def bars(runner):
    return [c for c in runner.trainer.callbacks if isinstance(c, ProgressBar)]


def test_no_bar_without_a_terminal(tmp_path, capsys):
    runner = run(tmp_path)
    assert not bars(runner)
    assert runner.trainer.progress_bar_callback is None
    assert "it/s" not in "".join(capsys.readouterr())


@pytest.mark.parametrize(
    ("train_cfg", "begins"),
    [(None, "Epoch 2/3: "), (ITERS, "Iter: ")],
    ids=["epochs", "iterations"],
)
def test_a_bar_below_whole_log_lines(tmp_path, open_terminal, train_cfg, begins):
    terminal = open_terminal()
    run(tmp_path, train_cfg=train_cfg)
    shown = terminal.getvalue()
    last = [part for part in re.split(r"[\r\n]", shown) if part.startswith(begins)][-1]
    assert re.search(r"\d+/\d+ \[.*it/s, loss=\d\.\d{4}, lr=5\.0000e-02, eta=0:00:00\]", last)
    lines = [line for line in re.split(r"[\r\n]", shown) if " - mmengine - " in line]
    assert any("(train)" in line for line in lines)
    assert all(re.match(r"\d\d/\d\d \d\d:\d\d:\d\d - mmengine", line) for line in lines)
    assert not any("it/s" in line for line in lines)


def test_the_clock_decides_when_to_refresh(tmp_path, open_terminal):
    terminal = open_terminal()
    run(tmp_path, seconds=3600.0, train_cfg={"by_epoch": False, "max_iters": 90})
    rare = terminal.writes
    run(tmp_path, train_cfg={"by_epoch": False, "max_iters": 90})
    assert terminal.writes - rare > rare + 100


def test_the_trainers_flag_wins(tmp_path, open_terminal):
    open_terminal()
    assert not bars(run(tmp_path / "off", {"enable_progress_bar": False}))
    own = TQDMProgressBar(refresh_rate=5)
    assert bars(run(tmp_path / "own", {"callbacks": [own]})) == [own]


def test_a_bar_that_was_asked_for_needs_no_terminal():
    (bar,) = with_progress_bar(True, [])["callbacks"]
    assert isinstance(bar, RunProgressBar)
    assert with_progress_bar(None, []) == {"enable_progress_bar": False, "callbacks": []}


def test_a_dumb_terminal_gets_lines(open_terminal, monkeypatch):
    open_terminal()
    assert is_terminal()
    monkeypatch.setenv("TERM", "dumb")
    assert not is_terminal()
