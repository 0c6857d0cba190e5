"""Schedules of an imported module, under a user's own Trainer."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch import Callback

from mm2pl.lightning import MMLightningModule
from tests.bridges import loader, module, trainer
from tests.scenarios import accuracy

pytestmark = pytest.mark.filterwarnings(
    # Lightning's advice to users: few workers, few batches per log line.
    "ignore::lightning.fabric.utilities.warnings.PossibleUserWarning"
)


@pytest.mark.parametrize(
    ("span", "halved"),
    [({}, 4), ({"begin": 2}, 3), ({"begin": 2, "end": 4}, 1), ({"end": 4}, 2)],
    ids=str,
)
def test_a_plateau_schedule_counts_epochs(span: dict[str, int], halved: int) -> None:
    """Six validations, all falling short of the first one that is within ``begin`` and ``end``."""
    plateau = {
        **{"type": "ReduceOnPlateauLR", "monitor": "accuracy", "rule": "greater"},
        **{"patience": 0, "threshold": 1000.0, "factor": 0.5, **span},
    }
    bridge = module(param_scheduler=plateau, val_evaluator={"type": accuracy("mm2pl")})
    trainer(max_epochs=6, num_sanity_val_steps=2).fit(bridge, loader(), loader(16))
    assert bridge.optim_wrapper.get_lr() == {"lr": [0.1 / 2**halved]}


def test_optimizer_and_schedules_of_torch_are_taken() -> None:
    bridge = module()
    optimizer = torch.optim.SGD(bridge.model.parameters(), lr=0.8)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.5)
    other = MMLightningModule(bridge.model, optim_wrapper=optimizer, param_scheduler=schedule)
    trainer(max_epochs=3).fit(other, loader())
    assert other.lr == 0.8 * 0.5**3


def test_lightning_steps_nothing_under_manual_optimization() -> None:
    model = module("own_step").model
    optimizer = torch.optim.SGD(model.parameters(), lr=0.8)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, step_size=1)
    bridge = MMLightningModule(model, optim_wrapper=optimizer, param_scheduler=schedule)
    with pytest.raises(ValueError, match=r"Lightning steps none under manual .* → give its dict"):
        trainer().fit(bridge, loader())


class Rates(pl.Callback):
    """Write down what each iteration trains with; save after each epoch and at the end, if asked to."""

    def __init__(self, folder: Any = None) -> None:
        self.seen: list[Any] = []
        self.folder = folder

    def on_train_batch_start(self, trainer: Any, *_: Any) -> None:
        group = trainer.optimizers[0].param_groups[0]
        self.seen.append((group["lr"], group["momentum"]))

    def on_train_epoch_end(self, trainer: Any, *_: Any) -> None:
        if self.folder:
            trainer.save_checkpoint(self.folder / f"{len(self.seen)}.ckpt")

    def on_train_end(self, trainer: Any, *_: Any) -> None:
        self.on_train_epoch_end(trainer)


ITERS = {"by_epoch": False}
WARMUP = {"type": "LinearLR", "start_factor": 0.1, "end": 5, **ITERS}
COSINE = {"type": "CosineAnnealingLR", "eta_min": 1e-3}
PLANS: dict[str, Any] = {
    "cosine": [COSINE],
    "warm-up, then cosine by iteration": [WARMUP, {**COSINE, "begin": 5, **ITERS}],
    "steps and poly": [
        {"type": "MultiStepLR", "milestones": [1, 2], "gamma": 0.3},
        {"type": "PolyLR", "power": 0.9, **ITERS},
    ],
    "one cycle and momentum": [
        {"type": "OneCycleLR", "eta_max": 0.5, **ITERS},
        {"type": "CosineAnnealingMomentum", "eta_min": 0.5, **ITERS},
    ],
    "one with its own end": [{"type": "ExponentialLR", "gamma": 0.9, "end": 9, **ITERS}],
}
# 8 batches per epoch.
LENGTHS = {
    "epochs": (8, {"max_epochs": 1}, {"max_epochs": 3}),
    "shorter": (8, {"max_epochs": 3}, {"max_epochs": 2}),
    "steps": (11, {"max_steps": 11, "max_epochs": -1}, {"max_steps": 30, "max_epochs": -1}),
    "the same": (16, {"max_epochs": 3}, {"max_epochs": 3}),
}
SGD = {"optimizer": {"type": "SGD", "lr": 0.1, "momentum": 0.9}}


def rates(plan: Any, length: dict[str, Any], folder: Any = None, **fit: Any) -> list[Any]:
    book = Rates(folder)
    bridge = module(optim_wrapper=SGD, param_scheduler=plan)
    trainer(callbacks=[book], **length).fit(bridge, loader(), **fit)
    return book.seen


@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
@pytest.mark.parametrize(("done", "first", "other"), LENGTHS.values(), ids=LENGTHS)
def test_a_run_that_is_continued_follows_its_new_length(tmp_path, plan, done, first, other):
    rates(plan, first, tmp_path)
    rest = rates(plan, other, ckpt_path=tmp_path / f"{done}.ckpt")
    assert rest == rates(plan, other)[done:]


@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
def test_another_fit_of_the_same_trainer_follows_its_new_length(plan):
    book = Rates()
    bridge = module(optim_wrapper=SGD, param_scheduler=plan)
    once = trainer(callbacks=[book], max_epochs=1)
    once.fit(bridge, loader())
    once.fit_loop.max_epochs = 3
    once.fit(bridge, loader())
    assert book.seen[8:] == rates(plan, {"max_epochs": 3})[8:]


STACKS: dict[str, tuple[list[dict[str, Any]], int]] = {
    "epochs": ([{"type": "StepLR", "step_size": 1, "gamma": 0.5}], 1),
    "batches": ([{"type": "LinearLR", "begin": 2, "end": 6, "by_epoch": False}], 8),
    "both": ([{"type": "LinearLR", "end": 6, "by_epoch": False}, {"type": "StepLR", "step_size": 1}], 8),
    "plateau": ([{"type": "ReduceOnPlateauLR", "monitor": "val_loss"}], 1),
}  # fmt: skip


@pytest.mark.parametrize(("schedules", "ticks"), STACKS.values(), ids=STACKS)
def test_a_module_asks_its_schedules_as_torchs(schedules: Any, ticks: int) -> None:
    """``ticks``: after the first epoch of 8 batches, which is followed by a validation."""
    told: list[Any] = []

    class Asking(Callback):
        def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
            view = pl_module.lr_schedulers()
            told.append((view.get_last_lr(), view.base_lrs, view.last_epoch))

    bridge = module(param_scheduler=schedules)
    trainer(max_epochs=1, callbacks=[Asking()]).fit(bridge, loader())
    rates = [group["lr"] for group in bridge.optimizers().optimizer.param_groups]
    assert told == [(rates, [0.1], ticks)]


def test_a_validation_outside_of_fit_is_not_counted() -> None:
    plateau = {"type": "ReduceOnPlateauLR", "monitor": "val_loss", "patience": 0, "end": 9}
    plateau["threshold"] = 99.0
    bridge = module(param_scheduler=plateau)
    run = trainer(max_epochs=2)
    run.fit(bridge, loader(), loader(16))
    rate = bridge.lr
    run.validate(bridge, loader(16), verbose=False)
    assert bridge.lr == rate < 0.1
