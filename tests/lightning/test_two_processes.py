"""Runs with two real processes over gloo: who writes, how they end, and what their launchers tell them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from mm2pl.checkpoint import kinds
from tests.lightning.processes import open_windows
from tests.processes import TORCHRUN, trained

PROJECT = Path(__file__).parent / "processes"
FIT = ("-m", "mm2pl", "fit", "two_processes_config.py")

pytestmark = pytest.mark.slow


def fit(folder: Path, launcher: str, *options: str, **happens: str) -> subprocess.CompletedProcess:
    """Run ``mm2pl fit`` with two processes to its end; a hang fails the test."""
    for file in PROJECT.glob("two_processes_*.py"):
        shutil.copy(file, folder)
    if launcher == "torchrun":
        arguments = (*TORCHRUN, *FIT, "--launcher", "pytorch")
    else:
        arguments = (*FIT, "--trainer.devices", "2", "--trainer.accelerator", "cpu")
    return subprocess.run(
        [sys.executable, *arguments, *options],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(folder), **happens},
        capture_output=True,
        text=True,
        timeout=180,
    )


LAUNCHERS = pytest.mark.parametrize("launcher", ["torchrun", "devices"])


@LAUNCHERS
def test_only_the_first_process_writes(tmp_path, launcher) -> None:
    done = fit(tmp_path, launcher)
    assert done.returncode == 0, done.stderr[-3000:]
    noted = tmp_path / "second.txt"
    events = noted.read_text().splitlines() if noted.exists() else []
    assert [event for event in events if not event.startswith("os.mkdir")] == []
    work = tmp_path / "runs" / "work"
    names = {path.name for path in work.iterdir() if path.is_file()}
    assert names == {
        "epoch_1.pth",
        "epoch_2.pth",
        "last_checkpoint",
        "two_processes_config.py",
    }
    assert len(list(work.glob("*/"))) == 1
    assert len(list(work.glob("*/*.log"))) == 1
    (scalars,) = work.glob("*/vis_data/scalars.json")
    lines = [json.loads(line) for line in scalars.read_text().splitlines()]
    # Four iterations a line, eight iterations an epoch for each process; metrics over both halves.
    assert [line["iter"] for line in lines if "loss" in line] == [4, 8, 12, 16]
    assert [line["samples"] for line in lines if "samples" in line] == [64, 64]
    assert done.stdout.count("Saving checkpoint at 2 epochs") == 1
    assert "sync_dist" not in done.stderr


def test_processes_that_lightning_starts_share_a_random_seed(tmp_path) -> None:
    done = fit(tmp_path, "devices", "--cfg-options", "randomness.seed=None", HAPPENS="look")
    assert done.returncode == 0, done.stderr[-3000:]
    looks = [json.loads((tmp_path / f"seen{rank}.json").read_text()) for rank in (0, 1)]
    assert looks[0]["seed"] == looks[1]["seed"]
    assert sorted(looks[0]["points"] + looks[1]["points"]) == list(range(64))


def test_processes_that_lightning_starts_differ_where_asked(tmp_path) -> None:
    done = fit(
        tmp_path, "devices", "--cfg-options", "randomness.diff_rank_seed=True", HAPPENS="look"
    )
    assert done.returncode == 0, done.stderr[-3000:]
    looks = [json.loads((tmp_path / f"seen{rank}.json").read_text()) for rank in (0, 1)]
    assert [look["seed"] for look in looks] == [1, 2]
    assert sorted(looks[0]["points"] + looks[1]["points"]) == list(range(64))


@LAUNCHERS
@pytest.mark.parametrize("rank", ["0", "1"])
def test_a_failure_ends_both(tmp_path, launcher, rank) -> None:
    done = fit(tmp_path, launcher, HAPPENS="failure", HAPPENS_TO=rank)
    assert done.returncode == 1
    message = f"RuntimeError: planned failure on rank {rank}"
    assert done.stderr.count(message) == 1
    assert done.stderr.partition("ChildFailedError")[0].count("Error: ") == 1
    assert not (tmp_path / "runs" / "work" / "epoch_1.pth").exists()


@pytest.mark.parametrize("happens", ["failure", "mistake"])
def test_of_two_failures_one_is_told(tmp_path, happens) -> None:
    done = fit(tmp_path, "torchrun", HAPPENS=happens, HAPPENS_TO="01")
    assert done.returncode == 1
    assert done.stderr.partition("ChildFailedError")[0].count("Error: ") == 1


@pytest.mark.parametrize("ranks", ["0", "1", "01"], ids=["first", "second", "both"])
def test_sigterm_ends_both_after_the_same_batch(tmp_path, ranks) -> None:
    done = fit(tmp_path, "torchrun", HAPPENS="sigterm", HAPPENS_TO=ranks)
    assert done.returncode != 0
    assert "exitcode: 143" in done.stderr or "exitcode  : 143" in done.stderr
    # The third iteration's signal is spoken of after the validation of the first epoch.
    (said,) = [line for line in done.stdout.splitlines() if "continue with --resume" in line]
    assert "Stopped in epoch 2 after 8 of 16 iterations" in said
    assert "Error: " not in done.stderr.partition("ChildFailedError")[0]
    assert (tmp_path / "runs" / "work" / "epoch_1.pth").exists()
    assert not (tmp_path / "runs" / "work" / "epoch_2.pth").exists()


WRAPPERS: dict[str, Any] = {
    "find-unused": ("torchrun", ["find_unused_parameters=True"]),
    "static-graph": ("torchrun", ["model_wrapper_cfg.static_graph=True"]),
    "broadcast": ("torchrun", ["model_wrapper_cfg.broadcast_buffers=True"]),
    # the backend that released configs ask for
    "devices": ("devices", ["env_cfg.dist_cfg.backend=nccl", "find_unused_parameters=True"]),
}


@pytest.mark.parametrize(("launcher", "options"), WRAPPERS.values(), ids=WRAPPERS)
def test_a_wrappers_arguments_reach_it(tmp_path, launcher, options) -> None:
    done = fit(tmp_path, launcher, "--cfg-options", *options, HAPPENS="wrapper")
    assert done.returncode == 0, done.stderr[-3000:]
    key, _, value = options[-1].rpartition(".")[2].partition("=")
    wrapper = json.loads((tmp_path / "wrapper.json").read_text())
    assert wrapper[key] == json.loads(value.lower())


def run_twice(script: str, folder: Path) -> None:
    """Run a script of ``processes/`` as two processes, to its end."""
    trained(PROJECT / script, folder)


def test_each_process_resumes_its_own_buffers(tmp_path) -> None:
    """A checkpoint's weights are the first process's; without broadcasting, the second has other running means."""
    run_twice("resumed_buffers.py", tmp_path)
    means = []
    for rank in (0, 1):
        whole, resumed = torch.load(tmp_path / f"{rank}.pt")
        assert resumed["metrics"] == whole["metrics"]
        for part in ("model", "average"):
            for name, value in whole[part].items():
                assert torch.equal(resumed[part][name], value), (rank, part, name)
        means.append(whole["model"]["net.1.running_mean"])
    assert not torch.equal(*means)


WINDOWS = [f"{kind}, {mode}" for kind in ("config", "trainer") for mode in ("manual", "automatic")]


@pytest.fixture(scope="module")
def windows(tmp_path_factory) -> Path:
    """Runs of two processes that accumulate, each also resumed from inside a window."""
    folder = tmp_path_factory.mktemp("windows")
    run_twice("open_windows.py", folder)
    return folder


@pytest.mark.parametrize("name", WINDOWS)
def test_each_process_resumes_its_own_window(windows, name) -> None:
    first, second = torch.load(windows / name / "iter_4.pth")["optimizer"]["accumulation"]["grads"]
    assert any(not torch.equal(second[each], grad) for each, grad in first.items())
    for rank in (0, 1):
        runs = torch.load(windows / name / f"{rank}.pt")
        (losses, weights), (again, resumed) = runs["whole"], runs["resumed"]
        assert again == losses[-len(again) :], rank
        assert 0 < len(again) == len(losses) - 4
        assert all(torch.equal(resumed[key], value) for key, value in weights.items()), rank


def test_every_entry_of_a_file_has_a_declared_kind(windows) -> None:
    checkpoint = torch.load(windows / WINDOWS[0] / "iter_4.pth")
    # The other two are the writer's own form of arrays and histories.
    assert checkpoint["mm2pl"].keys() - {"arrays", "histories"} == kinds.RUN.keys()
    assert checkpoint["optimizer"].keys() <= kinds.OPTIMIZER.keys()
    assert checkpoint["optimizer"]["accumulation"].keys() == kinds.OPTIMIZER["accumulation"].keys()


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_one_process_goes_on_for_two_and_says_so(windows, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(open_windows, "LOG_LEVEL", "WARNING")
    file = str(windows / WINDOWS[0] / "iter_4.pth")
    losses, _ = open_windows.of_config(tmp_path, file, alone=True, by_lightning=False)
    assert len(losses) == 14
    (log,) = tmp_path.glob("*/*.log")
    assert log.read_text().count("The checkpoint is of 2 and this run of 1 processes: ") == 1
    assert log.read_text().count("the gradients of 2 processes, and 1 go on: with their mean") == 1
