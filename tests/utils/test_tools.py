"""Versions, packages, timers and progress bars."""

from __future__ import annotations

import io
import math
import os
import re
import subprocess
import sys
import time
from concurrent.futures.process import BrokenProcessPool
from importlib import metadata
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from mm2pl import utils
from mm2pl.utils import package_utils, progressbar, timer


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("1", (1, 0, 0, 0, 0, 0)),
        ("1.2.3", (1, 2, 3, 0, 0, 0)),
        ("1.2.3.4.5", (1, 2, 3, 4, 0, 0)),
        ("1.2.3rc2", (1, 2, 3, 0, -1, 2)),
        ("1.2.3b1", (1, 2, 3, 0, -2, 1)),
        ("1.2.3a0", (1, 2, 3, 0, -3, 0)),
        ("1.2.3.dev4", (1, 2, 3, 0, -4, 0)),
        ("1.2.3.post5", (1, 2, 3, 0, 1, 5)),
        ("2.13.0+cpu", (2, 13, 0, 0, 0, 0)),
        ("1.2.3rc2.post1", (1, 2, 3, 0, -1, 2)),
    ],
)
def test_digit_version(version: str, expected: tuple) -> None:
    assert utils.digit_version(version) == expected


@pytest.mark.parametrize("version", ["a.b", "1.0parrots", ""])
def test_no_version(version: str) -> None:
    with pytest.raises(
        AssertionError, match=r"failed to parse version|is not a version of PyTorch"
    ):
        utils.digit_version(version)


def test_git_hash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert utils.get_git_hash() == ""
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "x"], check=True)
    full = utils.get_git_hash()
    assert re.fullmatch("[0-9a-f]{40}", full)
    assert utils.get_git_hash(digits=7) == full[:7]
    with pytest.raises(TypeError, match="digits must be None or an integer"):
        utils.get_git_hash(digits="7")  # type: ignore[arg-type]
    monkeypatch.setenv("PATH", "")
    assert utils.get_git_hash("none") == "none"


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """``toy-full`` installs the module ``toy``; ``lone`` is a module of no package."""
    (tmp_path / "toy").mkdir()
    (tmp_path / "toy" / "__init__.py").write_text("")
    info = tmp_path / "toy_full-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toy-full\nVersion: 1.0\n")
    (info / "RECORD").write_text("toy/__init__.py,,\ntoy_full-1.0.dist-info/METADATA,,\n")
    (tmp_path / "lone").mkdir()
    (tmp_path / "lone" / "__init__.py").write_text("")
    (tmp_path / "space").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("package", "expected"),
    [
        ("toy-full", True),
        ("toy", True),
        ("lone", True),
        ("space", False),  # a folder on the path is no package
        ("no-such-package", False),
        ("torch", True),
        ("", False),
    ],
)
def test_is_installed(installed: Path, package: str, expected: bool) -> None:
    assert utils.is_installed(package) is expected


def test_installed_path(installed: Path) -> None:
    assert utils.get_installed_path("toy-full") == str(installed / "toy")
    assert utils.get_installed_path("lone") == str(installed / "lone")
    assert package_utils.package2module("toy-full") == "toy"
    (installed / "toy_full-1.0.dist-info" / "top_level.txt").write_text("lone\ntoy\n")
    assert package_utils.package2module("toy-full") == "lone"
    with pytest.raises(RuntimeError, match="space is a namespace package"):
        utils.get_installed_path("space")
    with pytest.raises(metadata.PackageNotFoundError, match="no-such-package"):
        utils.get_installed_path("no-such-package")


def test_installed_path_of_what_is_served_under_another_name(monkeypatch, tmp_path: Path) -> None:
    served = ModuleType("served")
    served.__spec__ = ModuleSpec("served", None)
    served.__file__ = str(tmp_path / "__init__.py")
    monkeypatch.setitem(sys.modules, "served", served)
    assert utils.get_installed_path("served") == str(tmp_path)


def test_install_package(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[list[str]] = []
    monkeypatch.setattr(subprocess, "check_call", called.append)
    utils.install_package("torch")
    utils.install_package("no-such-package")
    assert called == [[sys.executable, "-m", "pip", "install", "no-such-package"]]


def test_call_command() -> None:
    utils.call_command([sys.executable, "-c", ""])
    with pytest.raises(subprocess.CalledProcessError, match="exit status 3"):
        utils.call_command([sys.executable, "-c", "raise SystemExit(3)"])


def test_timer(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(timer, "time", lambda: now[0])
    clock = utils.Timer()
    now[0] = 1.0
    assert clock.since_start() == 1.0
    now[0] = 3.0
    assert clock.since_last_check() == 2.0
    assert clock.since_start() == 3.0
    with utils.Timer(print_tmpl="took {:.1f}s"):
        now[0] = 4.5
    assert capsys.readouterr().out == "took 1.5s\n"
    idle = utils.Timer(start=False)
    assert not idle.is_running
    for check in (idle.since_start, idle.since_last_check):
        with pytest.raises(utils.TimerError, match="timer is not running"):
            check()


def test_check_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timer, "_TIMERS", {})
    assert utils.check_time("a") == 0
    time.sleep(0.01)
    assert 0.01 <= utils.check_time("a") < 1


def test_the_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timer, "time", iter([0.0, 1.0, 4.0]).__next__)
    monkeypatch.setenv("COLUMNS", "100")
    out = io.StringIO()
    bar = utils.ProgressBar(4, bar_width=8, file=out)
    assert out.getvalue() == "[        ] 0/4, elapsed: 0s, ETA:"
    bar.update()
    assert out.getvalue().split("\r")[1] == "[>>      ] 1/4, 1.0 task/s, elapsed: 1s, ETA:     3s"
    bar.update(3)
    assert out.getvalue().split("\r")[2] == "[>>>>>>>>] 4/4, 1.0 task/s, elapsed: 4s, ETA:     0s"
    with pytest.raises(AssertionError, match="num_tasks must be positive, but got 0"):
        bar.update(0)


def test_a_bar_without_a_length(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timer, "time", iter([0.0, 2.0]).__next__)
    out = io.StringIO()
    utils.ProgressBar(file=out).update()
    assert out.getvalue() == ("completed: 0, elapsed: 0scompleted: 1, elapsed: 2s, 0.5 tasks/s")


def add(x: int, y: int = 1) -> int:
    return x + y


@pytest.mark.parametrize("tasks", [[1, 2, 3], (iter([1, 2, 3]), 3)], ids=["list", "iterator"])
def test_track_progress(tasks: Any) -> None:
    out = io.StringIO()
    assert utils.track_progress(add, tasks, bar_width=3, file=out, y=2) == [3, 4, 5]
    assert out.getvalue().endswith("s\n")
    assert "3/3" in out.getvalue()


def test_track_iter_progress(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(utils.track_iter_progress(["a", "b"])) == ["a", "b"]
    assert "2/2" in capsys.readouterr().out


def test_init_pool() -> None:
    with progressbar.init_pool(1, math.sqrt, (4,)) as pool:
        assert pool.starmap(divmod, [(7, 2)]) == [(3, 1)]
        pool.close()
        pool.join()
    with pytest.raises(TypeError, match='"initargs" must be a tuple'):
        progressbar.init_pool(1, math.sqrt, [4])  # type: ignore[arg-type]


@pytest.mark.parametrize("options", [{}, {"skip_first": True}, {"keep_order": False}])
def test_track_parallel_progress(options: dict[str, Any]) -> None:
    out = io.StringIO()
    got = utils.track_parallel_progress(abs, [-1, -2, -3, -4, -5], 2, file=out, **options)
    assert sorted(got) == [1, 2, 3, 4, 5]
    assert got == sorted(got) or options == {"keep_order": False}
    assert ("3/3" if "skip_first" in options else "5/5") in out.getvalue()


@pytest.mark.parametrize("nproc", [1, 2])
def test_track_progress_rich(nproc: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert utils.track_progress_rich(pow, [(2, 3), [3, 2]], nproc=nproc) == [8, 9]
    assert utils.track_progress_rich(int, task_num=2) == [0, 0]
    assert utils.track_progress_rich(abs, iter([-1]), task_num=1) == [1]
    assert "Processing" in capsys.readouterr().out


def test_a_process_that_dies_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(BrokenProcessPool):
        utils.track_progress_rich(os._exit, [1, 1], nproc=2)


def test_without_rich_the_bar_is_plain(capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mm2pl.utils.progressbar_rich.find_spec", lambda name: None)
    assert utils.track_progress_rich(abs, [-1, -2]) == [1, 2]
    assert "2/2" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (
            lambda: utils.track_progress(abs, (1, 2)),
            AssertionError,
            r"must be \(iterable, length\)",
        ),
        (lambda: utils.track_progress(abs, iter([1])), TypeError, '"tasks" must be a tuple object'),
        (
            lambda: utils.track_parallel_progress(abs, [1], 1, abs, [1]),
            TypeError,
            '"initargs" must be a tuple',
        ),
        (lambda: utils.track_progress_rich(1), TypeError, "func must be a callable object"),
        (lambda: utils.track_progress_rich(abs, 1), TypeError, "tasks must be an iterable object"),
        (lambda: utils.track_progress_rich(abs), ValueError, "task_num must be set"),
        (lambda: utils.track_progress_rich(abs, [1], 2), ValueError, "task_num 2 does not match"),
        (lambda: utils.track_progress_rich(abs, [1], nproc=0), ValueError, "a positive number"),
    ],
)
def test_wrong_tracking(call: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        call()
