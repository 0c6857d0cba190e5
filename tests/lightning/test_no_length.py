"""Data without a length, under a Trainer of the user's and in a run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback
from lightning.pytorch.utilities import CombinedLoader
from torch.utils.data import DataLoader

from mm2pl.errors import ArgumentError
from mm2pl.evaluator import BaseMetric
from mm2pl.hooks import CheckpointHook, EMAHook, IterTimerHook, LoggerHook, RuntimeInfoHook
from mm2pl.lightning import MMDataModule
from mm2pl.lightning.prediction_writer import PredictionWriter
from mm2pl.utils import ManagerMixin
from tests.bridges import loader, module, trainer
from tests.scenarios import Points, Scenario, build

pytestmark = pytest.mark.filterwarnings(
    "ignore::lightning.fabric.utilities.warnings.PossibleUserWarning"
)


class Stream(torch.utils.data.IterableDataset):
    def __init__(self, size: int) -> None:
        self.points = Points(size)

    def __iter__(self) -> Any:
        yield from (self.points[index] for index in range(len(self.points)))


def stream(size: int = 24) -> DataLoader:
    return DataLoader(Stream(size), batch_size=8)


class Batches:
    def __iter__(self) -> Any:
        return iter(loader(16))


class Count(BaseMetric):
    def process(self, data_batch: Any, data_samples: Any) -> None:
        self.results += data_samples

    def compute_metrics(self, results: list) -> dict:
        return {"samples": len(results)}


LOADERS: dict[str, Any] = {
    "stream": lambda: stream(16),
    "no data set": lambda: Batches(),
}


@pytest.mark.parametrize("held", LOADERS.values(), ids=LOADERS)
@pytest.mark.parametrize("interval", [1, 2])
def test_hooks_and_an_evaluator(tmp_path: Path, capsys: Any, held: Any, interval: int) -> None:
    hooks = [
        *(LoggerHook(interval=interval), IterTimerHook(), RuntimeInfoHook()),
        *(EMAHook(momentum=0.1, begin_iter=3), CheckpointHook(interval=1)),
    ]
    bridge = module(val_evaluator=Count(), test_evaluator=Count())
    flags = {"default_root_dir": str(tmp_path), "enable_checkpointing": True}
    run = trainer(max_epochs=2, callbacks=hooks, **flags)
    run.fit(bridge, stream(), held())
    assert bridge.eval_metrics == {"samples": 16}
    run.test(bridge, held(), verbose=False)
    assert bridge.eval_metrics == {"samples": 16}
    said = "".join(capsys.readouterr())
    shown = re.findall(r"Epoch\((?:train|val|test)\) *(?:\[\d\] *)?\[\d/\S\]", said)
    assert {line[-3:-1] for line in shown} >= {"/?"}
    assert "eta: -" not in said


def test_predictions_are_written(tmp_path: Path) -> None:
    writer = PredictionWriter(str(tmp_path / "out.pkl"))
    trainer(callbacks=[writer]).predict(module(), stream(16))
    assert len(writer.samples) == 16


def test_a_data_module_takes_them() -> None:
    bridge = module(val_evaluator=Count())
    trainer(max_epochs=1).fit(bridge, datamodule=MMDataModule(stream(), stream(16)))
    assert bridge.eval_metrics == {"samples": 16}


@pytest.mark.parametrize("off", [{"enable": False}, {"base_batch_size": 16}, {}], ids=str)
def test_a_rate_that_is_not_scaled_asks_for_no_batch_size(off: dict[str, Any]) -> None:
    class Both(type(module())):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            return super().training_step(batch["one"], batch_idx)

    bridge = Both(module().model, {"optimizer": {"type": "SGD", "lr": 0.5}}, auto_scale_lr=off)
    both = CombinedLoader({"one": loader(), "two": stream()}, "min_size")
    trainer(max_epochs=1, limit_train_batches=2).fit(bridge, both)
    assert bridge.lr == 0.5


def test_a_run_by_epochs_says_what_it_needs(tmp_path: Path) -> None:
    message = "an epoch of Stream, which has no length → .* → give the data set a __len__, or train"
    ManagerMixin._instance_dict.clear()
    runner = build(
        "mm2pl",
        Scenario(optim_wrapper={"optimizer": {"type": "SGD", "lr": 0.1}}),
        str(tmp_path),
        {key: [] for key in ("loss", "lr", "momentum", "metrics", "place", "validated_at")},
        train_dataloader=stream(),
    )
    with pytest.raises(TypeError, match=message):
        runner.train()


SPREAD: dict[str, dict[str, Any]] = {
    "linear": {"type": "LinearLR", "start_factor": 0.1},
    "poly": {"type": "PolyLR"},
    "cosine": {"type": "CosineAnnealingLR"},
    "one cycle": {"type": "OneCycleLR", "eta_max": 1.0},
}


@pytest.mark.parametrize("schedule", SPREAD.values(), ids=SPREAD)
@pytest.mark.parametrize(
    ("by_epoch", "flags", "message"),
    [
        (False, {}, r"iterations is not .*, in iterations, or Trainer\(max_steps="),
        (
            True,
            {"max_epochs": -1, "max_steps": 9},
            r"epochs is not .*, in epochs, or Trainer\(max_e",
        ),
    ],
    ids=["iterations", "epochs"],
)
def test_a_schedule_spread_over_an_unknown_length_is_refused(
    schedule: dict[str, Any], by_epoch: bool, flags: dict[str, int], message: str
) -> None:
    made = module(param_scheduler={**schedule, "by_epoch": by_epoch})
    with pytest.raises(
        ArgumentError, match=f"{schedule['type']} has no end, .* number of {message}"
    ):
        trainer(**flags).fit(made, stream())


SETTLED: dict[str, tuple[dict[str, Any], dict[str, int]]] = {
    "its end": ({**SPREAD["linear"], "end": 6}, {}),
    "the Trainer's steps": (SPREAD["linear"], {"max_steps": 6}),
    "a period": ({"type": "CosineAnnealingLR", "T_max": 6}, {}),
    "a factor for all of it": ({"type": "ConstantLR", "factor": 0.5}, {}),
    "steps": ({"type": "StepLR", "step_size": 2}, {}),
}


@pytest.mark.parametrize(("schedule", "flags"), SETTLED.values(), ids=SETTLED)
def test_a_schedule_whose_span_is_known_moves(
    schedule: dict[str, Any], flags: dict[str, int]
) -> None:
    made = module(param_scheduler={**schedule, "by_epoch": False})
    rates = []

    class Note(Callback):
        def on_train_batch_end(self, *_: Any) -> None:
            rates.append(made.lr)

    trainer(callbacks=[Note()], **flags).fit(made, stream())
    known, rates = rates, []
    trainer(callbacks=[Note()]).fit(made, loader(24))
    assert len(known) == 6
    # What a schedule does at its end, after the last batch, trains nothing.
    assert known[:-1] == pytest.approx(rates[:-1])


def test_only_a_length_turns_epochs_into_iterations() -> None:
    schedule = {**SPREAD["linear"], "end": 1, "convert_to_iter_based": True}
    with pytest.raises(ArgumentError, match=r"needs epoch_length, .* give by_epoch=False") as error:
        trainer().fit(module(param_scheduler=schedule), stream())
    assert "\n" not in str(error.value)
