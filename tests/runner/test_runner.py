"""Real runs through ``Runner`` on a real Trainer."""

from __future__ import annotations

import gc
import os
import re
from pathlib import Path

import pytest
import torch

from mm2pl.config import Config
from mm2pl.hooks import Hook, LoggerHook
from mm2pl.lightning import MMLightningModule
from mm2pl.lightning.assembly import Parts, made_by
from mm2pl.registry import MODELS, DefaultScope, Registry
from mm2pl.runner import EpochBasedTrainLoop, Runner
from tests.scenarios import Points, Scenario, assert_equal, build, record

SGD = {"optimizer": {"type": "SGD", "lr": 0.05, "momentum": 0.9}}
ITERS = {"by_epoch": False, "max_iters": 11, "val_interval": 4}
ENDLESS = {"type": "InfiniteSampler", "shuffle": True}

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


def fresh_book():
    return {key: [] for key in ("loss", "lr", "momentum", "metrics", "place", "validated_at")}


def note(name):
    def method(self, runner, *args, **kwargs):
        self.seen.append((name, runner.epoch, runner.iter))

    return method


Calls = type("Calls", (Hook,), {name: note(name) for name in Hook.stages})


def test_files_of_an_epoch_run(tmp_path):
    hooks = {
        "checkpoint": {
            "type": "CheckpointHook",
            "interval": 1,
            "max_keep_ckpts": 2,
            "save_best": "accuracy",
            "rule": "greater",
        }
    }
    runner = build(
        "mm2pl", Scenario(optim_wrapper=SGD, default_hooks=hooks), str(tmp_path), fresh_book()
    )
    runner.train()
    names = {path.name for path in tmp_path.iterdir()}
    assert {"epoch_2.pth", "epoch_3.pth", "last_checkpoint", runner.timestamp} <= names
    assert "epoch_1.pth" not in names
    assert len([name for name in names if name.startswith("best_accuracy_epoch_")]) == 1
    assert (tmp_path / runner.timestamp / "vis_data" / "scalars.json").is_file()
    assert runner.trainer.checkpoint_callback.best_model_path.startswith(str(tmp_path))


def test_log_lines_are_mmengines(tmp_path):
    runner = build(
        "mm2pl",
        Scenario(optim_wrapper=SGD, options={"log_level": "INFO"}),
        str(tmp_path),
        fresh_book(),
    )
    runner.train()
    text = (tmp_path / runner.timestamp / f"{runner.timestamp}.log").read_text()
    assert re.search(
        r"Epoch\(train\) \[1\]\[5/9\]  (base_)?lr: 5\.0000e-02  eta: .* loss: \d", text
    )
    assert re.search(r"Epoch\(val\) \[1\]\[4/4\]    accuracy: \d\.\d{4}", text)


@pytest.mark.parametrize(
    ("train_cfg", "sampler", "validated"),
    [
        (
            {"by_epoch": True, "max_epochs": 3, "val_begin": 2},
            {"type": "DefaultSampler", "shuffle": True},
            [(2, 18), (3, 27)],
        ),
        (ITERS, ENDLESS, [(0, 4), (0, 8), (0, 11)]),
    ],
    ids=["epochs", "iterations"],
)
def test_validation_schedule(train_cfg, sampler, validated, tmp_path):
    scenario = Scenario(optim_wrapper=SGD, train_cfg=train_cfg, sampler=sampler)
    assert record("mm2pl", scenario, str(tmp_path))["validated_at"] == validated


@pytest.mark.parametrize(
    ("train_cfg", "sampler", "stop_at"),
    [
        (
            {"by_epoch": True, "max_epochs": 4},
            {"type": "DefaultSampler", "shuffle": True},
            "epoch_2.pth",
        ),
        ({"by_epoch": False, "max_iters": 24, "val_interval": 5}, ENDLESS, "iter_10.pth"),
        (
            {"by_epoch": False, "max_iters": 24, "val_interval": 5},
            {"type": "DefaultSampler", "shuffle": True},
            "iter_15.pth",
        ),
    ],
    ids=["epochs", "iterations", "iterations over a finite sampler"],
)
@pytest.mark.parametrize("workers", [0, 2])
def test_resumed_run_ends_with_the_same_bits(train_cfg, sampler, stop_at, workers, tmp_path):
    by_epoch = train_cfg["by_epoch"]
    checkpoint = {"type": "CheckpointHook", "interval": 1 if by_epoch else 5, "by_epoch": by_epoch}
    scenario = Scenario(
        optim_wrapper={**SGD, "accumulative_counts": 4},
        train_cfg=train_cfg,
        sampler=sampler,
        workers=workers,
        param_scheduler=[{"type": "LinearLR", "start_factor": 0.1, "by_epoch": False, "end": 20}],
        default_hooks={"checkpoint": checkpoint},
        custom_hooks=[{"type": "EMAHook", "momentum": 0.1}],
    )
    whole = record("mm2pl", scenario, str(tmp_path / "whole"))
    scenario.options = {"resume": True, "load_from": str(tmp_path / "whole" / stop_at)}
    rest = record("mm2pl", scenario, str(tmp_path / "rest"))
    done = len(whole["loss"]) - len(rest["loss"])
    assert done == {"epoch_2.pth": 18, "iter_10.pth": 10, "iter_15.pth": 15}[stop_at]
    for key in ("loss", "lr", "momentum", "place"):
        whole[key] = whole[key][done:]
    for key in ("metrics", "validated_at"):
        whole[key] = whole[key][-len(rest[key]) :]
    assert_equal(rest, whole)


def test_hooks_see_mmengines_order_in_an_epoch_run(tmp_path):
    calls = Calls()
    calls.seen = []
    scenario = Scenario(
        optim_wrapper=SGD, train_cfg={"by_epoch": True, "max_epochs": 1}, custom_hooks=[calls]
    )
    build("mm2pl", scenario, str(tmp_path), fresh_book()).train()
    names = [name for name, *_ in calls.seen if not name.endswith("_iter")]
    assert names == [
        "before_run", "before_train", "before_train_epoch", "after_train_epoch", "before_save_checkpoint",
        "before_val", "before_val_epoch", "after_val_epoch", "after_val", "after_train", "after_run",
    ]  # fmt: skip
    assert ("after_train_epoch", 0, 9) in calls.seen
    assert ("before_val", 1, 9) in calls.seen


class Told(Hook):
    """Count the iterations that it is told of."""

    count = 0

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.count += 1


def leave(runner, told):
    runner._hooks = [hook for hook in runner.hooks if hook is not told]


def leave_in_place(runner, told):
    runner._hooks.remove(told)


def be_another(runner, told):
    told.after_train_iter = lambda *args, **kwargs: None


@pytest.mark.parametrize("change", [leave, leave_in_place, be_another])
@pytest.mark.parametrize(("point", "seen"), [("after_train_epoch", 9), ("before_train_iter", 4)])
def test_hooks_may_go_and_change_while_it_trains(tmp_path, change, point, seen):
    if change is be_another and point == "before_train_iter":
        seen = 9  # a method that is put on a hook within an epoch is seen at its end
    told, changed = Told(), []

    class Change(Hook):
        priority = "VERY_LOW"

    def once(self, runner, batch_idx=4, **kwargs):
        if batch_idx == 4 and not changed:
            changed.append(change(runner, told))

    setattr(Change, point, once)
    scenario = Scenario(
        optim_wrapper=SGD,
        train_cfg={"by_epoch": True, "max_epochs": 2},
        custom_hooks=[told, Change()],
    )
    build("mm2pl", scenario, str(tmp_path), fresh_book()).train()
    assert (told.count, len(changed)) == (seen, 1)


def test_a_default_hook_may_be_built_already(tmp_path):
    logger = LoggerHook(interval=3)
    scenario = Scenario(
        optim_wrapper=SGD,
        train_cfg={"by_epoch": True, "max_epochs": 1},
        default_hooks={"logger": logger},
    )
    runner = build("mm2pl", scenario, str(tmp_path), fresh_book())
    assert logger in runner.hooks
    assert runner.trainer.log_every_n_steps == 3
    runner.train()


def test_custom_run_iter_is_honoured(tmp_path):
    class Twice(EpochBasedTrainLoop):
        def run_iter(self, idx, data_batch):
            super().run_iter(idx, data_batch)
            super().run_iter(idx, data_batch)

    scenario = Scenario(optim_wrapper=SGD, train_cfg={"type": Twice, "max_epochs": 1})
    assert len(record("mm2pl", scenario, str(tmp_path))["loss"]) == 18


def test_val_and_test_return_metrics(tmp_path):
    scenario = Scenario(optim_wrapper=SGD)
    runner = build(
        "mm2pl", scenario, str(tmp_path), fresh_book(),
        test_cfg={}, test_evaluator=[], test_dataloader={"dataset": Points(5), "sampler": {"type": "DefaultSampler"}},
    )  # fmt: skip
    assert 0 <= runner.val()["accuracy"] <= 1


@pytest.mark.parametrize("stage", ["train", "val", "test"])
def test_a_stage_that_was_not_configured(stage, tmp_path):
    runner = Runner(
        model=torch.nn.Linear(1, 1),
        work_dir=str(tmp_path),
        log_level="ERROR",
        experiment_name=f"no-{stage}",
    )
    with pytest.raises(RuntimeError, match=rf"Runner\.{stage}\(\) needs {stage}_cfg"):
        getattr(runner, stage)()


def test_from_cfg_needs_model_and_work_dir():
    with pytest.raises(KeyError, match="the config has no 'work_dir'"):
        Runner.from_cfg(Config({"model": {"type": "M"}}))


def test_stop_training_ends_after_the_epoch(tmp_path):
    class Stop(Hook):
        def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
            runner.train_loop.stop_training = runner.iter >= 3

    book = record("mm2pl", Scenario(optim_wrapper=SGD, custom_hooks=[Stop()]), str(tmp_path))
    assert len(book["loss"]) == 9
    assert book["validated_at"] == [(1, 9)]


def test_checkpoint_is_plain_data(tmp_path):
    record("mm2pl", Scenario(optim_wrapper=SGD), str(tmp_path))
    checkpoint = torch.load(Path(tmp_path) / "epoch_3.pth", weights_only=True)
    assert {
        "meta",
        "state_dict",
        "message_hub",
        "optimizer",
        "pytorch-lightning_version",
        "loops",
    } <= checkpoint.keys()
    assert checkpoint["meta"]["epoch"] == 3
    assert checkpoint["meta"]["iter"] == 27
    assert all(not key.startswith("model.") for key in checkpoint["state_dict"])


@pytest.mark.parametrize(
    ("train_cfg", "message"),
    [
        (
            {"by_epoch": True, "max_epochs": 2, "val_interval": 0},
            "train_cfg.val_interval=0 → a number other than 0",
        ),
        (
            {"by_epoch": False, "max_iters": 9, "dynamic_intervals": [(4, 0)]},
            "a validation interval of 0 → at least 1 is needed",
        ),
    ],
    ids=["val_interval", "dynamic_intervals"],
)
def test_a_validation_interval_of_zero_is_refused(tmp_path, train_cfg, message):
    scenario = Scenario(optim_wrapper=SGD, train_cfg=train_cfg)
    with pytest.raises(ValueError, match=message):
        build("mm2pl", scenario, str(tmp_path), fresh_book()).train()


def test_a_work_dir_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"work_dir='.*file/run' cannot be written: Not a directory"):
        build("mm2pl", Scenario(optim_wrapper=SGD), str(tmp_path / "file" / "run"), fresh_book())


@pytest.mark.parametrize(
    ("arguments", "kept"),
    [
        ({}, {"optimizer", "param_schedulers"}),
        ({"save_optimizer": False}, {"param_schedulers"}),
        ({"save_param_scheduler": False}, {"optimizer"}),
        ({"save_optimizer": False, "save_param_scheduler": False}, set()),
    ],
    ids=["all", "no optimizer", "no schedules", "weights"],
)
def test_what_a_periodic_checkpoint_holds(tmp_path, arguments, kept):
    scenario = Scenario(
        optim_wrapper=SGD,
        param_scheduler={"type": "ExponentialLR", "gamma": 0.9},
        train_cfg={"by_epoch": True, "max_epochs": 1},
        default_hooks={"checkpoint": {"type": "CheckpointHook", "interval": 1, **arguments}},
    )
    build("mm2pl", scenario, str(tmp_path), fresh_book()).train()
    file = torch.load(tmp_path / "epoch_1.pth", weights_only=True)
    assert file.keys() & {"optimizer", "param_schedulers"} == kept
    assert {"meta", "state_dict", "message_hub"} <= file.keys()


def test_loaders_can_be_looked_at_before_the_run(tmp_path: Path) -> None:
    scenario = Scenario(optim_wrapper=SGD)
    runner = build("mm2pl", scenario, str(tmp_path), fresh_book())
    loader, evaluator = runner.train_dataloader, runner.val_evaluator
    assert len(loader) == 9
    assert runner.train_dataloader is loader
    assert (runner.iter, runner.epoch) == (0, 0)
    runner.train()
    assert runner.train_dataloader is loader
    assert runner.val_evaluator is evaluator
    assert runner.epoch == 3
    with pytest.raises(ValueError, match="test_dataloader"):
        _ = runner.test_dataloader


def test_runs_begun_in_one_second_have_names_of_their_own(tmp_path):
    scenario = Scenario(optim_wrapper=SGD, options={"experiment_name": None})
    runs = [build("mm2pl", scenario, str(tmp_path / str(i)), fresh_book()) for i in range(3)]
    assert len({run.timestamp for run in runs}) == 3
    assert len({id(run.visualizer) for run in runs}) == 3
    assert len({id(run.message_hub) for run in runs}) == 3


def test_without_a_default_scope_a_childs_build_starts_in_the_child(tmp_path, monkeypatch):
    monkeypatch.setattr(DefaultScope, "_instance_dict", {})
    child = Registry("model", parent=MODELS, scope="shapes", locations=[__name__])
    child.register_module("Circle", module=torch.nn.Identity)
    try:
        scenario = Scenario(optim_wrapper=SGD, options={"default_scope": None})
        run = build("mm2pl", scenario, str(tmp_path), fresh_book())
        assert run.default_scope is None
        assert isinstance(child.build({"type": "Circle"}), torch.nn.Identity)
    finally:
        MODELS.children.pop("shapes")


def with_batch_sampler(sampler):
    return torch.utils.data.DataLoader(Points(augment=True), batch_sampler=sampler)


def test_the_lr_is_scaled_by_the_batch_samplers_size(tmp_path):
    sampler = torch.utils.data.BatchSampler(range(64), batch_size=16, drop_last=False)
    scale = {"auto_scale_lr": {"enable": True, "base_batch_size": 8}}
    scenario = Scenario(
        optim_wrapper=SGD,
        options={**scale, "val_cfg": None, "val_dataloader": None, "val_evaluator": None},
    )
    runner = build(
        "mm2pl", scenario, str(tmp_path), fresh_book(), train_dataloader=with_batch_sampler(sampler)
    )
    runner.train()
    assert runner.optim_wrapper.param_groups[0]["lr"] == 0.1
    runner = build(
        "mm2pl",
        scenario,
        str(tmp_path),
        fresh_book(),
        train_dataloader=with_batch_sampler([[0, 1], [2, 3]]),
    )
    with pytest.raises(ValueError, match="needs the attribute batch_size"):
        runner.train()


def test_a_modules_own_transfer_stays(tmp_path):
    class Own(MMLightningModule):
        def transfer_batch_to_device(self, batch, device, dataloader_idx):
            return batch

    class OwnParts(Parts):
        def module(self, arguments):
            return Own(**arguments)

    with made_by(OwnParts()):
        runner = build("mm2pl", Scenario(optim_wrapper=SGD), str(tmp_path), fresh_book())
    assert runner.module.transfer_batch_to_device.__func__ is Own.transfer_batch_to_device


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="reads Linux's list of open files")
def test_runs_that_are_over_hold_no_file(tmp_path):
    def open_files():
        gc.collect()
        links = (os.path.realpath(link) for link in Path("/proc/self/fd").iterdir())
        return [path for path in links if path.startswith(str(tmp_path))]

    loggers = []
    for number in range(4):
        folder = str(tmp_path / str(number))
        runner = build("mm2pl", Scenario(optim_wrapper=SGD), folder, fresh_book())
        runner.train()
        loggers.append(runner.logger)
    del runner
    assert len(open_files()) <= 1  # what pytest has recorded of warnings may hold a run
    loggers[0].error("afterwards")
    assert Path(loggers[0].log_file).read_text().count("afterwards") == 1
    loggers[0].rest()
