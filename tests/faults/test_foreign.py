"""Files and folders of others: what a checkpoint, a copy or a second run must not touch."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
import torch

from mm2pl.hooks import Hook
from mm2pl.run import lock
from mm2pl.run.lock import FORCE, LAST, NAME, WorkDirLocked
from mm2pl.utils.process import started_at
from tests.scenarios import Scenario, build

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
SAVING = {"type": "CheckpointHook", "interval": 1, "save_best": "accuracy", "rule": "greater"}


class Better(Hook):
    """Make each validation better than all before."""

    priority = "VERY_HIGH"

    def after_val_epoch(self, runner, metrics=None):
        metrics["accuracy"] = runner.epoch / 10


def train(
    work_dir: Path, epochs: int = 2, *, verb: str = "train", hooks: tuple = (), **options: object
) -> object:
    scenario = Scenario(
        optim_wrapper={"optimizer": {"type": "SGD", "lr": 0.05}},
        train_cfg={"by_epoch": True, "max_epochs": epochs},
        custom_hooks=[Better(), *hooks],
        default_hooks={"checkpoint": SAVING},
    )
    keys = ("loss", "lr", "momentum", "metrics", "place", "validated_at")
    runner = build("mm2pl", scenario, str(work_dir), {key: [] for key in keys}, **options)
    getattr(runner, verb)()
    return runner


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*") if path.is_file()}


@pytest.fixture(scope="module")
def run_a(tmp_path_factory):
    """Return the work folder of a run of two epochs."""
    folder = tmp_path_factory.mktemp("runs") / "a"
    train(folder)
    return folder


@pytest.mark.parametrize("nested", [False, True], ids=["elsewhere", "a-within-b"])
def test_a_run_that_goes_on_from_anothers_file_leaves_that_alone(tmp_path, run_a, nested):
    a = shutil.copytree(run_a, tmp_path / "b" / "a" if nested else tmp_path / "a")
    source = a / "epoch_1.pth"
    content = torch.load(source)
    content["message_hub"]["runtime_info"]["best_ckpt"] = str(a / "best_accuracy_epoch_1.pth")
    torch.save(content, source)
    (a / "best_accuracy_epoch_1.pth").touch()
    before = contents(a)
    runner = train(tmp_path / "b", resume=True, load_from=str(source))
    best = str(tmp_path / "b" / "best_accuracy_epoch_2.pth")
    assert contents(a) == before
    assert runner.trainer.checkpoint_callback.best_model_path == best


def test_a_copied_run_goes_on_with_its_own_files(tmp_path, run_a):
    copy = shutil.copytree(run_a, tmp_path / "copy")
    before = contents(run_a)
    runner = train(copy, epochs=3, resume=True)
    assert contents(run_a) == before
    assert {path.name for path in copy.glob("best_*")} == {"best_accuracy_epoch_3.pth"}
    assert runner.resumed_from == str(copy / "epoch_2.pth")


def held_by_another(folder: Path) -> None:
    """Let another process, which is alive, train in a folder."""
    folder.mkdir(exist_ok=True)
    pid = os.getppid()
    other = {**lock._me(), "pid": pid, "started": started_at(pid)}
    (folder / NAME).write_text(json.dumps(other))


def test_a_second_training_in_a_folder_is_refused_before_it_writes(tmp_path, run_a, monkeypatch):
    folder = shutil.copytree(run_a, tmp_path / "a")
    held_by_another(folder)
    before = contents(folder)
    with pytest.raises(WorkDirLocked, match=f"{folder} is in use: process {os.getppid()}"):
        train(folder)
    after = contents(folder)
    # The config that a run dumps stands there before its training begins.
    assert {name: after[name] for name in before} == before
    monkeypatch.setenv(FORCE, "1")
    assert train(folder).iter == 18


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_a_training_that_breaks_off_leaves_the_folder(tmp_path, error):
    class Breaking(Hook):
        def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
            assert (tmp_path / NAME).exists()
            raise error("on purpose")

    with pytest.raises(error, match=r"on purpose|the run has been stopped"):
        train(tmp_path, hooks=[Breaking()])
    assert not (tmp_path / NAME).exists()
    (left,) = tmp_path.glob(f"*/{LAST}")
    state = "stopped" if error is KeyboardInterrupt else "failed"
    assert json.loads(left.read_text())["state"] == state
    assert train(tmp_path, resume=True).iter == 18


def test_validating_is_free(tmp_path, run_a):
    folder = shutil.copytree(run_a, tmp_path / "a")
    held_by_another(folder)
    runner = train(folder, verb="val", load_from=str(folder / "epoch_2.pth"))
    assert "accuracy" in runner.module.eval_metrics
