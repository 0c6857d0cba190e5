"""Whoever says what trains, in any of Lightning's ways, gets what a module written by hand does."""

from __future__ import annotations

import sys
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningDataModule
from lightning.pytorch.callbacks import BatchSizeFinder, LearningRateFinder
from lightning.pytorch.cli import LightningCLI
from lightning.pytorch.tuner import Tuner
from torch import nn

from mm2pl.lightning import MMLightningModule
from tests.bridges import QUIET
from tests.conformance.subjects import (
    GAMMA,
    PAIRS,
    SGD,
    ByHand,
    Net,
    Record,
    assert_equal,
    by_hand,
    equal,
    fitted,
    loader,
    ours,
    trainer,
    weights,
)
from tests.scenarios import models, pair_constructor

pytestmark = [
    pytest.mark.filterwarnings("ignore::lightning.fabric.utilities.warnings.PossibleUserWarning"),
    pytest.mark.filterwarnings("ignore:You have overridden `transfer_batch_to_device`"),
    pytest.mark.filterwarnings("ignore:.*has a configure_optimizers of its own"),
    pytest.mark.filterwarnings("ignore:.*configure_optimizers` will be overridden by"),
    pytest.mark.filterwarnings("ignore:.*skipping optimizer configuration.*"),
    pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty"),
]


class OwnOptimizer:
    def configure_optimizers(self: Any) -> Any:
        optimizer = torch.optim.AdamW(self.model.parameters(), lr=0.01)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=40)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }


class OwnPlateau:
    def configure_optimizers(self: Any) -> Any:
        optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1)
        schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, "max", patience=0)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "monitor": "val_loss"},
        }


class Manual:
    """Its user drives the optimizer."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.automatic_optimization = False

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        module: Any = self
        optimizer = module.optimizers()
        optimizer.zero_grad()
        loss = module.model(**batch, mode="loss")["loss"]
        module.manual_backward(loss)
        module.clip_gradients(optimizer, 0.1, "norm")
        optimizer.step()
        return {"loss": loss.detach()}

    def configure_optimizers(self: Any) -> Any:
        return torch.optim.SGD(self.model.parameters(), lr=0.1)


class Toggled(Manual):
    """Two optimizers by turns."""

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        module: Any = self
        optimizer = module.optimizers()[batch_idx % 2]
        schedule = module.lr_schedulers()[batch_idx % 2]
        module.toggle_optimizer(optimizer)
        loss = module.model(**batch, mode="loss")["loss"]
        module.manual_backward(loss)
        optimizer.step()
        optimizer.zero_grad()
        module.untoggle_optimizer(optimizer)
        schedule.step()
        return {"loss": loss.detach()}

    def configure_optimizers(self: Any) -> Any:
        layers = [self.model.net[0], self.model.net[3]]
        optimizers = [torch.optim.SGD(layer.parameters(), lr=0.1) for layer in layers]
        make = torch.optim.lr_scheduler.ExponentialLR
        return optimizers, [make(each, 0.9) for each in optimizers]


class Stepping:
    """Overrides what steps, and without ``super()``."""

    def optimizer_step(self, epoch: int, batch_idx: int, optimizer: Any, closure: Any) -> None:
        if batch_idx % 2:
            closure()
        else:
            optimizer.step(closure=closure)

    def lr_scheduler_step(self, scheduler: Any, metric: Any) -> None:
        scheduler.step()

    def configure_gradient_clipping(self: Any, optimizer: Any, *_: Any, **__: Any) -> None:
        nn.utils.clip_grad_value_(self.parameters(), 0.01)


MIXINS = (OwnOptimizer, OwnPlateau, Manual, Toggled, Stepping)


@pytest.mark.parametrize("mixin", MIXINS, ids=lambda mixin: mixin.__name__)
@pytest.mark.parametrize("given", ["with optim_wrapper", "without"])
def test_own_way(mixin: type, given: str) -> None:
    options: Any = {}
    if given == "without":
        if mixin is Stepping:
            pytest.skip("it overrides no configure_optimizers")
        options = {"optim_wrapper": None, "param_scheduler": None}
    mine = ours(type("Mine", (mixin, MMLightningModule), {}), **options)
    theirs = by_hand(type("Theirs", (mixin, ByHand), {}))
    assert_equal(fitted(mine), fitted(theirs))


def test_schedules_and_optimizers_as_lightning_shows_them() -> None:
    class Shown(MMLightningModule):
        seen: list[Any]

        def on_train_epoch_start(self) -> None:
            schedule, optimizer = self.lr_schedulers(), self.optimizers()
            group = optimizer.param_groups[0]
            self.seen.append((schedule.get_last_lr(), schedule.last_epoch, schedule.base_lrs))
            assert group["lr"] == self.lr == schedule.get_last_lr()[0]
            assert optimizer.optimizer is self.optimizers(use_pl_optimizer=False)

    module = ours(Shown)
    module.seen = []
    fitted(module)
    lr = SGD["lr"]
    assert module.seen == [([lr * GAMMA**i], i, [lr]) for i in range(2)]


class Data(LightningDataModule):
    def train_dataloader(self) -> Any:
        return loader()

    def val_dataloader(self) -> Any:
        return loader(20)


class CliOurs(MMLightningModule):
    def __init__(self, width: int = 1) -> None:
        torch.manual_seed(3)
        super().__init__(Net())


class CliByHand(ByHand):
    def __init__(self, width: int = 1) -> None:
        torch.manual_seed(3)
        super().__init__()


OPTIMIZER = ["--optimizer=Adam", "--optimizer.lr=0.01", "--optimizer.betas=[0.8,0.9]"]
EXPONENTIAL = ["--lr_scheduler=ExponentialLR", "--lr_scheduler.gamma=0.5"]


@pytest.mark.parametrize("given", [OPTIMIZER, [*OPTIMIZER, *EXPONENTIAL]], ids=["optimizer", "+lr"])
def test_lightning_cli(given: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["train.py"])
    found: list[Any] = []
    for cls in (CliOurs, CliByHand):
        record = Record()
        cli = LightningCLI(
            cls,
            Data,
            args=["fit", *given],
            trainer_defaults={**QUIET, "max_epochs": 2, "callbacks": record},
            save_config_callback=None,
            seed_everything_default=False,
        )
        values = [value.tolist() for value in weights(cli.model)]
        found.append({"batches": record.batches, "weights": values, "lr": cli.model.lr})
    found[1]["lr"] = 0.01 * (0.25 if len(given) > 3 else 1)
    assert_equal(*found)


class Logged(Callback):
    """The logged loss of each batch."""

    monitor = "loss"

    def __init__(self) -> None:
        self.losses: list[float] = []

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        self.losses.append(trainer.callback_metrics["loss"].item())


class Delegating(MMLightningModule):
    """Leaves the step to ``super()`` and returns what it gets, as people write it."""

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        return super().training_step(batch, batch_idx)

    def validation_step(self, batch: Any, batch_idx: int) -> Any:
        outputs = super().validation_step(batch, batch_idx)
        self.log("val_mean", self.model(batch["inputs"]).mean(), batch_size=len(batch["labels"]))
        return outputs


class DelegatingByHand(ByHand):
    def validation_step(self, batch: Any, batch_idx: int) -> Any:
        super().validation_step(batch, batch_idx)
        self.log("val_mean", self.model(batch["inputs"]).mean(), batch_size=len(batch["labels"]))


def test_a_step_of_ones_own_logs_the_whole_loss_under_accumulation() -> None:
    found = []
    for module in (ours(Delegating), by_hand(DelegatingByHand)):
        logged = Logged()
        happened = fitted(module, logged, accumulate_grad_batches=4)
        found.append({**happened, "logged": logged.losses})
    assert_equal(*found)
    assert "val_mean" in found[0]["metrics"][0][1]


# Tuning


class Sized(LightningDataModule):
    def __init__(self) -> None:
        super().__init__()
        self.batch_size = 2

    def train_dataloader(self) -> Any:
        return loader(128, batch_size=self.batch_size, drop_last=True)

    def val_dataloader(self) -> Any:
        return loader(20, batch_size=min(self.batch_size, 4))


@pytest.mark.parametrize(
    ("kind", "mode"),
    [("plain", "power"), ("subclass", "power"), ("nested", "power"), ("plain", "binsearch")],
)
def test_the_batch_size_finder(kind: str, mode: str, tmp_path: Any) -> None:
    found = []
    for i, make in enumerate(PAIRS[kind]):
        data, module = Sized(), make()
        finder = BatchSizeFinder(mode, steps_per_trial=1, max_trials=2)
        run = trainer(max_epochs=1, callbacks=[finder], default_root_dir=tmp_path / str(i))
        run.fit(module, data)
        found.append((data.batch_size, weights(module)))
    assert found[0][0] == found[1][0] > 2
    assert equal(found[0][1], found[1][1])


@pytest.mark.parametrize("kind", PAIRS)
def test_the_tuner(kind: str, tmp_path: Any) -> None:
    found = []
    for i, make in enumerate(PAIRS[kind]):
        data, module = Sized(), make()
        run = trainer(max_epochs=1, default_root_dir=tmp_path / str(i))
        tuner = Tuner(run)
        tuner.scale_batch_size(module, datamodule=data, steps_per_trial=1, max_trials=2)
        rates = tuner.lr_find(
            module,
            loader(512),
            loader(20),
            min_lr=1e-4,
            max_lr=1.0,
            num_training=15,
            update_attr=False,
        )
        run.fit(module, data)
        found.append((rates.results["lr"], rates.suggestion(), data.batch_size, weights(module)))
    assert found[0][:3] == found[1][:3]
    assert equal(found[0][3], found[1][3])


@pytest.mark.parametrize("kind", ["plain", "subclass"])
def test_the_learning_rate_finder(kind: str, tmp_path: Any) -> None:
    found = []
    for i, make in enumerate(PAIRS[kind]):
        module = make()
        finder = LearningRateFinder(min_lr=1e-4, max_lr=1.0, num_training_steps=15)
        happened = fitted(module, finder, default_root_dir=tmp_path / str(i))
        found.append({**happened, "lr": finder.optimal_lr.suggestion()})
    assert_equal(*found)


# Two optimizers


def test_two_optimizers_and_max_steps() -> None:
    """Lightning counts the steps of both: 16 of them are 8 batches, over which the schedule must go."""
    registry = __import__("mm2pl.registry", fromlist=["x"]).OPTIM_WRAPPER_CONSTRUCTORS
    registry.register_module(name="PairConstructor", module=pair_constructor("mm2pl"), force=True)
    wrapper = {
        "constructor": "PairConstructor",
        "generator": {"optimizer": {"type": "SGD", "lr": 0.1}},
        "discriminator": {"optimizer": {"type": "SGD", "lr": 0.1}},
    }
    linear = {"type": "LinearLR", "start_factor": 1.0, "end_factor": 0.0, "by_epoch": False}
    module = MMLightningModule(models("mm2pl")["pair"](), wrapper, linear)
    rates: list[float] = []

    class Rates(Callback):
        def on_train_batch_start(self, trainer: Any, *_: Any) -> None:
            rates.append(trainer.optimizers[0].param_groups[0]["lr"])

    run = trainer(max_steps=16, max_epochs=-1, callbacks=[Rates()])
    run.fit(module, loader())
    assert len(rates) == 8
    assert rates == pytest.approx([0.1 * (1 - i / 7) for i in range(8)])
