"""Each way of starting several processes, by each entrance: what ``tests/README.md`` declares is what happens.

A few cells are ordinary tests; ``tox -e matrix`` runs all of them.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from mm2pl.cli.main import main
from tests.entrances.notebook import NOTEBOOK
from tests.processes import ROOT, TORCHRUN
from tests.versions.project import CONFIG, bare

README = Path(__file__).parents[1] / "README.md"
DOOR = str(Path(__file__).parent / "door.py")

FORK = "a strategy that forks, in processes that"
INTERACTIVE = "is not compatible with an interactive"
REFUSALS: dict[str, str] = {
    "ddp": INTERACTIVE,
    "ddp_find_unused_parameters_true": INTERACTIVE,
    "ddp_spawn": f"a strategy that starts processes by 'spawn'|{INTERACTIVE}",
    "ddp_fork": FORK,
    "ddp_notebook": FORK,
    "FSDP2": INTERACTIVE,
    "fsdp": "requires a GPU accelerator",
    "deepspeed": "you must have DeepSpeed installed",
    "single_device": "it trains in one process",
}
"""What is said where the table has "refused"; in a notebook Lightning says which strategies there are."""


def table() -> dict[tuple[str, str], str]:
    """Read the table: strategy and entrance → what is declared."""
    section = README.read_text().partition("## Entrances")[2].partition("\n## ")[0]
    rows = [
        [cell.strip(" `") for cell in line.strip("|").split("|")]
        for line in section.splitlines()
        if line.startswith("|")
    ]
    names, _, *rest = rows
    return {
        (row[0], name): each for row in rest for name, each in zip(names[1:], row[1:], strict=True)
    }


TABLE = table()
DECLARED = {"equal": {"batch": 8, "processes": 2}, "one process": {"batch": 4}}
"""What is trained on, where it is."""
ORDINARY = [
    ("ddp_fork", "mm2pl fit"),
    ("ddp_spawn", "mm2pl fit"),
    ("auto", "notebook"),
    ("auto", "SLURM"),
    ("ddp_notebook", "own Trainer"),
]
"""What the other tests do not start already."""


def words(strategy: str) -> list[str]:
    if strategy == "FSDP2":  # a name of ours, in configs
        return ["--cfg-options", "strategy.type=FSDP2", "train_dataloader.batch_size=4", *GLOO]
    given = [] if strategy == "auto" else ["--trainer.strategy", strategy]
    return [*given, "--cfg-options", "train_dataloader.batch_size=4", *GLOO]


GLOO = ("env_cfg.dist_cfg.backend=gloo",)
FIT = ("-m", "mm2pl", "fit", "config.py")
TWO = ("--trainer.devices", "2", "--trainer.accelerator", "cpu")
ENTRANCES: dict[str, Any] = {
    "mm2pl fit": lambda strategy: (*FIT, *TWO, *words(strategy)),
    "script": lambda strategy: (DOOR, "script", strategy),
    "notebook": lambda strategy: (NOTEBOOK, strategy),
    "own Trainer": lambda strategy: (DOOR, "own", strategy),
    "LightningCLI": lambda strategy: (DOOR, "cli", strategy),
    "torchrun": lambda strategy: (*TORCHRUN, *FIT, *words(strategy)),
    "SLURM": lambda strategy: (*FIT, *words(strategy)),
}


def tasks(entrance: str) -> list[dict[str, str]]:
    """Return the variables of each process that is to be started; for SLURM, what `srun -n 2` alone sets."""
    if entrance != "SLURM":
        return [{}]
    common = {
        **{"SLURM_JOB_ID": "1", "SLURM_JOB_NAME": "train", "SLURM_NTASKS": "2"},
        **{"SLURM_STEP_NUM_TASKS": "2", "SLURM_NNODES": "1", "SLURM_NODEID": "0"},
        **{"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(20000 + os.getpid() % 10000)},
    }
    return [{**common, "SLURM_PROCID": rank, "SLURM_LOCALID": rank} for rank in "01"]


def run(folder: Path, strategy: str, entrance: str) -> tuple[int, str]:
    """Train by an entrance to the end; return the exit status and what all processes have written."""
    base = {**os.environ, "OMP_NUM_THREADS": "1"}
    base["PYTHONPATH"] = os.pathsep.join([ROOT, os.environ.get("PYTHONPATH", "")])
    started = [
        subprocess.Popen(
            [sys.executable, *ENTRANCES[entrance](strategy)],
            cwd=folder,
            env={**base, **more},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for more in tasks(entrance)
    ]
    try:
        said = [process.communicate(timeout=300)[0] for process in started]
    finally:
        for process in started:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
    return max(abs(process.returncode) for process in started), "".join(said)


def prepare(folder: Path, entrance: str) -> None:
    text = CONFIG
    if entrance not in ("mm2pl fit", "torchrun", "SLURM"):
        text = text.replace("batch_size=8", "batch_size=4")
    (folder / "config.py").write_text(text)
    if entrance == "LightningCLI":
        with contextlib.chdir(folder):
            assert main(["convert", "config.py", "-o", "run.yaml"]) in (None, 0)


def check(folder: Path, strategy: str, entrance: str) -> None:
    prepare(folder, entrance)
    status, said = run(folder, strategy, entrance)
    written = folder / "run" / "epoch_2.pth"
    declared = TABLE[strategy, entrance]
    if declared != "refused":
        assert status == 0, said[-3000:]
        # A strategy that finds weights by name writes the module's own, as Lightning does.
        stored = torch.load(written, weights_only=False)["state_dict"]
        found = {name.removeprefix("model."): value for name, value in stored.items()}
        shares = DECLARED[declared]
        for name, value in bare(2, **shares).items():
            assert torch.equal(found[name], value), (name, found[name], value)
        length = 40 // shares["batch"]
        assert (
            said.count(f"Epoch(train) [2][{length}/{length}]") == 1
        )  # one process of the two logs
        return
    assert status != 0
    message = REFUSALS[strategy]
    assert re.search(message, said), said[-3000:]
    assert "Epoch(train)" not in said
    assert not list(folder.glob("run/*.pth"))


def cells(names: Any) -> list[Any]:
    return [pytest.param(*cell, id=", ".join(cell)) for cell in names]


@pytest.mark.slow
@pytest.mark.parametrize(("strategy", "entrance"), cells(ORDINARY))
def test_an_entrance(tmp_path: Path, strategy: str, entrance: str) -> None:
    check(tmp_path, strategy, entrance)


ALIKE = {
    "ddp_find_unused_parameters_true": ("mm2pl fit", "notebook"),  # as ddp
    "fsdp": ("mm2pl fit", "own Trainer"),  # Lightning's refusal, wherever it is made
    "deepspeed": ("mm2pl fit", "own Trainer"),
    "ddp_fork": ("mm2pl fit", "SLURM"),  # Lightning 2.6's other name of ddp_notebook
    "single_device": ("mm2pl fit", "own Trainer"),  # refused where options meet
}
"""Rows where two cells stand for the others, unless MM2PL_MATRIX is set."""


def worth_a_run(cell: tuple[str, str]) -> bool:
    return "MM2PL_MATRIX" in os.environ or cell[1] in ALIKE.get(cell[0], [cell[1]])


@pytest.mark.matrix
@pytest.mark.parametrize(
    ("strategy", "entrance"), cells(c for c in TABLE if c not in ORDINARY and worth_a_run(c))
)
def test_every_other_entrance(tmp_path: Path, strategy: str, entrance: str) -> None:
    check(tmp_path, strategy, entrance)
