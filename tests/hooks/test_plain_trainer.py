"""The built-in hooks as callbacks of an ordinary Trainer around an ordinary LightningModule."""

from __future__ import annotations

import os
from contextlib import nullcontext

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger
from torch.utils.data import DataLoader

from mm2pl.hooks import (
    CheckpointHook,
    EarlyStoppingHook,
    EMAHook,
    Hook,
    IterTimerHook,
    LoggerHook,
    ParamSchedulerHook,
    RuntimeInfoHook,
)
from mm2pl.run.points import STAGES
from mm2pl.run.trainer_view import runner_of


class Line(LightningModule):
    """One weight that loses 0.5 per step; its validation counts down from 1."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.validations = 0

    def training_step(self, batch, batch_idx):
        self.log("train_loss", self.weight * 0.5)
        return {"loss": self.weight * 0.5, "extra": torch.tensor(2.0)}

    def validation_step(self, batch, batch_idx):
        self.log("acc", 1.0 - 0.1 * self.trainer.current_epoch, batch_size=2)
        self.log("seen", self.weight, batch_size=2)

    test_step = validation_step

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=1.0)


def loader(n: int = 4) -> DataLoader:
    return DataLoader(torch.ones(n, 2), batch_size=2)


@pytest.fixture
def trainer(tmp_path):
    def make(*hooks, **kwargs):
        settings = {
            "max_epochs": 2,
            "logger": False,
            "enable_checkpointing": False,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "accelerator": "cpu",
            "num_sanity_val_steps": 0,
            **kwargs,
        }
        return Trainer(default_root_dir=tmp_path, callbacks=list(hooks), **settings)

    return make


def test_the_clocks_are_mmengines(trainer):
    seen = []

    def record(point):
        def method(self, runner, *args, **kwargs):
            seen.append((point, runner.epoch, runner.iter, runner.max_epochs, runner.max_iters))

        return method

    hook = type("Clock", (Hook,), {point: record(point) for point in STAGES})()
    trainer(hook).fit(Line(), loader(), loader(2))
    clocks = [entry[:3] for entry in seen if entry[0] != "before_run"]
    epoch = [
        ("before_train_epoch", 0, 0),
        ("before_train_iter", 0, 0),
        ("after_train_iter", 0, 0),
        ("before_train_iter", 0, 1),
        ("after_train_iter", 0, 1),
        ("after_train_epoch", 0, 2),
        ("before_val", 1, 2),
        ("before_val_epoch", 1, 2),
        ("before_val_iter", 1, 2),
        ("after_val_iter", 1, 2),
        ("after_val_epoch", 1, 2),
        ("after_val", 1, 2),
    ]
    second = [(point, e + 1, i + 2) for point, e, i in epoch]
    ends = [("after_train", 2, 4), ("after_run", 2, 4)]
    assert clocks == [("before_train", 0, 0), *epoch, *second, *ends]
    assert {entry[3:] for entry in seen[1:]} == {(2, 4)}


def test_only_this_validations_metrics_are_handed_over(trainer):
    seen = []

    class Spy(Hook):
        def after_val_epoch(self, runner, metrics=None):
            seen.append(metrics)

    trainer(Spy()).fit(Line(), loader(), loader(2))
    assert [set(metrics) for metrics in seen] == [{"acc", "seen"}] * 2
    assert [metrics["seen"] for metrics in seen] == [-1.0, -2.0]


def test_the_default_hooks_log(trainer, tmp_path):
    logger = CSVLogger(tmp_path / "csv", name="", version="")
    hooks = [RuntimeInfoHook(), IterTimerHook(), LoggerHook(interval=1), ParamSchedulerHook()]
    with_loggers = trainer(*hooks, logger=logger, log_every_n_steps=1)
    with_loggers.fit(Line(), loader(), loader(2))
    logger.save()
    header, *rows = (tmp_path / "csv" / "metrics.csv").read_text().splitlines()
    assert {"lr", "loss", "extra", "time", "acc"} <= set(header.split(","))
    assert len(rows) >= 6


def test_early_stopping(trainer):
    hook = EarlyStoppingHook(monitor="acc", patience=1)
    stopped = trainer(hook, max_epochs=9)
    stopped.fit(Line(), loader(), loader(2))
    assert stopped.current_epoch == 2


def test_the_average_is_validated_and_resumed(trainer, tmp_path):
    hook, module = EMAHook(momentum=0.5), Line()
    first = trainer(hook)
    first.fit(module, loader(), loader(2))
    # The weight is 0, -0.5, -1, -1.5, -2 and its average -0.5, -0.75, -1.125, -1.5625.
    assert first.callback_metrics["seen"] == -1.5625
    assert module.weight.item() == -2
    first.save_checkpoint(tmp_path / "a.ckpt")
    saved = torch.load(tmp_path / "a.ckpt", weights_only=True)
    assert saved["state_dict"]["weight"] == -1.5625

    resumed, other = EMAHook(momentum=0.5), Line()
    trainer(resumed, max_epochs=3).fit(other, loader(), loader(2), ckpt_path=tmp_path / "a.ckpt")
    assert other.weight.item() == -3
    assert resumed.ema_model.module.weight.item() == pytest.approx(-2.515625)


def test_a_module_may_keep_its_settings_as_mmengine_names_them(trainer):
    hook, module = EMAHook(momentum=0.5), Line()
    module.optim_wrapper = {"optimizer": {"type": "SGD", "lr": 1.0}}
    trainer(hook).fit(module, loader(), loader(2))
    assert hook.ema_model.module.weight.item() == -1.5625


def test_checkpoints(trainer, tmp_path):
    hook = CheckpointHook(interval=1, save_best="acc", max_keep_ckpts=1)
    fitted = trainer(hook, enable_checkpointing=True)
    fitted.fit(Line(), loader(), loader(2))
    assert fitted.checkpoint_callback is hook
    assert set(os.listdir(tmp_path)) == {"epoch_2.pth", "best_acc_epoch_1.pth", "last_checkpoint"}
    assert fitted.checkpoint_callback.best_model_path == str(tmp_path / "best_acc_epoch_1.pth")
    module = Line()
    fitted.test(module, loader(2), ckpt_path="best", verbose=False)
    assert module.weight.item() == -1


def test_a_resumed_trainer_remembers_its_checkpoints(trainer, tmp_path):
    def hook():
        return CheckpointHook(interval=1, save_best="acc", max_keep_ckpts=1)

    first, second = hook(), hook()
    trainer(first, enable_checkpointing=True).fit(Line(), loader(), loader(2))
    module, again = Line(), trainer(second, enable_checkpointing=True, max_epochs=3)
    again.fit(module, loader(), loader(2), ckpt_path=first.last_model_path)
    assert module.weight.item() == -3
    assert set(os.listdir(tmp_path)) == {"epoch_3.pth", "best_acc_epoch_1.pth", "last_checkpoint"}
    assert second.best_model_path == first.best_model_path


def test_hooks_of_one_class_keep_their_own_state(trainer, tmp_path):
    def hooks():
        return (
            CheckpointHook(interval=1, save_best="acc", max_keep_ckpts=1),
            CheckpointHook(interval=2, by_epoch=False, save_best="seen", rule="less"),
            EarlyStoppingHook("acc", patience=8),
            EarlyStoppingHook("seen", rule="less", patience=9),
        )

    first, second = hooks(), hooks()
    trainer(*first, enable_checkpointing=True).fit(Line(), loader(), loader(2))
    again = trainer(*second, enable_checkpointing=True, max_epochs=3)
    again.fit(Line(), loader(), loader(2), ckpt_path=tmp_path / "iter_4.pth")
    assert [hook.wait_count for hook in second[2:]] == [1, 0]
    assert [hook.best_model_path for hook in second[:2]] == [
        str(tmp_path / "best_acc_epoch_1.pth"),
        str(tmp_path / "best_seen_iter_6.pth"),
    ]
    assert {path.name for path in tmp_path.glob("*.pth")} == {
        *("epoch_3.pth", "iter_2.pth", "iter_4.pth", "iter_6.pth"),
        *("best_acc_epoch_1.pth", "best_seen_iter_6.pth"),
    }


class Refuses(Line):
    """Ends after the sanity check."""

    def on_train_start(self):
        raise ValueError("no training")


@pytest.mark.parametrize(
    ("options", "module", "ends"),
    [
        ({"fast_dev_run": 2}, Line, nullcontext()),
        ({}, Refuses, pytest.raises(ValueError, match="no")),
    ],
    ids=["trial", "sanity"],
)
def test_a_trial_or_a_sanity_check_leaves_a_real_run_alone(
    trainer, tmp_path, options, module, ends
):
    settings = {"enable_checkpointing": True, "num_sanity_val_steps": 2, **options}
    trainer(CheckpointHook(interval=1), enable_checkpointing=True).fit(Line(), loader(), loader(2))
    before = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    hook = CheckpointHook(interval=1, save_best="acc", max_keep_ckpts=1)
    checked = trainer(hook, **settings)
    with ends:
        checked.fit(module(), loader(), loader(2))
        runner_of(checked).save_checkpoint(str(tmp_path), "own.pth")
    assert {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before


def test_logs_are_copied_where_there_are_any(trainer, tmp_path):
    """Only a test writes one; those of the Trainer's loggers are elsewhere."""
    logged = trainer(LoggerHook(out_dir=tmp_path / "copies"))
    logged.fit(Line(), loader(), loader(2))
    assert not (tmp_path / "copies").exists()
    logged.test(Line(), loader(2), verbose=False)
    assert len(list((tmp_path / "copies").rglob("*.json"))) == 1
