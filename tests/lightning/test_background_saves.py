"""Checkpoints that Lightning's ``AsyncCheckpointIO`` writes in a thread, while training goes on."""

from __future__ import annotations

import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning.pytorch.plugins import AsyncCheckpointIO
from lightning.pytorch.strategies import SingleDeviceStrategy

from mm2pl.hooks import Hook
from mm2pl.lightning import MMCheckpointIO
from mm2pl.lightning.trainer import RunTrainer
from tests.scenarios import Scenario, build

SAVING = {
    "type": "CheckpointHook",
    "interval": 1,
    "max_keep_ckpts": 1,
    "save_best": "accuracy",
    "rule": "greater",
    "published_keys": ["state_dict"],
}

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


class Slow(MMCheckpointIO):
    """Write later than a file is asked for."""

    def save_checkpoint(self, *args, **kwargs):
        time.sleep(0.3)
        super().save_checkpoint(*args, **kwargs)


class Full(MMCheckpointIO):
    """Find no room."""

    def save_checkpoint(self, checkpoint, path, storage_options=None):
        raise OSError(28, f"{path} could not be written: No space left on device")


def runner_with(folder: Path, *plugins, hooks=(), saving=SAVING):
    scenario = Scenario(
        optim_wrapper={"optimizer": {"type": "SGD", "lr": 0.05, "momentum": 0.9}},
        default_hooks={"checkpoint": saving},
        custom_hooks=list(hooks),
        options={"trainer": {"plugins": list(plugins)}},
    )
    book = {key: [] for key in ("loss", "lr", "momentum", "metrics", "place", "validated_at")}
    return build("mm2pl", scenario, str(folder), book)


def history(file):
    return file["mm2pl"]["histories"]["train/loss"]["log"]


def content(path: Path):
    file = torch.load(path, weights_only=True)
    kept = {key: file.get(key) for key in ("state_dict", "optimizer", "param_schedulers")}
    return {**kept, "loss": history(file) if "mm2pl" in file else None}


def test_files_are_those_of_a_run_that_waits(tmp_path):
    runner_with(tmp_path / "waits").train()
    runner_with(tmp_path / "async", AsyncCheckpointIO(Slow())).train()
    waited, written = (sorted((tmp_path / kind).glob("*.pth")) for kind in ("waits", "async"))
    assert [path.name.split("-")[0] for path in written] == [
        path.name.split("-")[0] for path in waited
    ]
    assert len(written) == 4  # the last, the best, and both published
    for ours, usual in zip(written, waited, strict=True):
        torch.testing.assert_close(content(ours), content(usual), rtol=0, atol=0)
    marker = (tmp_path / "async" / "last_checkpoint").read_text()
    assert marker == str(tmp_path / "async" / "epoch_3.pth")


def test_tensors_are_copied_once_and_into_the_memory_of_a_file_that_is_written(tmp_path):
    seen, every = [], {"type": "CheckpointHook", "interval": 1}

    class Noting(MMCheckpointIO):
        def save_checkpoint(self, checkpoint, path, storage_options=None):
            whole = checkpoint.content
            weights = list(whole["state_dict"].values())
            (states,) = whole["optimizer_states"]
            momenta = [state["momentum_buffer"] for state in states["state"].values()]
            same = [state["momentum_buffer"] for state in whole["optimizer"]["state"].values()]
            assert all(one is other for one, other in zip(momenta, same, strict=True))
            seen.append(sorted(tensor.data_ptr() for tensor in [*weights, *momenta]))
            super().save_checkpoint(checkpoint, path, storage_options)

    class Wait(Hook):
        def after_val_epoch(self, runner, metrics=None):
            runner.trainer.strategy.checkpoint_io._executor.submit(int).result()

    hooks = [Wait()]
    runner_with(tmp_path, AsyncCheckpointIO(Noting()), hooks=hooks, saving=every).train()
    assert len(seen) == 3
    assert seen[0] == seen[1] == seen[2]


def test_a_file_holds_what_was_when_it_was_asked_for(tmp_path):
    class Fill(Hook):
        curve = np.zeros(3)

        def before_train_epoch(self, runner):
            self.curve[runner.epoch] = 1

        def before_save_checkpoint(self, runner, checkpoint):
            checkpoint["curve"] = self.curve

    every = {"type": "CheckpointHook", "interval": 1}
    runner_with(tmp_path, AsyncCheckpointIO(Slow()), hooks=[Fill()], saving=every).train()
    files = [torch.load(tmp_path / f"epoch_{n}.pth", weights_only=True) for n in (1, 2, 3)]
    assert [file["curve"].tolist() for file in files] == [[1, 0, 0], [1, 1, 0], [1, 1, 1]]
    assert [len(history(file)) for file in files] == [9, 18, 27]


def test_nothing_is_removed_before_its_successor_is_there(tmp_path):
    seen = []

    class Watch(Hook):
        def after_train_iter(self, runner, **_):
            seen.append({path.name for path in tmp_path.glob("*.pth")})

    runner_with(tmp_path, AsyncCheckpointIO(Slow()), hooks=[Watch()]).train()
    # Once the first files are there, one of each kind always is.
    for kind in ("epoch_", "best_"):
        had = [any(name.startswith(kind) for name in names) for names in seen]
        assert had == sorted(had)


def test_files_that_an_earlier_run_left_are_not_taken_for_new(tmp_path):
    runner_with(tmp_path).train()
    marker, stale = tmp_path / "last_checkpoint", []
    marker.unlink()
    for path in tmp_path.glob("*-*.pth"):  # what it published
        path.unlink()
    shutil.copy(tmp_path / "epoch_3.pth", tmp_path / "epoch_1.pth")
    earlier = {path: path.stat().st_ino for path in tmp_path.glob("*.pth")}

    class Watch(Hook):
        def after_train_iter(self, runner, **_):
            named = Path(marker.read_text()) if marker.exists() else None
            stale.append(named in earlier and named.stat().st_ino == earlier[named])

        def before_train(self, runner):
            for parameter in runner.model.parameters():
                parameter.data.add_(1)

    runner_with(tmp_path, AsyncCheckpointIO(Slow()), hooks=[Watch()]).train()
    assert not any(stale)
    last = content(Path(marker.read_text()))["state_dict"]
    (published,) = tmp_path.glob("epoch_*-*.pth")
    torch.testing.assert_close(content(published)["state_dict"], last, rtol=0, atol=0)


def test_what_could_not_be_written_ends_the_run(tmp_path):
    with pytest.raises(OSError, match=r"epoch_1\.pth could not be written: No space left"):
        runner_with(tmp_path, AsyncCheckpointIO(Full())).train()
    assert not list(tmp_path.glob("*.pth"))
    assert not (tmp_path / "last_checkpoint").exists()
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


@pytest.mark.parametrize(
    "plugins", [None, (), AsyncCheckpointIO(), [AsyncCheckpointIO()], (AsyncCheckpointIO(),)]
)
def test_files_have_our_form_where_nobody_names_a_writer(plugins, tmp_path):
    io = RunTrainer(plugins=plugins, accelerator="cpu", logger=False).strategy.checkpoint_io
    assert isinstance(getattr(io, "checkpoint_io", io), MMCheckpointIO)


def test_a_writer_of_the_users_stays():
    mine = Slow()
    assert RunTrainer(plugins=mine, accelerator="cpu", logger=False).strategy.checkpoint_io is mine


def test_a_writer_of_the_users_strategy_stays():
    mine = Slow()
    strategy = SingleDeviceStrategy("cpu", checkpoint_io=mine)
    assert RunTrainer(strategy=strategy, logger=False).strategy.checkpoint_io is mine
