"""The examples run as a user runs them."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

import examples.gan
import mm2pl.lightning  # noqa: F401 - Lightning's log handler must not hold a test's captured stream
from examples import a_la_carte, existing_lightning_code, lit_in_config, mixup
from examples.lightning_cli import main as lightning_cli
from mm2pl.cli.main import main
from mm2pl.runner import Runner

ROOT = Path(examples.gan.__file__).parents[1]

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


@pytest.fixture(autouse=True)
def _in_the_checkout(monkeypatch):
    monkeypatch.chdir(ROOT)


@pytest.mark.parametrize(
    "make", [existing_lightning_code.from_mmengine, existing_lightning_code.ByHand]
)
def test_ordinary_trainer_with_lightnings_flags_and_callbacks(make, tmp_path):
    torch.manual_seed(0)
    trainer = existing_lightning_code.fit(make(), str(tmp_path), max_epochs=2)
    assert trainer.callback_metrics["accuracy"] > 50
    assert trainer.global_step == 2 * 19  # 38 batches per epoch, two per step
    assert Path(trainer.checkpoint_callback.best_model_path).is_file()
    header = next(tmp_path.rglob("metrics.csv")).read_text().splitlines()[0]
    assert "lr-SGD" in header


def test_a_la_carte_resumes_to_the_same_weights(tmp_path):
    whole = a_la_carte.fit(str(tmp_path / "whole"), max_epochs=2)
    assert whole.callback_metrics["accuracy"] > 50
    a_la_carte.fit(str(tmp_path / "begun"), max_epochs=1)
    last = tmp_path / "begun" / "checkpoints" / "last.ckpt"
    resumed = a_la_carte.fit(str(tmp_path / "resumed"), path=str(last), max_epochs=2)
    weights, expected = (run.lightning_module.state_dict() for run in (resumed, whole))
    assert all(torch.equal(weights[name], value) for name, value in expected.items())
    # The warm-up is over 20 batches, which are ten steps of the optimizer.
    assert resumed.optimizers[0].param_groups[0]["lr"] == pytest.approx(0.05)


def test_a_module_of_lightnings_is_driven_by_a_config(tmp_path, capsys):
    arguments = ["configs/lit_in_config.py", "--work-dir", str(tmp_path)]
    assert main(["fit", *arguments, "--cfg-options", "train_cfg.max_epochs=1", "model.lr=0.1"]) == 0
    assert re.search(r"Epoch\(train\).* train_acc: .* loss: ", capsys.readouterr().out)
    assert main(["test", *arguments, "--ckpt_path", "best"]) == 0
    assert re.search(r"nll: .* accuracy: ", capsys.readouterr().out)
    module = lit_in_config.LitDigits.load_from_checkpoint(tmp_path / "epoch_1.pth")
    assert module.hparams == {"lr": 0.1, "dropout": 0.1}


def test_lightnings_command_line_changes_one_entry_inside_a_dict(tmp_path):
    cli = lightning_cli.main(
        [
            "fit",
            "--config=examples/lightning_cli/config.yaml",
            f"--trainer.default_root_dir={tmp_path}",
            f"--trainer.logger.init_args.save_dir={tmp_path}",
            "--trainer.max_epochs=1",
            "--trainer.enable_progress_bar=false",
            "--model.optim_wrapper.optimizer.lr=0.02",
            "--data.train_dataloader.batch_size=32",
        ]
    )
    (group, *_) = cli.trainer.optimizers[0].param_groups
    assert group["initial_lr"] == pytest.approx(0.02)
    assert group["weight_decay"] == 0.0005
    assert cli.trainer.num_training_batches == 38
    assert cli.trainer.callback_metrics["accuracy"] > 20
    assert Path(cli.trainer.checkpoint_callback.best_model_path).is_file()


def test_gan_trains_logs_every_lr_and_resumes(tmp_path, capsys):
    arguments = ["fit", "configs/gan.py", "--work-dir", str(tmp_path)]
    assert main([*arguments, "--cfg-options", "train_cfg.max_epochs=1", "default_hooks.logger.type=LoggerHook",
                 "default_hooks.logger.interval=4"]) == 0  # fmt: skip
    text = capsys.readouterr().out
    assert "generator.lr: " in text
    assert "discriminator.lr: " in text
    assert "loss_d: " in text
    assert main([*arguments, "--cfg-options", "train_cfg.max_epochs=2", "--resume"]) == 0
    assert torch.load(tmp_path / "epoch_2.pth", weights_only=True)["meta"]["iter"] == 16


def test_fifteen_minutes():
    pytest.importorskip("torchvision")
    from examples.fifteen_minutes import MMResNet50

    images, labels = torch.randn(2, 3, 32, 32), torch.tensor([0, 1])
    assert MMResNet50()(images, labels, mode="loss")["loss"] > 0


def test_mixup_mixes_images_and_labels_by_the_same_share():
    np.random.seed(3)
    torch.manual_seed(0)
    preprocessor = mixup.MixUpDataPreprocessor(num_class=3, alpha=1.0)
    labels = torch.tensor([0, 1, 2, 1])
    images = torch.eye(3)[labels]  # so that a mixed image is its mixed label
    mixed, shares = preprocessor((images, labels), training=True)
    assert torch.allclose(mixed, shares)
    assert torch.allclose(shares.sum(1), torch.ones(4))
    assert not torch.equal(mixed, images)
    kept, plain = preprocessor((images, labels), training=False)
    assert torch.equal(kept, images)
    assert torch.equal(plain, labels)


def test_mixup_trains(tmp_path):
    torch.manual_seed(0)
    labels = torch.arange(64) % 3
    points = TensorDataset(torch.eye(3)[labels] + 0.1 * torch.randn(64, 3), labels)
    runner = Runner(
        model={"type": "MixUpClassifier", "features": 3, "num_class": 3},
        work_dir=str(tmp_path),
        train_dataloader=DataLoader(points, batch_size=16),
        train_cfg={"by_epoch": True, "max_epochs": 8},
        optim_wrapper={"optimizer": {"type": "SGD", "lr": 0.5}},
        randomness={"seed": 0},
    )
    runner.train()
    images, labels = points.tensors
    assert (runner.model(images, labels).argmax(1) == labels).float().mean() > 0.95
