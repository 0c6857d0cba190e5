"""Unmodified toolboxes and their released configs, next to MMEngine's own Runner, bit for bit.

In an environment without MMEngine, ``MM2PL_MMENGINE`` names a folder that holds it (made by ``pip install
--target``): it joins the path of the processes that need the real one.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.ecosystem.project import Project
from tests.ecosystem.projects import PROJECTS

pytestmark = [pytest.mark.ecosystem, pytest.mark.slow]
HERE = Path(__file__).parent
MMENGINE = os.environ.get("MM2PL_MMENGINE")
CLOCKS = ("time", "data_time", "memory", "eta")


def installed(package: str) -> bool:
    """Say whether a package is there, without importing it."""
    return importlib.util.find_spec(package) is not None


def missing_parts(project: Project) -> list[str]:
    """Return what must be installed before a project can run."""
    needed = (project.package, "mmcv", "torchvision", *project.needs)
    missing = [name for name in needed if not installed(name)]
    if "mmcv" not in missing and project.ops:
        spec = importlib.util.find_spec("mmcv")
        folder = Path(spec.origin or "").parent if spec else Path()
        missing += [] if list(folder.glob("_ext*")) else ["mmcv with its operators"]
    return missing


def run(*command: str, mmengine: bool) -> None:
    """Run Python in the folder of the repository, with the real MMEngine or without."""
    paths = [str(HERE / "site"), str(HERE.parent.parent), os.environ.get("PYTHONPATH", "")]
    if mmengine and MMENGINE:
        paths.append(MMENGINE)
    path = os.pathsep.join(filter(None, paths))
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    environment["PYTHONWARNINGS"] = "ignore"
    done = subprocess.run(
        [sys.executable, *command], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-6000:]


@pytest.fixture(scope="module", params=PROJECTS.values(), ids=PROJECTS.keys())
def project(request: pytest.FixtureRequest) -> Project:
    """A project whose packages are installed."""
    project: Project = request.param
    missing = missing_parts(project)
    if missing:
        pytest.skip(f"needs {', '.join(missing)}")
    return project


@pytest.fixture(scope="module")
def data(project: Project, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data set."""
    folder = tmp_path_factory.mktemp("data") / "set"
    project.data(folder)
    return folder


def logged(work_dir: Path) -> list[dict[str, Any]]:
    """Return what the training run has logged, without its clocks.

    A later ``validate`` in the same process (step 0) is not of it, though MMEngine's visualizer of the same
    name writes there too.
    """
    file = min(work_dir.glob("*/vis_data/scalars.json"))
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    return [{key: row[key] for key in row if key not in CLOCKS} for row in rows if row["step"]]


def metrics_of(work_dir: Path, files: str) -> dict[str, float]:
    """Return the metrics in the newest of the files that ``validate`` or ``test`` writes."""
    row = json.loads(max(work_dir.glob(files)).read_text().splitlines()[-1])
    return {key: row[key] for key in row if key not in (*CLOCKS, "step")}


def weights(work_dir: Path) -> dict[str, torch.Tensor]:
    """Return the weights after the last iteration; MMEngine's own files are read without MMEngine."""
    from mm2pl.checkpoint.loader import CheckpointLoader

    checkpoint = Path(work_dir / "last_checkpoint").read_text().strip()
    state: dict[str, torch.Tensor] = CheckpointLoader.load_checkpoint(checkpoint, "cpu")[
        "state_dict"
    ]
    return state


@pytest.fixture(scope="module")
def reference(project: Project, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The work folder of MMEngine's Runner."""
    if not (MMENGINE or installed("mmengine")):
        pytest.skip("needs MMEngine, installed or in the folder of MM2PL_MMENGINE")
    folder = tmp_path_factory.mktemp("reference")
    arguments = [str(project.path()), "--work-dir", str(folder)]
    options = [*project.flags, "--cfg-options", *project.cfg_options(data)]
    run(str(HERE / "reference.py"), *arguments, *options, mmengine=True)
    return folder


@pytest.mark.parametrize("mmengine", [False, True], ids=["alias", "MMEngine installed"])
def test_fit_validate_and_test_equal_mmengine(project, data, reference, tmp_path, mmengine):
    if not mmengine and installed("mmengine"):
        pytest.skip("needs an environment without MMEngine")
    work_dir, config = str(tmp_path), str(project.path())
    options = ["--work-dir", work_dir, "--cfg-options", *project.cfg_options(data)]
    commands = [["explain", config, *options[2:]], ["fit", config, *project.flags, *options]]
    if project.evaluates:
        for stage in ("validate", "test"):
            commands.append([stage, config, "--ckpt_path", "last", *options])
    run(str(HERE / "commands.py"), json.dumps(commands), mmengine=mmengine)
    expected = logged(reference)
    assert sum("loss" in row for row in expected) >= 20
    assert logged(tmp_path) == expected
    ours, theirs = weights(tmp_path), weights(reference)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    metrics = json.loads((reference / "metrics.json").read_text())
    files = {"validate": "*/vis_data/scalars.json", "test": "*/*.json"}
    assert {stage: metrics_of(tmp_path, files[stage]) for stage in metrics} == metrics
