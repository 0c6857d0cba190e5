from __future__ import annotations

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch.utils.data import DataLoader

from mm2pl.hooks import Hook
from mm2pl.hooks.stages import LIGHTNING_POINTS
from mm2pl.run.points import STAGES, methods_by_point, overridden_stages


class Generic(Hook):
    def _before_iter(self, runner, batch_idx, data_batch=None, mode="train"):
        pass


class Duck:
    priority = 50

    def after_val(self, runner):
        pass


def patched() -> Hook:
    hook = Hook()
    hook.after_run = lambda runner: None
    return hook


class Mixin:
    def before_run(self, runner):
        pass


@pytest.mark.parametrize(
    ("hook", "points"),
    [
        pytest.param(Hook(), [], id="none"),
        pytest.param(
            Generic(), ["before_train_iter", "before_val_iter", "before_test_iter"], id="generic"
        ),
        pytest.param(Duck(), ["after_val"], id="duck"),
        pytest.param(patched(), ["after_run"], id="patched-instance"),
        pytest.param(type("A", (Mixin, Hook), {})(), ["before_run"], id="mixin-first"),
        pytest.param(type("B", (Hook, Mixin), {})(), [], id="mixin-behind-hook"),
        pytest.param(type("C", (Generic,), {"after_test": Duck.after_val})(), None, id="inherited"),
    ],
)
def test_overridden_stages(hook, points):
    expected = (
        ["before_train_iter", "before_val_iter", "before_test_iter", "after_test"]
        if points is None
        else points
    )
    assert overridden_stages(hook) == expected


def test_every_stage_exists_in_lightning_and_every_point_is_reached():
    assert all(callable(getattr(Callback, stage, None)) for stage in LIGHTNING_POINTS)
    assert {point for points in LIGHTNING_POINTS.values() for point in points} == set(STAGES)


def test_idle_points_are_absent():
    assert list(methods_by_point([Hook(), Generic()])) == [
        "before_train_iter",
        "before_val_iter",
        "before_test_iter",
    ]


class Linear(LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(2, 1)

    def training_step(self, batch, batch_idx):
        return {"loss": self.layer(batch).sum()}

    def validation_step(self, batch, batch_idx):
        self.log("acc", batch.mean() * 0 + 0.5)
        return [batch]

    test_step = validation_step

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def loader(n: int = 4) -> DataLoader:
    return DataLoader(torch.ones(n, 2), batch_size=2)


def recorder(name: str, log: list, **attributes) -> Hook:
    def record(point):
        def method(self, runner, *args, **kwargs):
            log.append((name, point, *args, *kwargs.values()))

        return method

    return type(name, (Hook,), {point: record(point) for point in STAGES} | attributes)()


def fit(tmp_path, *callbacks, **kwargs) -> Trainer:
    settings = {
        "max_epochs": 1,
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "accelerator": "cpu",
        **kwargs,
    }
    trainer = Trainer(default_root_dir=tmp_path, callbacks=list(callbacks), **settings)
    trainer.fit(Linear(), loader(), loader(2))
    return trainer


def test_a_hook_in_a_plain_trainer_sees_mmengines_order(tmp_path):
    log: list = []
    trainer = fit(tmp_path, recorder("A", log))
    assert [entry[1] for entry in log] == [
        "before_run",
        "before_train",
        "before_train_epoch",
        "before_train_iter",
        "after_train_iter",
        "before_train_iter",
        "after_train_iter",
        "after_train_epoch",
        "before_val",
        "before_val_epoch",
        "before_val_iter",
        "after_val_iter",
        "after_val_epoch",
        "after_val",
        "after_train",
        "after_run",
    ]
    arguments = {point: args for _, point, *args in log}
    assert arguments["before_train_iter"][0] == 1
    assert set(arguments["after_train_iter"][2]) == {"loss"}
    assert torch.equal(arguments["after_val_iter"][2][0], torch.ones(2, 2))
    assert arguments["after_val_epoch"] == [{"acc": 0.5}]

    log.clear()
    trainer.test(dataloaders=loader(2), verbose=False, ckpt_path=None, model=trainer.model)
    assert [entry[1] for entry in log] == [
        "before_run",
        "before_test",
        "before_test_epoch",
        "before_test_iter",
        "after_test_iter",
        "after_test_epoch",
        "after_test",
        "after_run",
    ]


def test_several_hooks_run_by_priority_at_each_point_whatever_is_between_them(tmp_path):
    log: list = []
    late, early = recorder("Late", log, priority="LOW"), recorder("Early", log, priority=10)
    fit(tmp_path, late, Callback(), early, limit_val_batches=0)
    at_the_end = [entry[:2] for entry in log][-8:-4]
    assert at_the_end == [
        ("Early", "after_train_iter"),
        ("Late", "after_train_iter"),
        ("Early", "after_train_epoch"),
        ("Late", "after_train_epoch"),
    ]


def test_an_epoch_cut_short_still_ends(tmp_path):
    log: list = []
    fit(tmp_path, recorder("A", log), max_steps=1, limit_val_batches=0)
    points = [entry[1] for entry in log]
    assert points.count("after_train_epoch") == points.count("before_train_epoch") == 1


def test_sanity_checks_reach_no_hook(tmp_path):
    log: list = []
    fit(tmp_path, recorder("A", log), num_sanity_val_steps=1)
    assert [entry[1] for entry in log].count("before_val") == 1


def test_a_driven_hook_leaves_lightnings_stages_alone(tmp_path):
    log: list = []
    fit(tmp_path, recorder("A", log, driven=True))
    assert log == []


def test_checkpoints_pass_through_the_hooks(tmp_path):
    class Mark(Hook):
        def before_save_checkpoint(self, runner, checkpoint):
            checkpoint["mark"] = 1

        def after_load_checkpoint(self, runner, checkpoint):
            self.seen = checkpoint["mark"]

    hook = Mark()
    trainer = fit(tmp_path, hook)
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    assert torch.load(tmp_path / "a.ckpt", weights_only=True)["mark"] == 1
    trainer.fit_loop.max_epochs = 2
    trainer.fit(Linear(), loader(), loader(2), ckpt_path=tmp_path / "a.ckpt")
    assert hook.seen == 1
