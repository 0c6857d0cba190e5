"""Fifteen steps of a user; what one process trains is equal to a bare loop in the same environment, bit for bit.

``tox -e lowest`` runs them on the oldest Lightning, jsonargparse and torchmetrics that pyproject.toml allows.
"""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.tuner import Tuner

from mm2pl.cli.main import main
from mm2pl.config import Config
from mm2pl.lightning import MMDataModule, MMLightningModule
from mm2pl.runner import Runner
from tests.processes import trained
from tests.versions.project import BY_ITERATION, CONFIG, bare


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand in a folder with the project's configs."""
    monkeypatch.chdir(tmp_path)
    Path("config.py").write_text(CONFIG)
    Path("by_iteration.py").write_text(BY_ITERATION)
    return tmp_path


def command(*words: str) -> None:
    """Run a command of mm2pl; it must end well."""
    assert main([*words]) in (None, 0)


def weights(file: str) -> dict[str, torch.Tensor]:
    return torch.load(file, weights_only=False)["state_dict"]


def assert_bare(found: dict[str, torch.Tensor], epochs: int = 2, **options: Any) -> None:
    expected = bare(epochs, **options)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(found[name], value), (name, found[name], value)


def metrics(folder: Path) -> dict[str, Any]:
    """Return the last metrics of the run's log."""
    (log,) = folder.glob("run/*/vis_data/scalars.json")
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    return [row for row in rows if "smoke/accuracy" in row][-1]


def test_by_epoch_evaluated_and_predicted(folder: Path) -> None:
    command("fit", "config.py")
    assert_bare(weights("run/epoch_2.pth"))
    accuracy = metrics(folder)["smoke/accuracy"]
    command("validate", "config.py", "--ckpt_path", "run/epoch_2.pth")
    command("test", "config.py", "--ckpt_path", "last", "--out", "results.pkl")
    command("predict", "config.py", "--ckpt_path", "last", "--out", "guesses.pkl")
    for file in ("results.pkl", "guesses.pkl"):
        rows = pickle.loads(Path(file).read_bytes())
        assert sum(row["guess"] == row["label"] for row in rows) / 40 == accuracy


def test_by_iteration() -> None:
    command("fit", "by_iteration.py")
    assert_bare(weights("run/iter_10.pth"))


def test_a_resumed_run() -> None:
    command("fit", "config.py")
    command("fit", "config.py", "--work-dir", "again", "--resume", "run/epoch_1.pth")
    assert_bare(weights("again/epoch_2.pth"))


def test_bf16() -> None:
    command("fit", "config.py", "--amp", "--cfg-options", "optim_wrapper.dtype=bfloat16")
    assert_bare(weights("run/epoch_2.pth"), bf16=True)


def test_lightnings_automatic_optimization() -> None:
    command("fit", "config.py", "--trainer.precision", "bf16-mixed")
    assert_bare(weights("run/epoch_2.pth"), bf16=True)


def test_a_run_as_yaml(capsys: pytest.CaptureFixture) -> None:
    command("explain", "config.py")
    assert "train_cfg.max_epochs" in capsys.readouterr().out
    command("convert", "config.py", "-o", "run.yaml")
    command("fit", "--config", "run.yaml")
    assert_bare(weights("run/epoch_2.pth"))


def test_a_script() -> None:
    Runner.from_cfg(Config.fromfile("config.py")).train()
    assert_bare(weights("run/epoch_2.pth"))


def own_trainer(folder: Path, **options: Any) -> tuple[Trainer, MMLightningModule, MMDataModule]:
    config = Config.fromfile("config.py")
    module = MMLightningModule(
        config.model, optim_wrapper=config.optim_wrapper, param_scheduler=config.param_scheduler
    )
    data = MMDataModule(train_dataloader={**config.train_dataloader, **options})
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    return Trainer(max_epochs=2, default_root_dir=folder, **quiet), module, data


def test_an_own_trainer(folder: Path) -> None:
    trainer, module, data = own_trainer(folder)
    trainer.fit(module, datamodule=data)
    assert_bare(module.model.state_dict())


def test_the_found_learning_rate_is_trained_with(folder: Path) -> None:
    trainer, module, data = own_trainer(folder, batch_size=1)
    finder = Tuner(trainer).lr_find(module, datamodule=data, min_lr=1e-4, num_training=40)
    found = finder.suggestion()
    trainer.fit(module, datamodule=data)
    (optimizer,) = trainer.optimizers
    assert optimizer.param_groups[0]["initial_lr"] == pytest.approx(found)


def test_a_checkpoint_for_lightning() -> None:
    command("fit", "config.py")
    command("convert-ckpt", "run/epoch_2.pth", "out.ckpt", "--to", "lightning")
    assert_bare(weights("out.ckpt"))


@pytest.mark.slow
def test_two_processes(folder: Path) -> None:
    # Without --launcher: torchrun's variables say it.
    options = ("--cfg-options", "env_cfg.dist_cfg.backend=gloo")
    # Of a batch of eight each process takes four: the mean of two means of four is the mean of eight.
    trained(
        "-m", "mm2pl", "fit", "config.py", *options, "train_dataloader.batch_size=4", cwd=folder
    )
    found, expected = weights("run/epoch_2.pth"), bare(2)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value)


def test_a_mistyped_flag(capsys: pytest.CaptureFixture) -> None:
    assert main(["fit", "config.py", "--trainer.max_epochz=2"]) == 2
    assert "--trainer.max_epochz" in capsys.readouterr().err
