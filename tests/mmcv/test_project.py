"""A 1.x project, unchanged but for the package's name, runs as under MMCV 1.7.2.

`data/mmcv_project_runs.json` was recorded by running `project/train.py` on each of `project/configs.RUNS` with real
MMCV 1.7.2 on torch 2.13 (installed as `test_schedules.py` says), with `time.sleep` patched out. On one machine with
the same number of threads both are equal to the last bit; those two move the last bits, so the test allows for them.
"""

from __future__ import annotations

import copy
import importlib
import json
import logging
import sys
from pathlib import Path

import pytest
import torch

HERE = Path(__file__).parent
GOLDEN = json.loads((HERE.parent / "data/mmcv_project_runs.json").read_text())
MODULES = ("model", "dataset", "hooks", "configs", "train")


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """Return the project's train script and configs, importing mm2pl.mmcv for mmcv."""
    folder = tmp_path_factory.mktemp("project")
    for path in (HERE / "project").glob("*.py"):
        text = path.read_text().replace("import mmcv\n", "import mm2pl.mmcv as mmcv\n")
        (folder / path.name).write_text(text.replace("from mmcv", "from mm2pl.mmcv"))
    sys.path.insert(0, str(folder))
    before = {name: sys.modules.pop(name, None) for name in MODULES}
    loaded = {name: importlib.import_module(name) for name in MODULES}
    yield loaded
    sys.path.remove(str(folder))
    for name, module in before.items():
        del sys.modules[name]
        if module is not None:
            sys.modules[name] = module
    for handler in logging.getLogger("project").handlers[:]:
        logging.getLogger("project").removeHandler(handler)


@pytest.fixture(autouse=True)
def _registered(project):
    """Register the project's hooks again, which the shared fixture takes back after each test."""
    from mm2pl.mmcv.runner import HOOKS

    for cls in ("RecordHook", "CentralizeHook"):
        HOOKS.register_module(module=getattr(project["hooks"], cls), force=True)


def run(project, work_dir, changes, **kwargs):
    cfg = {**copy.deepcopy(project["configs"].BASE), **copy.deepcopy(changes)}
    return project["train"].train(cfg, str(work_dir), **kwargs)


@pytest.mark.parametrize("name", GOLDEN)
def test_equals_mmcv(project, tmp_path, name):
    got, expected = run(project, tmp_path, project["configs"].RUNS[name]), GOLDEN[name]
    assert got["losses"] == pytest.approx(expected["losses"], rel=1e-4)
    assert got["lrs"] == pytest.approx(expected["lrs"], rel=1e-12)
    # AdamW steps by the sign of the rounding error in a bias that the next layer's normalisation cancels.
    assert got["weight"] == pytest.approx(
        expected["weight"], rel=0.1 if name == "workers" else 1e-4
    )
    assert (got["points"], got["best"]) == (expected["points"], expected["best"])


def test_files_of_a_run(project, tmp_path):
    run(project, tmp_path, project["configs"].RUNS["evaluation"])
    names = {path.name for path in tmp_path.iterdir() if not path.name.endswith(".log.json")}
    checkpoints = {f"epoch_{n}.pth" for n in (1, 2, 3)} | {"latest.pth"}
    assert {name for name in names if not name.startswith("best")} == checkpoints
    assert (tmp_path / "latest.pth").resolve().name == "epoch_3.pth"
    saved = torch.load(tmp_path / "epoch_3.pth", weights_only=True)
    assert {k: saved["meta"][k] for k in ("epoch", "iter", "exp_name")} == {
        "epoch": 3,
        "iter": 18,
        "exp_name": "stripes",
    }


def test_resumed_run_counts_on(project, tmp_path):
    short = {"runner": {"type": "EpochBasedRunner", "max_epochs": 1}}
    run(project, tmp_path, short)
    resumed = run(project, tmp_path, {}, resume_from=str(tmp_path / "epoch_1.pth"))
    assert resumed["points"] == ["train epoch 1", "train epoch 2", "end 3 18"]
    assert resumed["lrs"] == GOLDEN["epochs"]["lrs"][6:]


def test_log_lines(project, tmp_path):
    run(project, tmp_path, {})
    lines = next(tmp_path.glob("*.log.json")).read_text().splitlines()
    first = json.loads(lines[1])
    assert json.loads(lines[0]) == {"exp_name": "stripes"}
    assert {k: first[k] for k in ("mode", "epoch", "iter")} == {
        "mode": "train",
        "epoch": 1,
        "iter": 2,
    }
    losses = GOLDEN["epochs"]["losses"][:2]
    assert first["loss"] == pytest.approx(sum(losses) / 2, abs=1e-5)
