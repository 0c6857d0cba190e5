from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mm2pl.run import lock as module
from mm2pl.run.lock import LAST, NAME, RunLock, WorkDirLocked
from mm2pl.utils.process import is_alive, started_at


def facts(folder: Path, name: str = NAME) -> dict:
    return json.loads((folder / name).read_text())


@pytest.fixture
def other():
    """Return what stands in the file of a process that is alive, and is not this one."""
    pid = os.getppid()
    return {
        **module._me(),
        "pid": pid,
        "started": started_at(pid),
        "since": 0.0,
        "position": {"iter": 7},
    }


@pytest.fixture
def dead():
    """Return the id of a process that is gone."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def hold(folder: Path, content: object) -> None:
    text = content if isinstance(content, str) else json.dumps(content)
    (folder / NAME).write_text(text)


def test_a_run_holds_its_folder_and_leaves_what_is_known(tmp_path):
    log_dir = tmp_path / "log"
    log_dir.mkdir()
    lock = RunLock(str(tmp_path))
    assert lock.acquire() is None
    held = facts(tmp_path)
    assert (held["pid"], held["state"], held["position"]) == (os.getpid(), "running", {})
    lock.beat({"epoch": 1, "iter": 5})
    assert facts(tmp_path)["position"] == {"epoch": 1, "iter": 5}
    lock.release("failed", str(log_dir), "ValueError: no", {"epoch": 1, "iter": 9})
    left = facts(log_dir, LAST)
    assert (left["state"], left["error"], left["position"]["iter"]) == (
        "failed",
        "ValueError: no",
        9,
    )
    assert os.listdir(tmp_path) == ["log"]


def test_a_sign_of_life_is_due_now_and_then(tmp_path, monkeypatch):
    lock = RunLock(str(tmp_path))
    assert not lock.is_due()
    lock.acquire()
    assert not lock.is_due()
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 2 * module.BEAT)
    assert lock.is_due()


def test_the_second_run_is_told_who_holds_it(tmp_path, other):
    hold(tmp_path, other)
    with pytest.raises(
        WorkDirLocked,
        match=rf"is in use: process {os.getppid()} on .* since 1970.* \(iteration 7\) trains there → .*--force-lock",
    ):
        RunLock(str(tmp_path)).acquire()
    assert facts(tmp_path) == other


def test_a_link_to_the_folder_is_the_folder(tmp_path, other):
    (tmp_path / "run").mkdir()
    (tmp_path / "link").symlink_to("run")
    hold(tmp_path / "run", other)
    with pytest.raises(WorkDirLocked, match="is in use"):
        RunLock(str(tmp_path / "link")).acquire()


def test_two_runs_of_one_process(tmp_path):
    first, second = RunLock(str(tmp_path)), RunLock(str(tmp_path))
    first.acquire()
    assert second.acquire() is None
    second.release("finished", str(tmp_path))
    assert (tmp_path / NAME).exists()
    first.release("finished", str(tmp_path))
    assert os.listdir(tmp_path) == [LAST]


STALE = {
    "killed": (lambda other, dead: {**other, "pid": dead}, "that process is gone"),
    "pid-given-again": (lambda other, dead: {**other, "started": "5"}, "that process is gone"),
    "damaged": (lambda other, dead: "{", "its file is damaged"),
    "empty": (lambda other, dead: "", "its file is damaged"),
    "zeros": (lambda other, dead: "\0" * 50, "its file is damaged"),
    "foreign": (lambda other, dead: '{"pid": "x"}', "its file is damaged"),
}


@pytest.mark.parametrize(("content", "reason"), STALE.values(), ids=STALE)
def test_a_stale_one_is_taken_over_and_said(tmp_path, other, dead, content, reason):
    hold(tmp_path, content(other, dead))
    assert RunLock(str(tmp_path)).acquire().endswith(f": {reason}")
    assert facts(tmp_path)["pid"] == os.getpid()
    assert os.listdir(tmp_path) == [NAME]


@pytest.mark.parametrize("where", [{"host": "elsewhere"}, {"space": "pid:[1]"}])
def test_a_run_of_another_host_is_judged_by_its_signs_of_life(tmp_path, other, dead, where):
    hold(tmp_path, {**other, "pid": dead, **where})
    with pytest.raises(WorkDirLocked, match="is in use"):
        RunLock(str(tmp_path)).acquire()
    long_ago = time.time() - module.STALE - 60
    os.utime(tmp_path / NAME, (long_ago, long_ago))
    assert "no sign of life for 11 minutes" in RunLock(str(tmp_path)).acquire()


def test_a_job_that_was_started_again_elsewhere(tmp_path, monkeypatch, other):
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    hold(tmp_path, {**other, "host": "elsewhere", "job": ["SLURM_JOB_ID", "17"]})
    with pytest.raises(WorkDirLocked, match="is in use"):
        RunLock(str(tmp_path)).acquire()
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    assert "same job" in RunLock(str(tmp_path)).acquire()


def test_force(tmp_path, other):
    hold(tmp_path, other)
    assert RunLock(str(tmp_path)).acquire(force=True).endswith("--force-lock")
    assert facts(tmp_path)["pid"] == os.getpid()


def test_a_folder_that_was_taken_away_is_left_alone(tmp_path, other):
    lock = RunLock(str(tmp_path))
    lock.acquire()
    hold(tmp_path, other)
    lock.beat({})
    lock.release("finished", str(tmp_path))
    assert facts(tmp_path) == other


def test_a_full_disk_is_one_message(tmp_path, monkeypatch):
    def full(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module.json, "dump", full)
    with pytest.raises(OSError, match=r"cannot be written: No space left on device → make room"):
        RunLock(str(tmp_path)).acquire()
    assert os.listdir(tmp_path) == []


def test_processes():
    assert is_alive(os.getpid())
    assert not is_alive(2**40)
    assert started_at(os.getpid()) == started_at(os.getpid())
    assert started_at(2**40) is None
