"""A Trainer that ends a run before its planned end: where it stopped is saved, and a resume goes on exactly there."""

from __future__ import annotations

import copy
import os
from typing import Any

import pytest
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import EarlyStopping

from mm2pl.errors import ArgumentError
from mm2pl.hooks import CheckpointHook
from mm2pl.optim import OptimWrapper
from mm2pl.runner import IterBasedTrainLoop
from tests.bridges import loader, module, trainer
from tests.lightning.test_resume import SGD, assert_tail, resumed
from tests.scenarios import Scenario, build, record

pytestmark = pytest.mark.filterwarnings("ignore")

EPOCHS = {"by_epoch": True, "max_epochs": 3}  # of 9 batches
ITERS = {"by_epoch": False, "max_iters": 23, "val_interval": 7}
BY_EPOCH = {"type": "CheckpointHook", "interval": 1}
NEVER = {"type": "CheckpointHook", "interval": -1}
BY_ITER = {"type": "CheckpointHook", "by_epoch": False, "interval": 4}


class Stops(Callback):
    """Ask for the end after a batch."""

    def __init__(self, after: int) -> None:
        self.after = after

    def on_train_batch_end(self, trainer: Any, *rest: Any) -> None:
        trainer.should_stop = trainer.fit_loop.epoch_loop.total_batch_idx + 1 == self.after


def scenario(train_cfg: dict[str, Any], hook: dict[str, Any], **more: Any) -> Scenario:
    return Scenario(
        **{"optim_wrapper": {"optimizer": SGD}, **more},
        train_cfg=train_cfg,
        default_hooks={"checkpoint": hook},
    )


def stopped(made: Scenario, folder: Any, **trainer: Any) -> Any:
    book: dict[str, list] = {
        key: [] for key in ("loss", "lr", "momentum", "metrics", "place", "validated_at")
    }
    runner = build("mm2pl", copy.deepcopy(made), str(folder), book, trainer=trainer)
    runner.train()
    return runner, book


def saved(folder: Any) -> list[str]:
    return sorted((each for each in os.listdir(folder) if each.endswith(".pth")), key=len)


class OwnRun(IterBasedTrainLoop):
    """A loop that drives."""

    def run(self) -> Any:
        return super().run()


@pytest.mark.parametrize(
    ("train_cfg", "hook", "flags", "files"),
    [
        (EPOCHS, BY_EPOCH, {"max_steps": 5}, ["iter_5.pth"]),
        (EPOCHS, BY_EPOCH, {"max_steps": 13}, ["iter_13.pth", "epoch_1.pth"]),
        (EPOCHS, BY_EPOCH, {"max_steps": 9}, ["epoch_1.pth"]),
        (EPOCHS, NEVER, {"max_steps": 18}, ["epoch_2.pth"]),
        (EPOCHS, {**BY_EPOCH, "save_last": False}, {"max_steps": 5}, []),
        (EPOCHS, {**BY_ITER, "interval": 5}, {"max_steps": 7}, ["iter_5.pth", "iter_7.pth"]),
        (EPOCHS, NEVER, {"max_time": {"seconds": 0}, "min_steps": 4}, ["epoch_1.pth"]),
        (EPOCHS, NEVER, {"callbacks": [Stops(9)]}, ["epoch_1.pth"]),
        (EPOCHS, NEVER, {}, ["epoch_3.pth"]),
        (
            EPOCHS,
            BY_EPOCH,
            {
                "val_check_interval": 4,
                "callbacks": [EarlyStopping("accuracy", min_delta=9.0, patience=1, mode="max")],
            },
            ["iter_8.pth"],
        ),
        (ITERS, BY_ITER, {"max_steps": 10}, ["iter_4.pth", "iter_8.pth", "iter_10.pth"]),
        (ITERS, BY_ITER, {"callbacks": [Stops(6)]}, ["iter_4.pth", "iter_6.pth"]),
        (ITERS, BY_ITER, {"callbacks": [Stops(8)]}, ["iter_4.pth", "iter_8.pth"]),
        (ITERS, {**BY_ITER, "max_keep_ckpts": 1}, {"callbacks": [Stops(6)]}, ["iter_6.pth"]),
        (
            {"type": OwnRun, "max_iters": 23},
            BY_ITER,
            {"max_steps": 6},
            ["iter_4.pth", "iter_6.pth"],
        ),
    ],
    ids=str,
)
def test_the_last_iteration_is_saved(tmp_path, train_cfg, hook, flags, files):
    stopped(scenario(train_cfg, hook), tmp_path, **flags)
    assert saved(tmp_path) == files
    if files:
        last = max(files, key=lambda name: (tmp_path / name).stat().st_mtime_ns)
        assert (tmp_path / "last_checkpoint").read_text() == str(tmp_path / last)


class StopsByHook(Callback):
    """Ask for the end as an MMEngine hook does, where the Trainer plays no part."""

    def on_train_batch_end(self, trainer: Any, *rest: Any) -> None:
        trainer.run.train_loop.stop_training = trainer.run.iter >= 6


@pytest.mark.parametrize(("train_cfg", "ends"), [(EPOCHS, (1, 9)), (ITERS, (0, 7))], ids=str)
def test_an_end_that_a_hook_has_set_is_mmengines(tmp_path, train_cfg, ends):
    hook = {**NEVER, "by_epoch": train_cfg["by_epoch"]}
    runner, _ = stopped(scenario(train_cfg, hook), tmp_path, callbacks=[StopsByHook()])
    assert (runner.epoch, runner.iter) == ends
    assert saved(tmp_path) == []


# With an end of its own: what `max_steps` has made the end of one without stays in the file, as after a short run.
STEPS = {"type": "MultiStepLR", "by_epoch": False, "milestones": [6, 12], "gamma": 0.5, "end": 99}


@pytest.mark.parametrize(
    ("train_cfg", "hook", "flags", "name"),
    [
        (EPOCHS, BY_EPOCH, {"max_steps": 5}, "iter_5.pth"),
        (EPOCHS, BY_EPOCH, {"callbacks": [Stops(13)]}, "iter_13.pth"),
        (EPOCHS, NEVER, {"callbacks": [Stops(18)]}, "epoch_2.pth"),
        (EPOCHS, {**BY_ITER, "interval": 50}, {"callbacks": [Stops(9)]}, "iter_9.pth"),
        (ITERS, BY_ITER, {"max_steps": 14}, "iter_14.pth"),
        (ITERS, BY_ITER, {"callbacks": [Stops(6)]}, "iter_6.pth"),
        (ITERS, BY_ITER, {"callbacks": [Stops(14)]}, "iter_14.pth"),
    ],
    ids=str,
)
def test_a_resume_goes_on_exactly(tmp_path, train_cfg, hook, flags, name):
    made = scenario(train_cfg, hook, param_scheduler=STEPS)
    expected = record("mm2pl", copy.deepcopy(made), str(tmp_path / "whole"))
    stopped(made, tmp_path / "cut", **flags)
    got = resumed(made, tmp_path / "cut" / name, tmp_path / "on")
    assert len(got["loss"]) == len(expected["loss"]) - int(name.strip("iterpochs_.")) * (
        9 if name.startswith("epoch") else 1
    )
    assert_tail(got, expected, name)


def test_what_has_nothing_left_to_train_saves_nothing(tmp_path):
    made = scenario(EPOCHS, BY_EPOCH)
    stopped(made, tmp_path, max_steps=5)
    made.options = {"resume": True}
    stopped(made, tmp_path, max_steps=5)
    assert saved(tmp_path) == ["iter_5.pth"]


POLY = [{"type": "PolyLR", "by_epoch": False}, {"type": "PolyLR", "by_epoch": True}]
PAIR = {
    "generator": {"optimizer": {"type": "Adam", "lr": 1e-3}},
    "discriminator": {"optimizer": SGD},
}


class Telling(OptimWrapper):
    """Change nothing of how a step is made."""

    def get_lr(self) -> dict[str, list[float]]:
        return super().get_lr()


class Half(OptimWrapper):
    """Step after every other batch, under the name of a class that does not."""

    def should_update(self) -> bool:
        return self._inner_count % 2 == 0


Half.__name__ = "OptimWrapper"


@pytest.mark.parametrize(("kind", "end"), [(Telling, 10), (Half, 23)])
def test_the_methods_of_a_wrapper_say_whether_steps_are_the_length(tmp_path, kind, end):
    made = scenario(
        ITERS,
        NEVER,
        optim_wrapper={"type": kind, "optimizer": SGD},
        param_scheduler={"type": "PolyLR", "by_epoch": False},
    )
    runner, _ = stopped(made, tmp_path, max_steps=10)
    assert runner.param_schedulers[0].end == end


@pytest.mark.parametrize(
    ("train_cfg", "wrapper", "flags", "ends", "place"),
    [
        (EPOCHS, {}, {"max_steps": 13}, [13, 2], (1, 13)),
        (EPOCHS, {}, {"max_steps": 18}, [18, 2], (2, 18)),
        (EPOCHS, {}, {"max_steps": 99}, [27, 3], (3, 27)),
        (EPOCHS, {}, {"max_steps": 30, "max_epochs": -1}, [30, 4], (3, 30)),
        (EPOCHS, {}, {"max_epochs": -1}, [27, 3], (3, 27)),
        (EPOCHS, {"accumulative_counts": 2}, {"max_steps": 5}, [10, 2], (1, 10)),
        # Lightning's own loop makes a step after the last batch of an epoch: 5 per epoch.
        (EPOCHS, {}, {"max_steps": 6, "accumulate_grad_batches": 2}, [11, 2], (1, 11)),
        (ITERS, {}, {"max_steps": 10}, [10, 1], (0, 10)),
        (ITERS, {"accumulative_counts": 3}, {"max_steps": 5}, [15, 1], (0, 15)),
    ],
    ids=str,
)
def test_schedules_end_where_the_run_ends(tmp_path, train_cfg, wrapper, flags, ends, place):
    made = scenario(train_cfg, NEVER, optim_wrapper={"optimizer": SGD, **wrapper})
    made.param_scheduler = copy.deepcopy(POLY)
    runner, book = stopped(made, tmp_path, **flags)
    assert [each.end for each in runner.param_schedulers] == ends
    assert (runner.epoch, runner.iter) == place
    assert len(book["loss"]) == place[1]


@pytest.mark.parametrize(
    ("flags", "place"),
    [({"max_steps": 8}, (0, 4)), ({"max_steps": 60, "max_epochs": -1}, (3, 30))],
    ids=str,
)
def test_steps_of_several_optimizers_end_the_run_where_lightning_has_made_them(
    tmp_path, flags, place
):
    made = scenario(EPOCHS, BY_EPOCH, optim_wrapper=PAIR, model="pair")
    runner, _ = stopped(made, tmp_path, **flags)
    assert (runner.epoch, runner.iter) == place
    assert f"iter_{place[1]}.pth" in saved(tmp_path)


@pytest.mark.parametrize(
    ("hook", "files"),
    [
        ({"interval": 5}, ["epoch_2.pth"]),
        ({"interval": 1}, ["epoch_1.pth", "epoch_2.pth"]),
        ({"interval": 50, "by_epoch": False}, ["iter_12.pth"]),
    ],
    ids=str,
)
def test_in_a_trainer_of_the_users_own(tmp_path, hook, files):
    both = [CheckpointHook(**hook, out_dir=str(tmp_path)), Stops(12)]
    trainer(max_epochs=5, callbacks=both, enable_checkpointing=True, default_root_dir=tmp_path).fit(
        module(), loader()
    )
    (folder,) = [path for path, _, names in os.walk(tmp_path) if any(".pth" in n for n in names)]
    assert saved(folder) == files


@pytest.mark.parametrize(
    ("train_cfg", "flags"),
    [
        (EPOCHS, {"max_epochs": 0}),
        (EPOCHS, {"max_steps": 0}),
        (EPOCHS, {"limit_train_batches": 0}),
        (ITERS, {"max_steps": 0}),
        (ITERS, {"limit_train_batches": 0}),
    ],
    ids=str,
)
def test_a_run_with_nothing_to_train_is_refused(tmp_path, train_cfg, flags):
    made = scenario(train_cfg, NEVER, param_scheduler={"type": "PolyLR", "by_epoch": False})
    (flag,) = flags
    with pytest.raises(ArgumentError, match=rf"^Trainer\({flag}=0\) → a run with nothing to train"):
        stopped(made, tmp_path, **flags)
