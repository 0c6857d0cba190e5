"""MMEngine's optimizers and schedules in LightningModules of their user, compared with an MMLightningModule."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from lightning.pytorch import Callback, LightningModule
from lightning.pytorch.callbacks import (
    LearningRateMonitor,
    ModelCheckpoint,
    StochasticWeightAveraging,
)
from torch import nn

from mm2pl.checkpoint.reader import CheckpointError
from mm2pl.hooks import LoggerHook, ParamSchedulerHook
from mm2pl.lightning import MMLightningModule, configure_optimizers
from mm2pl.model import BaseModel
from mm2pl.optim import AmpOptimWrapper, OptimWrapper, OptimWrapperDict
from mm2pl.registry import OPTIM_WRAPPER_CONSTRUCTORS
from tests.bridges import loader, trainer

pytestmark = pytest.mark.filterwarnings(
    "ignore::lightning.fabric.utilities.warnings.PossibleUserWarning",
    "ignore:Swapping scheduler",
    "ignore:The dirpath has changed",
)

SGD = {"optimizer": {"type": "SGD", "lr": 0.1, "momentum": 0.9, "weight_decay": 0.01}}


def net() -> nn.Sequential:
    torch.manual_seed(5)
    layers = [nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 4)]
    return nn.Sequential(*layers)


class Rates(Callback):
    """Note the rates and momenta with which each batch is trained."""

    def __init__(self) -> None:
        self.seen: list[list[float]] = []

    def on_train_batch_start(self, trainer: Any, *args: Any) -> None:
        groups = [group for optimizer in trainer.optimizers for group in optimizer.param_groups]
        self.seen.append([group[key] for group in groups for key in ("lr", "momentum")])


class ByHand(LightningModule):
    """A module of Lightning's, with its optimizers from us."""

    def __init__(self, optim_wrapper: Any = SGD, param_scheduler: Any = None, **more: Any) -> None:
        super().__init__()
        self.net = net()
        self.settings = {"optim_wrapper": optim_wrapper, "param_scheduler": param_scheduler, **more}

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        return F.cross_entropy(self.net(batch["inputs"]), batch["labels"])

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val_loss", F.cross_entropy(self.net(batch["inputs"]), batch["labels"]))

    def configure_optimizers(self) -> Any:
        return configure_optimizers(self, **self.settings)


class Manual(ByHand):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.automatic_optimization = False

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        loss = super().training_step(batch, batch_idx)
        for optimizer in [self.optimizers()] if self.net is not None else []:
            optimizer.zero_grad()
            self.manual_backward(loss)
            optimizer.step()
        return loss


class Net(BaseModel):
    def __init__(self) -> None:
        super().__init__()
        self.net = net()

    def forward(self, inputs: Any, labels: Any = None, mode: str = "tensor") -> Any:
        return {"loss": F.cross_entropy(self.net(inputs), labels)}


def fitted(module: LightningModule, path: Any = None, **flags: Any) -> tuple[Any, list[Any]]:
    """Train 3 epochs of 8 batches; return weights and rates."""
    rates = Rates()
    callbacks = [rates, *flags.pop("callbacks", ())]
    run = trainer(max_epochs=flags.pop("max_epochs", 3), callbacks=callbacks, **flags)
    run.fit(module, loader(), loader(24), ckpt_path=path, weights_only=path and False)
    return [value.clone() for value in module.state_dict().values()], rates.seen


SCHEDULES: dict[str, Any] = {
    "none": None,
    "warm-up and steps": [
        {"type": "LinearLR", "start_factor": 0.1, "by_epoch": False, "end": 5},
        {"type": "MultiStepLR", "milestones": [1, 2], "gamma": 0.5},
    ],
    "to the end": [{"type": "CosineAnnealingLR", "by_epoch": False}, {"type": "PolyLR"}],
    "momentum": [{"type": "LinearMomentum", "by_epoch": False, "end": 9}, {"type": "StepLR", "step_size": 1}],
    "by epoch made by batch": {"type": "CosineAnnealingLR", "T_max": 3, "convert_to_iter_based": True},
    "one cycle": {"type": "OneCycleLR", "eta_max": 0.3, "total_steps": 24, "by_epoch": False},
    "plateau": {"type": "ReduceOnPlateauLR", "monitor": "val_loss", "patience": 0, "threshold": 9.0, "rule": "less"},
}  # fmt: skip
PARAMWISE = {**SGD, "paramwise_cfg": {"norm_decay_mult": 0.0, "bias_lr_mult": 2.0}}


@pytest.mark.parametrize("flags", [{}, {"accumulate_grad_batches": 3}], ids=["each", "every third"])
@pytest.mark.parametrize("schedules", SCHEDULES.values(), ids=SCHEDULES)
def test_equal_to_an_mm_lightning_module(schedules: Any, flags: Any) -> None:
    ours, theirs = ByHand(PARAMWISE, schedules), MMLightningModule(Net(), PARAMWISE, schedules)
    (weights, rates), (expected, seen) = fitted(ours, **flags), fitted(theirs, **flags)
    assert all(map(torch.equal, weights, expected))
    assert rates == seen
    assert schedules is None or any(rate != rates[0] for rate in rates)


@pytest.mark.parametrize("schedules", SCHEDULES.values(), ids=SCHEDULES)
def test_manual_optimization_ticks_the_same(schedules: Any) -> None:
    (weights, rates), (expected, seen) = (fitted(kind(SGD, schedules)) for kind in (Manual, ByHand))
    assert all(map(torch.equal, weights, expected))
    assert rates == seen


@pytest.mark.parametrize("every", [{"every_n_train_steps": 3}, {"every_n_epochs": 1}], ids=str)
@pytest.mark.parametrize(
    "flags", [{}, {"accumulate_grad_batches": 2}], ids=["each", "every second"]
)
@pytest.mark.parametrize("schedules", list(SCHEDULES.values())[1:], ids=list(SCHEDULES)[1:])
def test_a_resumed_fit_ends_like_one_that_was_not_stopped(
    tmp_path: Path, schedules: Any, flags: Any, every: Any
) -> None:
    def fit(folder: str, path: Any = None) -> tuple[Any, list[Any]]:
        files = {"dirpath": tmp_path / folder, "filename": "{step}", "save_top_k": -1, **every}
        kept = {"enable_checkpointing": True, **flags}
        return fitted(ByHand(SGD, schedules), path, callbacks=[ModelCheckpoint(**files)], **kept)

    weights, rates = fit("whole")
    written = sorted((tmp_path / "whole").iterdir(), key=lambda f: int(f.stem.split("=")[1]))
    # Of a file from within an epoch, Lightning takes the data of that epoch from its beginning: the rates go on.
    middle = written[0]
    step = int(middle.stem.split("=")[1]) * flags.get("accumulate_grad_batches", 1)
    again, seen = fit("resumed", middle)
    assert seen == rates[step:]
    if "every_n_epochs" in every:
        assert all(map(torch.equal, again, weights))


@pytest.mark.filterwarnings("ignore:Checkpoint directory")
def test_a_file_with_other_schedules_is_refused(tmp_path: Path) -> None:
    kept = {"callbacks": [ModelCheckpoint(tmp_path, save_last=True)], "enable_checkpointing": True}
    fitted(ByHand(SGD, SCHEDULES["plateau"]), **kept)
    with pytest.raises(CheckpointError, match="states of 1 schedules, and param_scheduler makes 2"):
        fitted(ByHand(SGD, SCHEDULES["warm-up and steps"]), tmp_path / "last.ckpt", **kept)


def test_beside_hooks_of_mmengine() -> None:
    hooks = [ParamSchedulerHook(), LoggerHook(interval=4)]
    for callbacks in ([LoggerHook(interval=4)], hooks):
        module = ByHand(SGD, SCHEDULES["warm-up and steps"])
        assert (
            fitted(module, callbacks=callbacks)[1]
            == fitted(ByHand(SGD, SCHEDULES["warm-up and steps"]))[1]
        )


def test_what_lightning_sees(tmp_path: Path) -> None:
    monitor = LearningRateMonitor()
    from lightning.pytorch.loggers import CSVLogger

    module = ByHand(SGD, SCHEDULES["warm-up and steps"])
    fitted(module, callbacks=[monitor], logger=CSVLogger(tmp_path), log_every_n_steps=1)
    assert monitor.lrs["lr-SGD"][-1] == module.lr_schedulers().get_last_lr()[0]


def test_a_second_fit_begins_anew_and_another_module_is_left_alone() -> None:
    schedules = SCHEDULES["to the end"]
    run = trainer(max_epochs=1, callbacks=[rates := Rates()])
    for module in (ByHand(SGD, schedules), ByHand(SGD, None)):
        run.fit_loop.epoch_progress.reset()
        run.fit(module, loader(), loader(24))
    first, second = rates.seen[:8], rates.seen[8:]
    assert len({tuple(rate) for rate in first}) == 8
    assert {tuple(rate) for rate in second} <= {(0.1, 0.9)}


def test_weight_averaging_takes_over() -> None:
    averaging = StochasticWeightAveraging(0.01, swa_epoch_start=1, annealing_epochs=1)
    _, rates = fitted(ByHand(SGD, {"type": "PolyLR"}), callbacks=[averaging])
    assert rates[-1] == [0.01, 0.9]


def test_without_a_trainer() -> None:
    optimizers, configs = configure_optimizers(
        ByHand(), SGD, {"type": "LinearLR", "start_factor": 0.5}
    )
    assert optimizers[0].param_groups[0]["lr"] == 0.05
    assert configs[0]["scheduler"].base_lrs == [0.1]


def test_a_part_of_the_module() -> None:
    class Half(ByHand):
        def configure_optimizers(self) -> Any:
            return configure_optimizers(self, SGD, model=self.net[3])

    weights, _ = fitted(Half())
    assert torch.equal(weights[0], net()[0].weight)
    assert not torch.equal(weights[-1], net()[3].bias)


def test_auto_scale_lr() -> None:
    scaled = ByHand(SGD, auto_scale_lr={"enable": True, "base_batch_size": 16})
    assert fitted(scaled)[1][0] == [0.05, 0.9]


class Two(Manual):
    """Two optimizers, made by a constructor."""

    def training_step(self, batch: Any, batch_idx: int) -> None:
        loss = ByHand.training_step(self, batch, batch_idx)
        for optimizer in self.optimizers():
            optimizer.zero_grad()
        self.manual_backward(loss)
        for optimizer in self.optimizers():
            optimizer.step()


class PerLayer:
    """An optimizer for the first and one for the last layer."""

    def __init__(self, optim_wrapper_cfg: Any, paramwise_cfg: Any = None) -> None:
        self.lr = optim_wrapper_cfg["lr"]

    def __call__(self, model: Any) -> OptimWrapperDict:
        parts = {"first": model.net[0], "last": model.net[3]}
        made = {
            name: OptimWrapper(torch.optim.SGD(part.parameters(), lr=self.lr, momentum=0.9))
            for name, part in parts.items()
        }
        return OptimWrapperDict(**made)


def test_two_optimizers_of_a_constructor_with_schedules_of_their_own() -> None:
    OPTIM_WRAPPER_CONSTRUCTORS.register_module(module=PerLayer, force=True)
    schedules = {
        "first": [{"type": "StepLR", "step_size": 1, "gamma": 0.5}],
        "last": [{"type": "ExponentialLR", "gamma": 0.5, "by_epoch": False}],
    }
    _, rates = fitted(Two({"constructor": "PerLayer", "lr": 0.1}, schedules), max_epochs=2)
    assert [rate[0] for rate in rates] == [0.1] * 8 + [0.05] * 8
    assert [rate[2] for rate in rates] == pytest.approx([0.1 * 0.5**n for n in range(16)])


REFUSED: dict[str, tuple[Any, str]] = {
    "accumulation": ({**SGD, "accumulative_counts": 4}, r"accumulative_counts=4 .* → Trainer\(accumulate_grad_b"),
    "clipping": ({**SGD, "clip_grad": {"max_norm": 2}}, r"clip_grad=.* → Trainer\(gradient_clip_val=2\)"),
    "precision": (AmpOptimWrapper, r"type='AmpOptimWrapper' .* → type='OptimWrapper', and Trainer\(precis"),
}  # fmt: skip


@pytest.mark.parametrize(("given", "message"), REFUSED.values(), ids=REFUSED)
def test_what_the_trainer_does_is_refused(given: Any, message: str) -> None:
    module = ByHand()
    if given is AmpOptimWrapper:
        given = object.__new__(AmpOptimWrapper)
        vars(given).update(
            optimizer=torch.optim.SGD(module.parameters()),
            base_param_settings=None,
            _accumulative_counts=1,
            clip_grad_kwargs={},
        )
    with pytest.raises(ValueError, match=message):
        configure_optimizers(module, given)
