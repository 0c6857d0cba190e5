"""An MMEngine model in a user's own Trainer, next to the same settings under MMEngine's Runner, bit for bit.

Without accumulation, automatic optimization takes the same steps; a model with its own ``train_step`` or several
optimizers takes the same with it too.
"""

from __future__ import annotations

import importlib
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback
from torch.utils.data import DataLoader

from mm2pl.lightning import MMLightningModule
from mm2pl.registry import OPTIM_WRAPPER_CONSTRUCTORS
from tests.bridges import trainer
from tests.scenarios import Points, Scenario, accuracy, build, hexed, models, pair_constructor

pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("ignore")]

SGD = {"type": "SGD", "lr": 0.05, "momentum": 0.9, "weight_decay": 1e-4}
ADAMW = {"type": "AdamW", "lr": 0.01, "weight_decay": 0.05}
WARMUP = {"type": "LinearLR", "start_factor": 0.1, "by_epoch": False, "begin": 0, "end": 6}
PLATEAU = {"monitor": "accuracy", "rule": "greater", "patience": 0, "threshold": 1e3}
KEYS = {"custom_keys": {"net.4": {"lr_mult": 0.1}, "net.1": {"decay_mult": 0.0}}}
EPOCHS = 4

SCENARIOS = {
    "warm-up and steps": (
        "plain",
        {"optimizer": SGD},
        [WARMUP, {"type": "StepLR", "step_size": 2}],
    ),
    "paramwise, clip, converted cosine": (
        "plain",
        {"optimizer": ADAMW, "paramwise_cfg": KEYS, "clip_grad": {"max_norm": 0.5}},
        {"type": "CosineAnnealingLR", "by_epoch": True, "convert_to_iter_based": True},
    ),
    "clip by value, one-cycle": (
        "plain",
        {"optimizer": ADAMW, "clip_grad": {"type": "value", "clip_value": 0.02}},
        {"type": "OneCycleLR", "by_epoch": False, "eta_max": 0.02, "total_steps": 36},
    ),
    "plateau from the third epoch on": (
        "plain",
        {"optimizer": SGD},
        {"type": "ReduceOnPlateauLR", "begin": 2, **PLATEAU},
    ),
    "momentum": ("plain", {"optimizer": SGD}, {"type": "StepMomentum", "step_size": 2}),
    "own step, accumulation": (
        "doubled_loss",
        {"optimizer": SGD, "accumulative_counts": 4},
        {"type": "PolyLR", "by_epoch": False, "power": 0.9},
    ),
    "two updates per batch": ("own_step", {"optimizer": SGD}, [WARMUP]),
    "two optimizers": (
        "pair",
        {"generator": {"optimizer": ADAMW}, "discriminator": {"optimizer": SGD}},
        {"generator": [WARMUP], "discriminator": [{"type": "ExponentialLR", "gamma": 0.5}]},
    ),
}


@pytest.fixture(autouse=True)
def _constructors_that_mmengine_had() -> Any:
    """Take back the constructor that a run with two optimizers registers in MMEngine."""
    yield
    registry = importlib.import_module("mmengine.registry").OPTIM_WRAPPER_CONSTRUCTORS
    registry._module_dict.pop("PairConstructor", None)


def batches(size: int = 70) -> DataLoader:
    return DataLoader(Points(size), batch_size=8)


def theirs(name: str, wrapper: Any, schedule: Any, folder: str) -> tuple[dict[str, list], Any]:
    hook = importlib.import_module("mmengine.hooks").Hook

    class Seed(hook):
        def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
            if batch_idx == 0:
                torch.manual_seed(3)

    book: dict[str, list] = {
        key: [] for key in ("loss", "lr", "momentum", "metrics", "place", "validated_at")
    }
    scenario = Scenario(
        optim_wrapper=wrapper,
        param_scheduler=schedule,
        train_cfg={"by_epoch": True, "max_epochs": EPOCHS},
        model=name,
        custom_hooks=[Seed()],
    )
    runner = build("mmengine", scenario, folder, book, train_dataloader=batches())
    runner.train()
    return {key: book[key] for key in ("loss", "lr", "momentum")}, runner.model.state_dict()


def ours(name: str, wrapper: Any, schedule: Any) -> tuple[dict[str, list], Any]:
    if name == "pair":
        wrapper = {**wrapper, "constructor": "PairConstructor"}
        OPTIM_WRAPPER_CONSTRUCTORS.register_module(
            name="PairConstructor", module=pair_constructor("mm2pl"), force=True
        )
    torch.manual_seed(11)
    module = MMLightningModule(
        models("mm2pl")[name](),
        optim_wrapper=wrapper,
        param_scheduler=schedule,
        val_evaluator={"type": accuracy("mm2pl")},
    )
    book: dict[str, list] = {"loss": [], "lr": [], "momentum": []}

    class Watch(Callback):
        def on_train_batch_start(self, trainer: Any, module: Any, batch: Any, index: int) -> None:
            if index == 0:
                torch.manual_seed(3)
            book["lr"].append(hexed(module.optim_wrapper.get_lr()))
            book["momentum"].append(hexed(module.optim_wrapper.get_momentum()))

        def on_train_batch_end(
            self, trainer: Any, module: Any, outputs: Any, batch: Any, index: int
        ) -> None:
            book["loss"].append({key: float(value).hex() for key, value in outputs.items()})

    trainer(max_epochs=EPOCHS, callbacks=[Watch()]).fit(module, batches(), batches(30))
    return book, module.model.state_dict()


@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=SCENARIOS)
def test_a_users_trainer_takes_mmengines_steps(scenario: Any, tmp_path: Any) -> None:
    pytest.importorskip("mmengine")
    their_book, their_weights = theirs(*scenario, str(tmp_path))
    book, weights = ours(*scenario)
    assert len(their_book["loss"]) == EPOCHS * 9
    assert book == their_book
    for key, value in their_weights.items():
        assert torch.equal(weights[key], value), key
