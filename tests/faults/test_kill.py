"""Training processes that are killed at random moments and resumed end with the weights of one never killed."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from mm2pl.checkpoint.reader import read_checkpoint

SCENARIOS = ["epochs", "epochs, workers", "iterations", "iterations, workers"]
POINTS = {
    "before_train_iter": 11,
    "after_train_iter": 11,
    "after_val_iter": 6,
    "after_val_epoch": 2,
    "half": 3,
    "before rename": 3,
    "after rename": 3,
}


def train(folder: Path, scenario: str, kill: Any = None, resume: bool = False) -> int:
    """Train in a process of its own; return its exit status."""
    task = {
        "scenario": scenario,
        "work_dir": str(folder / "run"),
        "weights": str(folder / "weights.pth"),
        "resume": resume,
        "kill": kill,
    }
    script = str(Path(__file__).with_name("train.py"))
    output = folder / "output.txt"
    with output.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, script, json.dumps(task)],
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
        try:
            status = process.wait(timeout=300)
        finally:
            # A worker that torch 2.13 had just started takes init for its parent and stays for ever.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    assert status in (0, -signal.SIGKILL), output.read_text()[-3000:]
    return status


@pytest.fixture(scope="session")
def never_killed(tmp_path_factory):
    """Return the folder of an uninterrupted run of a scenario, made once."""
    made: dict[str, Path] = {}

    def run(scenario: str) -> Path:
        if scenario not in made:
            made[scenario] = tmp_path_factory.mktemp("never_killed")
            assert train(made[scenario], scenario) == 0
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
    whole = never_killed(scenario)
    kills = 0
    for kill in moments(seed, count):
        kills += train(tmp_path, scenario, kill, resume=kills > 0) != 0
        assert_intact(tmp_path / "run")
    assert kills, "nothing was killed"
    if not (tmp_path / "weights.pth").exists():
        assert train(tmp_path, scenario, resume=True) == 0
    assert_same_end(tmp_path, whole)


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
