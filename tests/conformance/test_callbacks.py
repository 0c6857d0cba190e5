"""Each callback of Lightning's does to a module of ours what it does to one written by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import (
    BackboneFinetuning,
    DeviceStatsMonitor,
    EarlyStopping,
    EMAWeightAveraging,
    GradientAccumulationScheduler,
    LambdaCallback,
    LearningRateMonitor,
    ModelCheckpoint,
    ModelPruning,
    OnExceptionCheckpoint,
    RichModelSummary,
    RichProgressBar,
    StochasticWeightAveraging,
    Timer,
    TQDMProgressBar,
    WeightAveraging,
)
from lightning.pytorch.loggers import CSVLogger

from mm2pl.lightning import MMLightningModule
from tests.conformance.subjects import (
    PAIRS,
    ByHand,
    assert_equal,
    equal,
    fitted,
    loader,
    ours,
    trainer,
    weights,
)

pytestmark = [
    pytest.mark.filterwarnings("ignore::lightning.fabric.utilities.warnings.PossibleUserWarning"),
    pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty"),
    pytest.mark.filterwarnings(r"ignore:.*\.fit\(ckpt_path="),  # OnExceptionCheckpoint
    pytest.mark.filterwarnings(
        "ignore:You're using the WeightAveraging callback with a model that"
    ),
]


SAVING = {"enable_checkpointing": True}


@dataclass(frozen=True, kw_only=True)
class Case:
    """A callback of Lightning's, and what is to be compared of it afterwards."""

    make: Callable[[Path], Callback]
    flags: dict[str, Any] = field(default_factory=dict)
    look: Callable[[Any], Any] = lambda callback: None


def saves(**options: Any) -> Case:
    def look(callback: Any) -> Any:
        files = {
            Path(path).name: float(score).hex() for path, score in callback.best_k_models.items()
        }
        best, last = (Path(p).name for p in (callback.best_model_path, callback.last_model_path))
        found = sorted(path.name for path in Path(callback.dirpath).iterdir())
        return files, best, last, found

    return Case(
        make=lambda folder: ModelCheckpoint(folder, **options),
        flags=SAVING,
        look=look,
    )


def pruned(folder: Path) -> Callback:
    return ModelPruning("l1_unstructured", parameter_names=["weight"], amount=0.3)


CASES: dict[str, Case] = {
    "ModelCheckpoint": saves(),
    "ModelCheckpoint, loss of each step": saves(
        monitor="loss", filename="{step}-{loss:.6f}", every_n_train_steps=1, save_top_k=3
    ),
    "ModelCheckpoint, every 3 steps": saves(
        filename="{step}", every_n_train_steps=3, save_top_k=-1, save_last=True
    ),
    "ModelCheckpoint, loss of the epoch": saves(
        monitor="loss", save_on_train_epoch_end=True, save_top_k=1, filename="{epoch}-{loss:.6f}"
    ),
    "ModelCheckpoint, val_loss": saves(
        monitor="val_loss", filename="{epoch}-{val_loss:.6f}", save_top_k=2
    ),
    "ModelCheckpoint, worst": saves(monitor="val_loss", mode="max", save_weights_only=True),
    "ModelCheckpoint, every 2 epochs": saves(every_n_epochs=2, save_top_k=-1, save_last="link"),
    "EarlyStopping": Case(
        make=lambda _: EarlyStopping("val_loss", patience=1, mode="max"),
        look=lambda each: (each.stopped_epoch, each.wait_count, float(each.best_score).hex()),
    ),
    "EarlyStopping, training loss": Case(
        make=lambda _: EarlyStopping("loss", patience=1, mode="max", check_on_train_epoch_end=True),
        look=lambda each: (each.stopped_epoch, each.wait_count, float(each.best_score).hex()),
    ),
    "Timer": Case(
        make=lambda _: Timer("00:00:30:00", interval="step"),
        look=lambda each: each.time_elapsed("train") > 0,
    ),
    "StochasticWeightAveraging": Case(
        make=lambda _: StochasticWeightAveraging(0.05, swa_epoch_start=1, annealing_epochs=1),
        flags={"max_epochs": 4},
    ),
    "WeightAveraging": Case(make=lambda _: WeightAveraging()),
    "EMAWeightAveraging": Case(make=lambda _: EMAWeightAveraging(decay=0.5)),
    "GradientAccumulationScheduler": Case(
        make=lambda _: GradientAccumulationScheduler({0: 1, 1: 3})
    ),
    "ModelPruning": Case(make=pruned),
    "LambdaCallback": Case(
        make=lambda _: LambdaCallback(on_train_batch_end=lambda *args: args[2]["loss"].item())
    ),
    "DeviceStatsMonitor": Case(make=lambda _: DeviceStatsMonitor(cpu_stats=False)),
    "RichModelSummary": Case(
        make=lambda _: RichModelSummary(max_depth=-1), flags={"enable_model_summary": True}
    ),
    "RichProgressBar": Case(make=lambda _: RichProgressBar(), flags={"enable_progress_bar": True}),
    "TQDMProgressBar": Case(
        make=lambda _: TQDMProgressBar(leave=True), flags={"enable_progress_bar": True}
    ),
}


@pytest.mark.parametrize("kind", PAIRS)
@pytest.mark.parametrize("name", CASES)
def test_callback(name: str, kind: str, tmp_path: Path) -> None:
    case, found = CASES[name], []
    for i, make in enumerate(PAIRS[kind]):
        callback = case.make(tmp_path / str(i))
        logger = CSVLogger(tmp_path / f"log-{i}") if name == "DeviceStatsMonitor" else False
        happened = fitted(make(), callback, logger=logger, **case.flags)
        found.append({**happened, "callback": case.look(callback)})
    assert_equal(*found)


@pytest.mark.parametrize("kind", PAIRS)
def test_learning_rate_monitor(kind: str, tmp_path: Path) -> None:
    found = []
    for i, make in enumerate(PAIRS[kind]):
        monitor = LearningRateMonitor(log_momentum=True, log_weight_decay=True)
        logger = CSVLogger(tmp_path, str(i), version="")
        fitted(make(), monitor, logger=logger, log_every_n_steps=3)
        found.append((monitor.lrs, (tmp_path / str(i) / "metrics.csv").read_text()))
    assert found[0] == found[1]
    assert found[0][0]


@pytest.mark.parametrize("kind", PAIRS)
def test_on_exception_checkpoint(kind: str, tmp_path: Path) -> None:
    def fail(trainer: Any, *_: Any) -> None:
        if trainer.global_step == 11:
            raise RuntimeError("no power")

    resumed = []
    for i, make in enumerate(PAIRS[kind]):
        saved = OnExceptionCheckpoint(tmp_path / str(i))
        with pytest.raises(RuntimeError, match="no power"):
            fitted(make(), saved, LambdaCallback(on_train_batch_start=fail), **SAVING)
        module = make()
        trainer().fit(module, loader(), ckpt_path=tmp_path / str(i) / "on_exception.ckpt")
        resumed.append(weights(module))
    assert equal(*resumed)


class Backbone:
    """What BackboneFinetuning asks of a module."""

    model: Any

    @property
    def backbone(self) -> Any:
        return self.model.net[0]


class OursWithBackbone(Backbone, MMLightningModule): ...


class ByHandWithBackbone(Backbone, ByHand):
    def groups(self) -> Any:
        return [{"params": [p for p in self.parameters() if p.requires_grad]}]


def test_backbone_finetuning() -> None:
    found = []
    for make in (lambda: ours(OursWithBackbone), ByHandWithBackbone):
        torch.manual_seed(3)
        tuning = BackboneFinetuning(1, lambda epoch: 1.5, backbone_initial_lr=0.01, verbose=False)
        happened = fitted(make(), tuning, max_epochs=4)
        found.append(happened)
    assert_equal(*found)
