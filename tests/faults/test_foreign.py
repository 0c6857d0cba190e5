"""Files and folders of others: what a checkpoint, a copy or a second run must not touch."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from mm2pl.hooks import Hook
from tests.scenarios import Scenario, build

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
SAVING = {"type": "CheckpointHook", "interval": 1, "save_best": "accuracy", "rule": "greater"}


class Better(Hook):
    """Make each validation better than all before."""

    priority = "VERY_HIGH"

    def after_val_epoch(self, runner, metrics=None):
        metrics["accuracy"] = runner.epoch / 10


def train(work_dir: Path, epochs: int = 2, **options: object) -> object:
    scenario = Scenario(
        optim_wrapper={"optimizer": {"type": "SGD", "lr": 0.05}},
        train_cfg={"by_epoch": True, "max_epochs": epochs},
        custom_hooks=[Better()],
        default_hooks={"checkpoint": SAVING},
    )
    keys = ("loss", "lr", "momentum", "metrics", "place", "validated_at")
    runner = build("mm2pl", scenario, str(work_dir), {key: [] for key in keys}, **options)
    runner.train()
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
