"""Whole processes: what imports, the command line's help and a start-up to the first iteration take."""

from __future__ import annotations

import atexit
import functools
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.benchmarks.measure import Run, Sample, Scenario
from tests.benchmarks.parts import LABELS, PACKAGES

FILES = Path(__file__).parent / "startup"
"""The same project for each driver. All leave the process in their first iteration."""


LAUNCHER = """
import json, os, subprocess, sys, time
start = time.perf_counter()
child = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
_, status, usage = os.wait4(child.pid, 0)
wall, child.returncode = time.perf_counter() - start, os.waitstatus_to_exitcode(status)
print(json.dumps([child.returncode, wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1e3]))
"""
"""Starts a process from a small one: a child's peak is at least the resident size of what forked it."""


def process(arguments: tuple[str, ...], folder: Path | None = None, exit_code: int = 0) -> Sample:
    """Run Python to its end; CPU time and the resident peak are those of that process alone.

    Raises:
        RuntimeError: If it failed.
    """
    root = Path(__file__).parents[2]
    # MMEngine 0.10.7 cannot read its own checkpoints on PyTorch 2.6 or newer without this.
    more = {"PYTHONPATH": str(root), "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1"}
    run = subprocess.run(
        [sys.executable, "-c", LAUNCHER, sys.executable, *arguments],
        cwd=folder,
        env={**os.environ, **more},
        capture_output=True,
        text=True,
        check=True,
    )
    code, wall, cpu, memory = json.loads(run.stdout)
    if code != exit_code:
        raise RuntimeError(f"{arguments} → {code}\n{run.stderr}")
    return Sample(wall=wall, cpu=cpu, memory=memory)


def imports() -> dict[str, Run]:
    """Import the packages, and what a training script imports from them."""
    statements = ["torch", "lightning.pytorch"]
    for package in PACKAGES:
        statements += [package, f"{package}.model", f"{package}.runner.runner"]
    rows = {f"import {name}": ("-c", f"import {name}") for name in statements}
    return {name: functools.partial(process, arguments) for name, arguments in rows.items()}


def command_line() -> dict[str, Run]:
    """Ask for help."""
    rows = {
        "python -c pass": ("-c", "pass"),
        "mm2pl --help": ("-m", "mm2pl", "--help"),
        "mm2pl explain CONFIG": ("-m", "mm2pl", "explain", str(FILES / "config.py")),
        "mm2pl fit --help": ("-m", "mm2pl", "fit", "--help"),
    }
    return {name: functools.partial(process, arguments) for name, arguments in rows.items()}


@functools.cache
def project(package: str) -> Path:
    """Return a folder with the project, written for a package; it goes when this process ends."""
    folder = tempfile.TemporaryDirectory()
    atexit.register(folder.cleanup)
    for file in FILES.glob("*.py"):
        text = file.read_text().replace("mm2pl", package)
        Path(folder.name, file.name).write_text(text)
    return Path(folder.name)


LEAVES = 7
"""Exit code of a process that has reached its first iteration."""


def start(package: str, *arguments: str) -> Sample:
    """Run one of the project's files to its first iteration."""
    return process(arguments, project(package), exit_code=LEAVES)


def first_iteration() -> dict[str, Run]:
    """Start to train."""
    rows: dict[str, Run] = {
        "bare PyTorch loop": functools.partial(start, "mm2pl", "bare.py"),
        "Lightning by hand": functools.partial(start, "mm2pl", "by_hand.py"),
    }
    for package in PACKAGES:
        label = LABELS[package]
        rows[f"{label}, Runner(…)"] = functools.partial(start, package, "script.py")
        rows[f"{label}, Runner.from_cfg"] = functools.partial(start, package, "train.py")
    rows["mm2pl fit CONFIG"] = functools.partial(start, "mm2pl", "-m", "mm2pl", "fit", "config.py")
    return rows


def resumed() -> dict[str, Run]:
    """Start to train from a checkpoint of the second epoch."""
    for package in PACKAGES:
        process(("prepare.py",), project(package))
    return {LABELS[package]: functools.partial(start, package, "resume.py") for package in PACKAGES}


SCENARIOS = {
    "import": ("Imports, whole process", imports, "import mm2pl.runner.runner"),
    "help": ("The command line, whole process", command_line, "mm2pl --help"),
    "startup": ("Start-up to the first iteration, whole process", first_iteration, None),
    "resume": ("Resuming, to the first iteration, whole process", resumed, "mm2pl"),
}
"""Option → title, what makes the rows, and the row that is ours."""


def scenario(name: str, quick: bool = False) -> Scenario:
    """Return the table of one of :data:`SCENARIOS`."""
    title, rows, ours = SCENARIOS[name]
    return Scenario(
        title=title,
        unit="s",
        scale=1.0,
        rows=rows(),
        ours=ours or "mm2pl, Runner.from_cfg",
        rounds=5,
    )
