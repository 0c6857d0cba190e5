"""Training processes that are killed at random moments and resumed end with the weights of one never killed."""

from __future__ import annotations

import contextlib
import hashlib
import multiprocessing
import os
import random
import signal
import socket
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch

from mm2pl.checkpoint.reader import read_checkpoint
from tests.faults.train import main

SCENARIOS = ["epochs", "epochs, workers", "iterations", "iterations, workers"]
PAIRS = [f"two processes, {counts}" for counts in (3, 1, 4)]
POINTS = {
    "before_train_iter": 11,
    "after_train_iter": 11,
    "after_val_iter": 6,
    "after_val_epoch": 2,
    "half": 3,
    "before rename": 3,
    "after rename": 3,
}


SEED = 1000 * int(os.environ.get("MM2PL_FAULTS_SEED", "0"))

#: Everything is imported once, and each process is forked from that: a start takes milliseconds.
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["tests.faults.train"])


def train(
    folder: Path,
    scenario: str,
    kill: Any = None,
    resume: bool = False,
    processes: int = 1,
    after: float = 300,
) -> bool:
    """Train in processes of their own; return whether they came to the end.

    Args:
        folder: Gets ``run``, the end's ``weights.pth`` and what was printed.
        scenario: One of :data:`tests.faults.train.SCENARIOS`.
        kill: At which moment a process kills itself.
        resume: Whether the run goes on where it is.
        processes: How many train together.
        after: Seconds after which all of them are killed.
    """
    codes = exit_codes(folder, scenario, processes, after, kill=kill, resume=resume)
    output = (folder / "output.txt").read_text()
    # On a busy machine the second process has seen that the first is gone before it is killed too.
    seen = -signal.SIGKILL in codes and " - rank 0 " in output and "is gone" in output
    assert set(codes) <= {0, -signal.SIGKILL, *([1] if seen else [])}, output[-3000:]
    return set(codes) == {0}


def exit_codes(
    folder: Path, scenario: str, processes: int, after: float, **more: Any
) -> list[int | None]:
    """Train in processes of their own and return how they ended; those that are left are killed."""
    output = folder / "output.txt"
    output.write_text("")
    task = {
        "scenario": scenario,
        "work_dir": str(folder / "run"),
        "weights": str(folder / "weights.pth"),
        "output": str(output),
        "victims": range(processes),
        "timeout": 300,
        **more,
    }
    port = free_port()
    group = [FORKS.Process(target=main, args=(task, r, processes, port)) for r in range(processes)]
    end = time.monotonic() + after
    for process in group:
        process.start()
    try:
        for process in group:
            process.join(max(0, end - time.monotonic()))
    finally:
        for process in group:
            # A worker that torch 2.13 had just started takes init for its parent and stays for ever.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        for process in group:
            process.kill()  # if it was not yet the leader of its group
            process.join()
    return [process.exitcode for process in group]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return probe.getsockname()[1]


class Whole(NamedTuple):
    """An uninterrupted run: its folder, and how long it took."""

    folder: Path
    seconds: float


@pytest.fixture(scope="session")
def never_killed(tmp_path_factory):
    """Return the uninterrupted run of a scenario, made once."""
    made: dict[str, Whole] = {}
    imports = FORKS.Process(target=os.getpid)  # so that they are done when the time is taken
    imports.start()
    imports.join()

    def run(scenario: str, processes: int = 1) -> Whole:
        if scenario not in made:
            folder, start = tmp_path_factory.mktemp("never_killed"), time.monotonic()
            assert train(folder, scenario, processes=processes)
            made[scenario] = Whole(folder, time.monotonic() - start)
        return made[scenario]

    return run


def moments(seed: int, count: int) -> list[dict[str, Any]]:
    """Draw moments to die at; each is reached within the iterations that are left."""
    rng = random.Random(seed)
    drawn = []
    for point in rng.sample(list(POINTS), count):
        drawn.append({"point": point, "count": rng.randint(1, POINTS[point])})
        if point.startswith(("before_", "after_")):
            drawn[-1]["first"] = rng.random() < 0.5
    return drawn


# Six kills in CI, twenty-four more in `tox -e faults`.
CHAINS = [pytest.param(seed, 2, marks=pytest.mark.slow, id=f"ci-{seed}") for seed in range(3)]
CHAINS += [
    pytest.param(seed, 3, marks=pytest.mark.faults, id=f"more-{seed}") for seed in range(3, 11)
]


@pytest.mark.parametrize(("seed", "count"), CHAINS)
def test_killed_runs_end_with_the_same_weights(tmp_path, never_killed, seed, count):
    scenario = SCENARIOS[seed % len(SCENARIOS)]
    whole = never_killed(scenario).folder
    kills = 0
    for kill in moments(SEED + seed, count):
        kills += not train(tmp_path, scenario, kill, resume=kills > 0)
        assert_intact(tmp_path / "run")
    assert kills, "nothing was killed"
    if not (tmp_path / "weights.pth").exists():
        assert train(tmp_path, scenario, resume=True)
    assert_same_end(tmp_path, whole)


# Six instants in CI, forty more in `tox -e faults`.
INSTANTS = [pytest.param(0, 6, marks=pytest.mark.slow, id="ci")]
INSTANTS += [pytest.param(seed, 5, marks=pytest.mark.faults, id=f"{seed}") for seed in range(1, 9)]


@pytest.mark.parametrize(("seed", "count"), INSTANTS)
def test_two_processes_killed_at_random_instants(tmp_path, never_killed, seed, count):
    rng = random.Random(SEED + seed)
    scenario = PAIRS[seed % len(PAIRS)]
    whole, seconds = never_killed(scenario, processes=2)
    while count > 0:
        folder = tmp_path / str(count)
        foreign = put_foreign_files(folder / "run")
        complete: set[str] = set()
        done = False
        while not done:
            after = rng.uniform(0, seconds) if count > 0 else 300
            done = train(folder, scenario, resume=True, processes=2, after=after)
            count -= not done
            names = {path.name for path in (folder / "run").glob("iter_*.pth")}
            assert names >= complete, "a complete file is gone"
            complete = names
            assert_intact(folder / "run")
        assert_same_end(folder, whole)
        assert_same_files(folder / "run", whole / "run")
        assert digests(folder / "run", foreign) == foreign


# Dead and hung ranks: two of each in CI.
ONE_OF_TWO = [
    pytest.param(seed, hangs, marks=pytest.mark.slow if seed < 2 else pytest.mark.faults)
    for seed in range(6)
    for hangs in (False, True)
]


@pytest.mark.parametrize(("seed", "hangs"), ONE_OF_TWO)
def test_one_of_two_processes_dies_or_hangs(tmp_path, never_killed, seed, hangs):
    rng = random.Random(SEED + seed)
    scenario, victim, timeout = PAIRS[seed % len(PAIRS)], rng.randrange(2), 6
    whole = never_killed(scenario, processes=2).folder
    point = rng.choice(["before_train_iter", "after_train_iter", "after_val_iter"])
    moment = {"point": point, "count": rng.randint(1, 12), "first": True, "hangs": hangs}
    rest = {"resume": True, "kill": moment, "victims": [victim], "timeout": timeout}
    begin = time.monotonic()
    codes = exit_codes(tmp_path, scenario, 2, 120, **rest)
    output = (tmp_path / "output.txt").read_text()
    assert time.monotonic() < begin + timeout + 60, output[-3000:]
    # Nobody was killed but the victim by itself: the one that hangs has ended itself.
    assert codes[victim] == (1 if hangs else -signal.SIGKILL), output[-3000:]
    assert codes[1 - victim] == 1, output[-3000:]
    (line,) = [line for line in output.splitlines() if f" - rank {victim} " in line]
    assert ("has not gone on for" if hangs else "is gone") in line
    assert f"last seen at {point}" in line or not hangs
    assert "Traceback" not in output
    assert train(tmp_path, scenario, resume=True, processes=2)
    assert_same_end(tmp_path, whole)


def put_foreign_files(folder: Path) -> dict[str, str]:
    """Make files that are not the run's; return their digests by name."""
    names = ["notes.txt", "iter_4.pth.bak", ".hidden", "old/iter_2.pth"]
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"somebody's {name}")
    torch.save({"fc.weight": torch.ones(2)}, folder / "pretrained.ckpt")
    return digests(folder, [*names, "pretrained.ckpt"])


def digests(folder: Path, names: Iterable[str]) -> dict[str, str]:
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names}


def assert_same_files(folder: Path, whole: Path) -> None:
    """Each periodic file holds the weights that the uninterrupted run had at that moment."""
    for path in whole.glob("iter_*.pth"):
        mine, other = (torch.load(f, weights_only=True) for f in (folder / path.name, path))
        for key, value in other["state_dict"].items():
            assert torch.equal(mine["state_dict"][key], value), (path.name, key)


def assert_intact(folder: Path) -> None:
    """Every file that carries a checkpoint's name can be read, and the last one is named."""
    files = list(folder.glob("*.pth"))
    for file in files:
        read_checkpoint(file)
    marker = folder / "last_checkpoint"
    # The marker follows the file, so after the very first file it may be missing.
    assert Path(marker.read_text()).exists() if marker.exists() else len(files) <= 1


def assert_same_end(folder: Path, whole: Path) -> None:
    mine, other = (torch.load(f / "weights.pth", weights_only=True) for f in (folder, whole))
    assert mine.keys() == other.keys()
    for key, value in other.items():
        assert torch.equal(mine[key], value), key
    # A kill may leave one file too many, never one too few.
    names, expected = ({p.name for p in (f / "run").glob("*.pth")} for f in (folder, whole))
    assert names >= expected
    last = [Path((f / "run" / "last_checkpoint").read_text()).name for f in (folder, whole)]
    assert last[0] == last[1]
    finals = [read_checkpoint(f / "run" / last[0]) for f in (folder, whole)]
    assert finals[0]["meta"]["iter"] == finals[1]["meta"]["iter"]
    scores = [f["message_hub"]["runtime_info"].get("best_score") for f in finals]
    assert scores[0] == scores[1]
