"""Visualizer backends as the Trainer's loggers, so that Lightning's callbacks work in a config-driven run."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch
from lightning.pytorch.callbacks import EarlyStopping, LearningRateMonitor
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from lightning.pytorch.loggers.logger import DummyLogger

from mm2pl.lightning.loggers import BackendLogger
from tests.scenarios import Scenario, build

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

SGD = {"optimizer": {"type": "SGD", "lr": 0.05}}
LOCAL = {"type": "LocalVisBackend"}
TENSORBOARD = {"type": "TensorboardVisBackend"}


def make(tmp_path, backends=None, trainer=None, **options):
    book = {k: [] for k in ("loss", "lr", "momentum", "metrics", "place", "validated_at")}
    scenario = Scenario(optim_wrapper=SGD, options=options)
    if backends is not None:
        scenario.options["visualizer"] = {"type": "Visualizer", "vis_backends": backends}
    return build("mm2pl", scenario, str(tmp_path), book, trainer=trainer)


def scalars(runner):
    file = Path(runner.log_dir, "vis_data", "scalars.json")
    return [json.loads(line) for line in file.read_text().splitlines()]


@pytest.mark.parametrize(
    ("backends", "kinds"),
    [
        (None, [BackendLogger]),
        ([LOCAL], [BackendLogger]),
        ([LOCAL, TENSORBOARD], [TensorBoardLogger, BackendLogger]),
        ([], []),
    ],
    ids=["default", "local", "tensorboard too", "none"],
)
def test_the_trainer_has_the_visualizers_loggers(tmp_path, backends, kinds):
    if backends and TENSORBOARD in backends:
        pytest.importorskip("tensorboard")
    runner = make(tmp_path, backends)
    assert all(isinstance(a, b) for a, b in zip(runner.trainer.loggers, kinds, strict=True))
    assert runner.trainer.default_root_dir == str(tmp_path)


def test_monitors_of_lightning_write_beside_our_scalars(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    monitor = LearningRateMonitor("step")
    runner = make(tmp_path, [LOCAL, TENSORBOARD], {"callbacks": [monitor]})
    runner.train()
    assert runner.module.logger is runner.trainer.loggers[0]
    lines = [line for line in scalars(runner) if "lr-SGD" in line]
    assert {line["lr-SGD"] for line in lines} == {0.05}
    assert [line["step"] for line in lines] == [4, 9, 14, 19, 24]  # every 5th iteration, as the log
    folder = Path(runner.log_dir, "vis_data")
    assert set(EventAccumulator(str(folder)).Reload().Tags()["scalars"]) >= {"lr-SGD", "loss"}
    assert not list(folder.rglob("hparams.yaml"))


def test_a_logger_of_the_trainer_gets_the_runs_scalars(tmp_path):
    csv = CSVLogger(tmp_path, name="own")
    runner = make(tmp_path / "run", trainer={"logger": csv})
    runner.train()
    assert runner.trainer.logger is csv
    table = Path(csv.log_dir, "metrics.csv").read_text()
    assert {"loss", "lr", "accuracy"} <= set(table.splitlines()[0].split(","))
    assert scalars(runner)


def test_the_loss_is_a_callback_metric_at_log_points(tmp_path):
    seen = []

    class Watch(EarlyStopping):
        def on_train_epoch_end(self, trainer, module):
            seen.append(float(trainer.callback_metrics["loss"]))
            super().on_train_epoch_end(trainer, module)

    # Nothing is ever an improvement.
    stop = Watch("loss", patience=0, min_delta=1e9, check_on_train_epoch_end=True)
    runner = make(tmp_path, trainer={"callbacks": [stop]})
    runner.train()
    logged = [line["loss"] for line in scalars(runner) if "loss" in line]
    assert torch.tensor(seen).tolist() == torch.tensor(logged).tolist()
    assert runner.epoch == len(seen) == 2
    assert {"accuracy", "lr", "loss_ce"} <= runner.trainer.callback_metrics.keys()
    assert not {"epoch", "iter"} & runner.trainer.callback_metrics.keys()


@pytest.mark.parametrize(
    ("train_cfg", "ends"),
    [
        ({"by_epoch": True, "max_epochs": 9, "val_interval": 2}, 4 * 9),
        ({"by_epoch": False, "max_iters": 30, "val_interval": 4}, 8),
    ],
    ids=["epochs", "iterations"],
)
def test_lightnings_early_stopping_looks_after_each_validation(tmp_path, train_cfg, ends):
    stop = EarlyStopping("accuracy", mode="max", patience=1, min_delta=1e9)
    runner = make(tmp_path, trainer={"callbacks": [stop]}, train_cfg=train_cfg)
    runner.train()
    assert runner.iter == ends
    assert stop.stopped_epoch == runner.epoch - (train_cfg["by_epoch"])


def test_a_trial_run_leaves_no_records(tmp_path):
    runner = make(tmp_path, trainer={"fast_dev_run": True, "callbacks": [LearningRateMonitor()]})
    runner.train()
    assert isinstance(runner.trainer.logger, DummyLogger)


@pytest.mark.parametrize(
    ("backend", "client"),
    [
        ("WandbVisBackend", "wandb"),
        ("MLflowVisBackend", "mlflow"),
        (TENSORBOARD["type"], "tensorboard"),
    ],
)
def test_a_missing_client_is_an_error_at_the_start(tmp_path, monkeypatch, backend, client):
    monkeypatch.setitem(sys.modules, client, None)
    with pytest.raises(ImportError, match=f'{backend} needs {client}: run "pip install {client}"'):
        make(tmp_path, [{"type": backend}])
