"""What the Trainer may do with the optimizer, and how long schedules are in runs that steps or time end."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import (
    BatchSizeFinder,
    EarlyStopping,
    GradientAccumulationScheduler,
    LearningRateFinder,
    StochasticWeightAveraging,
)

from mm2pl.hooks import Hook
from mm2pl.lightning import MMDataModule, MMLightningModule
from mm2pl.optim import OptimWrapper, OptimWrapperDict
from tests.bridges import SGD, loader, module, trainer
from tests.scenarios import Points, accuracy, models

pytestmark = pytest.mark.filterwarnings(
    # Lightning's advice to users: no validation loader, few workers, few batches per log line.
    "ignore::lightning.fabric.utilities.warnings.PossibleUserWarning"
)

STEPS = [
    {"type": "LinearLR", "by_epoch": False},
    {"type": "PolyLR", "by_epoch": True},
    {"type": "CosineAnnealingLR", "by_epoch": True, "convert_to_iter_based": True},
]


@pytest.mark.parametrize(
    ("flags", "ends"),
    [
        ({"max_steps": 10, "max_epochs": -1}, [10, 2, 16]),
        ({"max_steps": 10, "max_epochs": None}, [10, 2, 16]),
        ({"max_steps": 5, "max_epochs": -1, "accumulate_grad_batches": 2}, [10, 2, 16]),
        ({"max_steps": 10, "max_epochs": 5}, [10, 5, 40]),
        ({"max_epochs": 2}, [16, 2, 16]),
    ],
    ids=str,
)
@pytest.mark.filterwarnings("ignore:scheduler.step.. was called before:UserWarning")
def test_schedules_last_as_long_as_the_run(flags: Any, ends: list[int]) -> None:
    bridge = module(param_scheduler=STEPS)
    trainer(**flags).fit(bridge, loader())
    assert [scheduler.end for scheduler in bridge.param_schedulers] == ends


@pytest.mark.parametrize("name", ["plain", "own_step"])
def test_a_run_that_time_ends(name: str) -> None:
    schedule = {"type": "StepLR", "step_size": 1, "gamma": 0.5}
    wrapper = {"optimizer": SGD, "accumulative_counts": 3}
    bridge = module(name, param_scheduler=schedule, optim_wrapper=wrapper)
    run = trainer(max_epochs=-1, max_time={"seconds": 0.5})
    run.fit(bridge, loader())
    assert run.global_step > 0
    assert bridge.param_schedulers[0].end > 10**8


@pytest.mark.parametrize(
    ("callback", "message"),
    [
        (GradientAccumulationScheduler({0: 2}), "set accumulative_counts in optim_wrapper"),
        (StochasticWeightAveraging(1e-2), "EMAHook with ema_type='StochasticWeightAverage'"),
        (LearningRateFinder(), "leave it out"),
        (type("Finder", (LearningRateFinder,), {})(), "leave it out"),
    ],
    ids=lambda case: type(case).__name__,
)
def test_callbacks_that_a_model_with_its_own_step_cannot_follow(callback, message) -> None:
    name = "LearningRateFinder" if "Finder" in type(callback).__name__ else type(callback).__name__
    with pytest.raises(ValueError, match=f"{name} → OwnStep .*{message}"):
        trainer(callbacks=[callback]).fit(module("own_step"), loader())


def test_a_callback_and_the_wrapper_cannot_both_accumulate() -> None:
    run = trainer(callbacks=[GradientAccumulationScheduler({0: 2})])
    message = r"GradientAccumulationScheduler\(\{0: 2\}\) .* accumulative_counts=3 both say it"
    with pytest.raises(ValueError, match=message):
        run.fit(module(optim_wrapper={"optimizer": SGD, "accumulative_counts": 3}), loader())


def test_a_loss_can_be_monitored_though_the_epoch_has_no_log_point() -> None:
    run = trainer(
        max_epochs=4, callbacks=[EarlyStopping("loss", patience=1, min_delta=1e9)], logger=False
    )
    run.fit(module(), loader())
    assert run.current_epoch == 2


def test_the_batch_size_finder_changes_the_config() -> None:
    points = {"dataset": Points(64), "collate_fn": {"type": "default_collate"}}
    sampler = {"type": "DefaultSampler", "shuffle": True}
    train = {**points, "batch_size": 4, "sampler": sampler}
    data = MMDataModule(train_dataloader=train, val_dataloader=loader(16))
    run = trainer(callbacks=[BatchSizeFinder(max_trials=3, steps_per_trial=1)], max_epochs=1)
    run.fit(module(), datamodule=data)
    assert (data.batch_size, run.global_step) == (8, 8)


def test_a_built_loaders_batch_size_stays() -> None:
    data = MMDataModule(train_dataloader=loader())
    assert data.batch_size == 8
    with pytest.raises(ValueError, match="batch_size=4: train_dataloader has no batch_size to set"):
        data.batch_size = 4


def test_samples_in_a_list_stay_plain() -> None:
    samples = [Points(4)[index] for index in range(4)]
    data = MMDataModule(train_dataloader={"dataset": samples, "batch_size": 2})
    assert {type(sample) for sample in data.configs["train"].dataset} == {dict}


def test_several_loaders_and_an_evaluator() -> None:
    bridge = module(val_evaluator={"type": accuracy("mm2pl")})
    with pytest.raises(ValueError, match="2 val loaders and one val_evaluator → give one loader"):
        trainer().fit(bridge, loader(), [loader(16), loader(24)])


def test_several_loaders_without_an_evaluator() -> None:
    run = trainer()
    run.fit(module(), loader(), [loader(16), loader(24)])
    assert {"val_loss/dataloader_idx_0", "val_loss/dataloader_idx_1"} <= {*run.callback_metrics}
    assert [len(batches) for batches in run.predict(module(), [loader(16), loader(24)])] == [2, 3]


def test_losses_are_logged_undivided_by_the_accumulation_window() -> None:
    """The first window's weights are the initial ones, so its losses are the same with and without."""
    seen: dict[int, list[float]] = {1: [], 4: []}
    for window, losses in seen.items():

        class Watch(Hook):
            def after_train_iter(self, runner: Any, batch_idx: int, data_batch=None, outputs=None):
                losses.append(outputs["loss"].item())  # noqa: B023

        run = trainer(
            max_steps=1, accumulate_grad_batches=window, callbacks=[Watch()], log_every_n_steps=1
        )
        run.fit(module(), loader())
        assert run.callback_metrics["loss"].item() == losses[-1]
    assert len(seen[4]) == 4
    assert seen[4][0] == seen[1][0]
    assert min(seen[4]) > 1


class ByName(models("mm2pl")["plain"]):
    """Takes its one optimizer wrapper from a dict, as MMagic's inpaintors do."""

    def train_step(self, data: Any, optim_wrapper: Any) -> Any:
        return super().train_step(data, optim_wrapper["net"])


def test_a_dict_of_one_optimizer_wrapper() -> None:
    alone = module()
    trainer(max_epochs=1).fit(alone, loader())
    torch.manual_seed(3)
    model = ByName()
    wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=SGD["lr"]))
    named = MMLightningModule(model, optim_wrapper=OptimWrapperDict(net=wrapper))
    trainer(max_epochs=1).fit(named, loader())
    assert all(map(torch.equal, model.parameters(), alone.model.parameters()))
