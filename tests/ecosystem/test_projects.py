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
COMPILED = HERE.parent / "data/ops/trainings.json"
"""Losses with MMCV 2.1.0's compiled operators, by config: written where those are installed, with ``GOLDEN`` set."""
GOLDEN = "MM2PL_WRITE_GOLDEN"
CLOCKS = ("time", "data_time", "memory", "eta")


def installed(package: str) -> bool:
    """Say whether a package is there, without importing it."""
    return importlib.util.find_spec(package) is not None


def missing_parts(project: Project) -> list[str]:
    """Return what must be installed before a project can run."""
    needed = (project.package, "mmcv", "torchvision", *project.needs)
    return [name for name in needed if not installed(name)]


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


def predictions(work_dir: Path, stages: str = "*") -> dict[str, Any]:
    """Return what the evaluators were given, by file: boxes or keypoints with their scores."""
    return {file.name: json.loads(file.read_text()) for file in work_dir.glob(f"{stages}.*.json")}


def losses_of(work_dir: Path) -> list[float]:
    """Return the loss of each iteration."""
    return [row["loss"] for row in logged(work_dir) if "loss" in row]


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
    options = [*project.flags, "--cfg-options", *project.cfg_options(data, folder)]
    run(str(HERE / "reference.py"), *arguments, *options, mmengine=True)
    return folder


@pytest.mark.parametrize("mmengine", [False, True], ids=["alias", "MMEngine installed"])
def test_fit_validate_and_test_equal_mmengine(project, data, reference, tmp_path, mmengine):
    if not mmengine and installed("mmengine"):
        pytest.skip("needs an environment without MMEngine")
    work_dir, config = str(tmp_path), str(project.path())
    options = ["--work-dir", work_dir, "--cfg-options", *project.cfg_options(data, tmp_path)]
    commands = [["explain", config, *options[2:]], ["fit", config, *project.flags, *options]]
    if project.evaluates:
        for stage in ("validate", "test"):
            commands.append([stage, config, "--ckpt_path", "last", *options])
    calls = tmp_path / "calls.json"
    run(str(HERE / "commands.py"), json.dumps(commands), str(calls), mmengine=mmengine)
    assert set(project.calls) <= json.loads(calls.read_text()).keys()
    expected = logged(reference)
    assert sum("loss" in row for row in expected) >= 20
    assert logged(tmp_path) == expected
    losses = losses_of(tmp_path)
    if compiled := json.loads(COMPILED.read_text()).get(project.config):
        assert losses[0] == pytest.approx(compiled[0], rel=1e-5)
        assert losses[: len(compiled)] == pytest.approx(compiled, rel=2e-3)
    ours, theirs = weights(tmp_path), weights(reference)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    metrics = json.loads((reference / "metrics.json").read_text())
    files = {"validate": "*/vis_data/scalars.json", "test": "*/*.json"}
    assert {stage: metrics_of(tmp_path, files[stage]) for stage in metrics} == metrics
    assert predictions(tmp_path) == predictions(reference)
    assert bool(predictions(tmp_path)) == project.predicts


def has_compiled_operators() -> bool:
    """Say whether mmcv is there with its operators."""
    spec = importlib.util.find_spec("mmcv")
    return spec is not None and bool(list(Path(spec.origin or "").parent.glob("_ext*")))


def test_compiled_operators_give_the_same(project, data, tmp_path, monkeypatch):
    if not project.calls or not has_compiled_operators():
        pytest.skip("needs a project that calls operators, and compiled ones")
    config, checkpoint, losses, metrics, found = str(project.path()), "last", {}, {}, {}
    for operators in ("mmcv", "mm2pl"):
        monkeypatch.setenv("MM2PL_MMCV_EXT", operators)
        work_dir = tmp_path / operators
        options = [
            "--work-dir",
            str(work_dir),
            "--cfg-options",
            *project.cfg_options(data, work_dir),
        ]
        # Both validate what the compiled operators have trained.
        check = ["validate", config, "--ckpt_path", checkpoint, *options]
        commands = [["fit", config, *project.flags, *options], check]
        arguments = (json.dumps(commands), str(tmp_path / "calls.json"))
        run(str(HERE / "commands.py"), *arguments, mmengine=False)
        losses[operators] = losses_of(work_dir)
        metrics[operators] = metrics_of(work_dir, "*/vis_data/scalars.json")
        found[operators] = predictions(work_dir, "val")
        checkpoint = (tmp_path / "mmcv/last_checkpoint").read_text().strip()
    if GOLDEN in os.environ:
        golden = {
            **json.loads(COMPILED.read_text()),
            project.config: losses["mmcv"][: project.settled],
        }
        COMPILED.write_text(json.dumps(golden, indent=1) + "\n")
    assert losses["mm2pl"][0] == pytest.approx(losses["mmcv"][0], rel=1e-5)
    settled = slice(project.settled)
    assert losses["mm2pl"][settled] == pytest.approx(losses["mmcv"][settled], rel=2e-3)
    assert metrics["mm2pl"] == metrics["mmcv"]
    assert metrics["mm2pl"]
    assert found["mm2pl"].keys() == found["mmcv"].keys()
    for name, rows in found["mmcv"].items():
        assert rows
        for ours, theirs in zip(found["mm2pl"][name], rows, strict=True):
            assert ours == {key: pytest.approx(theirs[key], rel=1e-3, abs=1e-3) for key in theirs}
