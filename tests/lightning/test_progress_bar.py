"""The progress bar: on a terminal only, below whole log lines, and cheap."""

from __future__ import annotations

import io
import logging
import re
import sys
from types import SimpleNamespace

import pytest
from lightning.pytorch.callbacks import ProgressBar, TQDMProgressBar

from mm2pl.lightning import progress_bar
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


def of_training(shown, begins):
    return [part for part in re.split(r"[\r\n]", shown) if part.startswith(begins)]


@pytest.mark.parametrize(
    ("train_cfg", "begins"),
    [(None, "Epoch"), (ITERS, "Iter")],
    ids=["epochs", "iterations"],
)
def test_a_validation_does_not_foretell_the_end(
    tmp_path, open_terminal, monkeypatch, train_cfg, begins
):
    monkeypatch.setattr(progress_bar, "clock", lambda seconds: f"{seconds:.9f}")
    terminal = open_terminal()
    run(tmp_path, train_cfg=train_cfg)
    shown = of_training(terminal.getvalue(), begins)
    etas = [float(found[1]) for part in shown if (found := re.search(r"eta=([\d.]+)", part))]
    before_the_end = [eta for eta in etas if eta == 0.0]
    # The hooks foretell 0 after the last batch only, and the validation after it shows that.
    assert len(etas) > 8
    assert all(etas[: -len(before_the_end) or None])


def test_a_disabled_bar_says_nothing(tmp_path, open_terminal, monkeypatch):
    # As Lightning has it on every process but the first.
    monkeypatch.setattr(RunProgressBar, "setup", lambda bar, trainer, *_, **__: hold(bar, trainer))

    def hold(bar, trainer):
        TQDMProgressBar.setup(bar, trainer, None, "fit")
        bar.disable()

    terminal = open_terminal()
    runner = run(tmp_path)
    assert (runner.epoch, bars(runner)[0].is_enabled) == (3, False)
    assert "it/s" not in terminal.getvalue()


@pytest.mark.parametrize("columns", [60, 80, 100, 200])
def test_the_bar_fits_the_terminal(tmp_path, open_terminal, monkeypatch, columns):
    terminal = open_terminal()
    monkeypatch.setenv("COLUMNS", str(columns))
    run(tmp_path)
    last = of_training(terminal.getvalue(), "Epoch 3/3")[-1]
    assert last.endswith("]")
    assert len(last) <= columns
    assert ("eta=0:00:00" in last, "loss=" in last) == (True, columns >= 80)
    assert len(last.split("|")[1]) >= 6
    assert ("lr=" in last, "<" in last) == (columns > 80, columns > 110)


def screen(text):
    """Return what a terminal shows of these characters."""
    rows, row, column = [""], 0, 0
    for part in re.findall(r"\x1b\[A|\r|\n|[^\r\n\x1b]+|\x1b\[\d*m", text):
        if part == "\x1b[A":
            row -= 1
        elif part == "\r":
            column = 0
        elif part == "\n":
            row, column = row + 1, 0
            rows += [""] * (row + 1 - len(rows))
        elif not part.startswith("\x1b"):
            line = rows[row].ljust(column)
            rows[row] = line[:column] + part + line[column + len(part) :]
            column += len(part)
    return [line.rstrip() for line in rows]


def test_the_bar_is_left_once(tmp_path, open_terminal):
    terminal = open_terminal()
    handler = logging.StreamHandler(terminal)
    logger = logging.getLogger("lightning.pytorch.utilities.rank_zero")
    logger.addHandler(handler)
    try:
        run(tmp_path)
    finally:
        logger.removeHandler(handler)
    lines = screen(terminal.getvalue())
    assert "`Trainer.fit` stopped: `max_epochs=3` reached." in lines
    assert sum("Epoch 3/3" in line for line in lines) == 1


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


def test_a_notebook_has_lightnings_own_bar(monkeypatch):
    def shell():
        return SimpleNamespace(config={"IPKernelApp": {}})

    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=shell))
    assert with_progress_bar(None, []) == {"enable_progress_bar": True, "callbacks": []}
    assert with_progress_bar(False, []) == {"enable_progress_bar": False, "callbacks": []}
