"""What Lightning does around, and inside, a loop that drives."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import EarlyStopping, LearningRateMonitor, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.utilities.exceptions import SIGTERMException

from mm2pl.hooks import Hook
from mm2pl.lightning import MMDataModule, MMLightningModule, RunCallback
from mm2pl.runner import EpochBasedTrainLoop, IterBasedTrainLoop, Runner
from tests.loops.driving import loader_dict, loops, train_by_hand
from tests.scenarios import Scenario, accuracy, build, models

pytestmark = pytest.mark.filterwarnings("ignore")

SGD = {"optimizer": {"type": "SGD", "lr": 0.05, "momentum": 0.9}}
OURS = loops("mm2pl")
KEYS = ("loss", "lr", "momentum", "metrics", "place", "validated_at")


class Recorder(Callback):
    """Write down each stage with Lightning's counters."""

    STAGES = (
        "on_fit_start", "on_train_start", "on_train_epoch_start", "on_train_batch_start", "on_train_batch_end",
        "on_validation_start", "on_validation_epoch_start", "on_validation_epoch_end", "on_validation_end",
        "on_train_epoch_end", "on_train_end", "on_fit_end", "on_test_start", "on_test_end",
    )  # fmt: skip

    def __init__(self) -> None:
        self.seen: list[tuple[str, int, int]] = []


def _note(stage: str) -> Any:
    def note(self: Recorder, trainer: Any, *rest: Any) -> None:
        self.seen.append((stage, trainer.current_epoch, trainer.global_step))

    return note


for _stage in Recorder.STAGES:
    setattr(Recorder, _stage, _note(_stage))


def runner(tmp_path: Any, train_cfg: Any, book: Any = None, **options: Any) -> Runner:
    trainer = {"accelerator": "cpu", "enable_model_summary": False, **options.pop("trainer", {})}
    scenario = Scenario(
        optim_wrapper=SGD, train_cfg=train_cfg, options={"trainer": trainer, **options}
    )
    return build("mm2pl", scenario, str(tmp_path), book or {key: [] for key in KEYS})


@pytest.mark.parametrize(
    ("driving", "plain"),
    [
        ({"type": OURS["by epochs"], "max_epochs": 2}, {"by_epoch": True, "max_epochs": 2}),
        (
            {"type": OURS["by iterations"], "max_iters": 7, "val_interval": 3},
            {"by_epoch": False, "max_iters": 7, "val_interval": 3},
        ),
    ],
    ids=["by epochs", "by iterations"],
)
def test_callbacks_see_what_they_see_of_lightnings_own_loops(driving, plain, tmp_path):
    seen = []
    for number, train_cfg in enumerate((driving, plain)):
        recorder = Recorder()
        runner(tmp_path / str(number), train_cfg, trainer={"callbacks": [recorder]}).train()
        seen.append(recorder.seen)
    assert seen[0] == seen[1]
    assert len(seen[0]) > 20


class EachEpoch(EpochBasedTrainLoop):
    """Look at nothing that could end it."""

    def run(self) -> Any:
        self.runner.call_hook("before_train")
        while self._epoch < self._max_epochs:
            self.run_epoch()
            self.runner.val_loop.run()
        self.runner.call_hook("after_train")
        return "what run returns"


def test_lightnings_callbacks_work(tmp_path):
    files = ModelCheckpoint(tmp_path / "best", monitor="accuracy", mode="max")
    steps = ModelCheckpoint(tmp_path / "steps", every_n_train_steps=4, save_top_k=-1)
    log = CSVLogger(str(tmp_path / "csv"))
    made = runner(
        tmp_path, {"type": EachEpoch, "max_epochs": 2},
        trainer={"callbacks": [files, steps, LearningRateMonitor("step")], "logger": [log], "log_every_n_steps": 1},
    )  # fmt: skip
    assert made.train() == "what run returns"
    assert files.best_model_score == made.trainer.callback_metrics["accuracy"]
    # Nine batches an epoch: the batch that a file is written after is counted in it.
    found = {
        path.stem: torch.load(path, weights_only=False)["meta"]
        for path in (tmp_path / "steps").iterdir()
    }
    assert {(meta["epoch"], meta["iter"]) for meta in found.values()} == {
        (0, 4),
        (0, 8),
        (1, 12),
        (1, 16),
    }
    log.save()
    assert "lr-SGD" in (tmp_path / "csv/lightning_logs/version_0/metrics.csv").read_text()


class StopsInBatch(Callback):
    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        trainer.should_stop = trainer.global_step == 12


@pytest.mark.parametrize(
    ("trainer", "iters"),
    [
        ({"callbacks": [EarlyStopping("accuracy", patience=1, min_delta=2.0, mode="max")]}, 18),
        ({"callbacks": [StopsInBatch()]}, 12),
        ({"max_steps": 13}, 13),
        ({"max_epochs": 3}, 27),
        ({"max_time": {"seconds": 0}}, 0),
        ({"max_time": {"seconds": 0}, "min_steps": 4}, 9),
    ],
    ids=["EarlyStopping", "should_stop", "max_steps", "max_epochs", "max_time", "min_steps"],
)
def test_what_ends_a_fit_ends_a_loop_that_does_not_look(trainer, iters, tmp_path):
    seen = []

    class Ended(Recorder):
        STAGES = ()

        def on_train_end(self, trainer, pl_module):
            seen.append(trainer.global_step)

    trainer = {**trainer, "callbacks": [*trainer.get("callbacks", []), Ended()]}
    made = runner(tmp_path, {"type": EachEpoch, "max_epochs": 5}, trainer=trainer)
    made.train()
    assert (made.iter, seen) == (iters, [iters])


class Counting(Hook):
    def __init__(self) -> None:
        self.begun = {"train": 0, "val": 0}

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.begun["train"] += 1

    def before_val_iter(self, runner, batch_idx, data_batch=None):
        self.begun["val"] += 1


SEVERAL = {
    "val_dataloader": [loader_dict(30), loader_dict(21)],
    "val_evaluator": [{"type": accuracy("mm2pl")}, {"type": accuracy("mm2pl")}],
}


@pytest.mark.parametrize(
    ("flags", "options", "train", "val"),
    [
        ({"limit_train_batches": 2}, {}, 4, 8),
        ({"limit_train_batches": 0.5}, {}, 8, 8),
        ({"limit_train_batches": 50}, {}, 18, 8),
        ({"limit_val_batches": 1}, {}, 18, 2),
        ({"limit_val_batches": 0.5, "limit_train_batches": 1}, {}, 2, 4),
        ({"fast_dev_run": True}, {}, 1, 1),
        ({"fast_dev_run": 3}, {}, 3, 3),
        ({"limit_val_batches": 2}, {"val_cfg": {"type": OURS["teacher and student"]}}, 18, 8),
        ({"limit_val_batches": 2}, {"val_cfg": {"type": OURS["many sets"]}, **SEVERAL}, 18, 8),
        ({"limit_val_batches": 2}, SEVERAL, 18, 8),
    ],
    ids=str,
)
def test_limits_reach_a_loop_that_drives(flags, options, train, val, tmp_path):
    counting = Counting()
    made = runner(
        tmp_path, {"type": EachEpoch, "max_epochs": 2}, trainer=flags, custom_hooks=[counting], **options
    )  # fmt: skip
    made.train()
    assert counting.begun == {"train": train, "val": val}
    # What the loop had is there again.
    assert len(made.train_dataloader) == 9


class NewLoader(EpochBasedTrainLoop):
    """Take a loader that nobody knows of when the loop begins."""

    def run_epoch(self) -> None:
        self.dataloader = self.runner.build_dataloader(loader_dict(40))
        super().run_epoch()


@pytest.mark.parametrize(
    ("loop", "flags", "message"),
    [
        (NewLoader, {"limit_train_batches": 2}, r"limit_train_batches=2\) → NewLoader takes batches from something"),
        (EachEpoch, {"limit_train_batches": 0.1}, r"limit_train_batches=0\.1\) → a run with nothing to train"),
        (EachEpoch, {"overfit_batches": 1}, r"overfit_batches=1\) → EachEpoch takes its batches in an order"),
        (EachEpoch, {"limit_val_batches": 0, "val_check_interval": 3},
         r"val_check_interval=3\) → EachEpoch decides itself when .*limit_val_batches=0\) → ValLoop goes through"),
    ],
    ids=["another loader", "no batch", "overfit_batches", "two flags"],
)  # fmt: skip
def test_flags_that_cannot_reach_a_loop_are_refused(loop, flags, message, tmp_path):
    made = runner(tmp_path, {"type": loop, "max_epochs": 1}, trainer=flags)
    with pytest.raises(ValueError, match=rf"(?s)^Trainer\({message}"):
        made.train()


def test_accumulation_flags_are_refused(tmp_path):
    made = runner(
        tmp_path, {"type": EachEpoch, "max_epochs": 1}, trainer={"accumulate_grad_batches": 2}
    )
    with pytest.raises(
        ValueError, match="EachEpoch drives the optimizer itself → drop the Trainer flags"
    ):
        made.train()


def test_several_test_sets(tmp_path):
    made = runner(
        tmp_path, {"by_epoch": True, "max_epochs": 1},
        test_cfg={"type": OURS["many test sets"]},
        test_dataloader=[loader_dict(30), loader_dict(21)],
        test_evaluator=[{"type": accuracy("mm2pl")}, {"type": accuracy("mm2pl")}],
    )  # fmt: skip
    found = made.test()
    assert set(found) == {"accuracy_0", "accuracy_1", "accuracy"}
    assert made.trainer.callback_metrics["accuracy"].item() == pytest.approx(found["accuracy"])


def test_a_validation_loop_that_returns_nothing(tmp_path):
    made = runner(
        tmp_path, {"by_epoch": True, "max_epochs": 1}, val_cfg={"type": OURS["teacher and student"]}
    )
    assert made.val() is None
    assert set(made.trainer.callback_metrics) == {"teacher/accuracy", "student/accuracy"}


class Counts(EachEpoch):
    """Keep something of its own."""

    seen = 0

    def run_epoch(self) -> None:
        self.seen += 1  # a file of this epoch holds it
        super().run_epoch()

    def state_dict(self) -> dict[str, int]:
        return {"seen": self.seen}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        self.seen = state_dict["seen"]


class OwnEpoch(EpochBasedTrainLoop):
    def run_epoch(self) -> None:
        super().run_epoch()


class WholeIters(IterBasedTrainLoop):
    def run(self) -> Any:
        return super().run()


RESUMED = {
    "own run_epoch": ({"type": OwnEpoch, "max_epochs": 3}, {}, "epoch_2.pth", 18),
    "own run by iterations": (
        {"type": WholeIters, "max_iters": 23, "val_interval": 7},
        {"by_epoch": False, "interval": 7},
        "iter_14.pth",
        14,
    ),
}


@pytest.mark.parametrize("name", RESUMED)
def test_a_resumed_run_is_the_whole_one(name, tmp_path):
    cfg, saving, file, done = RESUMED[name]
    hooks = {"default_hooks": {"checkpoint": {"type": "CheckpointHook", "interval": 1, **saving}}}
    book: dict[str, list] = {key: [] for key in KEYS}
    whole = runner(tmp_path, cfg, book, **hooks)
    whole.train()
    again: dict[str, list] = {key: [] for key in KEYS}
    rest = runner(tmp_path, cfg, again, load_from=str(tmp_path / file), resume=True, **hooks)
    rest.train()
    assert again["loss"] == book["loss"][done:]
    # That which followed the file is made up for.
    assert again["metrics"] == book["metrics"][-len(again["metrics"]) :]
    assert len(again["metrics"]) == len(book["metrics"]) - 1
    for key, value in whole.model.state_dict().items():
        assert torch.equal(rest.model.state_dict()[key], value), key
    assert rest.trainer.global_step == whole.trainer.global_step


def test_what_a_loop_says_of_itself_is_resumed(tmp_path):
    cfg = {"type": Counts, "max_epochs": 3}
    runner(tmp_path, cfg).train()
    rest = runner(
        tmp_path, cfg, load_from=str(tmp_path / "epoch_2.pth"), resume=True, log_level="WARNING"
    )
    rest.train()
    assert (rest.train_loop.seen, rest.epoch, rest.iter) == (3, 3, 27)
    text = next(tmp_path.glob(f"{rest.timestamp}/*.log")).read_text()
    assert "Counts goes through the data itself: it goes on with epoch 2 and iter 18" in text


def in_own_trainer(loop: type, folder: Any, val_cfg: Any = None, hooks: Any = ()) -> RunCallback:
    """Train in a Trainer of the user's own, which has Lightning's sanity check."""
    module = MMLightningModule(
        models("mm2pl")["plain"](), optim_wrapper=SGD, val_evaluator={"type": accuracy("mm2pl")}
    )
    data = MMDataModule(loader_dict(70, shuffle=True), loader_dict(30))
    run = RunCallback(
        str(folder), {"type": loop, "max_epochs": 2}, val_cfg=val_cfg or {}, log_level="ERROR", custom_hooks=[*hooks]
    )  # fmt: skip
    quiet = {"accelerator": "cpu", "logger": False, "enable_progress_bar": False}
    Trainer(max_epochs=3, callbacks=[run], default_root_dir=folder, **quiet).fit(
        module, datamodule=data
    )
    return run


def test_a_trainer_of_the_users_own(tmp_path):
    run = in_own_trainer(OwnEpoch, tmp_path).run
    assert (run.epoch, run.iter, run.trainer.global_step) == (3, 27, 27)
    assert "accuracy" in run.trainer.callback_metrics


def test_no_sanity_check_of_a_loop_that_drives(tmp_path):
    counting = Counting()
    run = in_own_trainer(OwnEpoch, tmp_path, {"type": OURS["teacher and student"]}, [counting]).run
    assert counting.begun == {"train": 27, "val": 24}
    assert "teacher/accuracy" in run.trainer.callback_metrics


class Terminated(OwnEpoch):
    def run_iter(self, idx: int, data_batch: Any) -> None:
        super().run_iter(idx, data_batch)
        if self.iter == 5:
            os.kill(os.getpid(), signal.SIGTERM)
        Terminated.seen = self.iter


def test_sigterm_ends_a_loop_before_its_next_batch(tmp_path):
    with pytest.raises(SIGTERMException):
        in_own_trainer(Terminated, tmp_path)
    assert Terminated.seen == 5


@pytest.mark.parametrize(
    ("joined", "error", "message"),
    [
        (False, RuntimeError, r"outside Runner\.train\(\), in 2 processes → .* torchrun and launcher='pytorch'"),
        (True, ValueError, r"^SingleDeviceStrategy, outside Runner\.train\(\), in 2 .* DDPStrategy"),
    ],
    ids=["Lightning would start them", "another strategy"],
)  # fmt: skip
def test_a_loop_outside_any_class_in_several_processes(
    joined, error, message, tmp_path, monkeypatch
):
    made = runner(tmp_path, {"by_epoch": True, "max_epochs": 2})
    monkeypatch.setattr(type(made.trainer), "world_size", 2)
    monkeypatch.setattr("mm2pl.lightning.by_hand.is_distributed", lambda: joined)
    with pytest.raises(error, match=message):
        train_by_hand(made)


def test_a_fit_follows_a_loop_outside_any_class(tmp_path):
    made = runner(tmp_path, {"by_epoch": True, "max_epochs": 3})
    train_by_hand(made)
    made.train()
    assert (made.epoch, made.iter) == (3, 27)
