"""The Trainer of a run: which checkpoint is the best, and which the last."""

from __future__ import annotations

import os

import pytest

from tests.scenarios import Scenario, build

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


def make(tmp_path, max_epochs=3):
    book = {k: [] for k in ("loss", "lr", "momentum", "metrics", "place", "validated_at")}
    best = {"type": "CheckpointHook", "interval": 2, "save_best": "accuracy", "rule": "greater"}
    scenario = Scenario(
        optim_wrapper={"optimizer": {"type": "SGD", "lr": 0.05}},
        train_cfg={"by_epoch": True, "max_epochs": max_epochs},
        default_hooks={"checkpoint": best},
    )
    return build("mm2pl", scenario, str(tmp_path), book)


@pytest.mark.parametrize(("which", "name"), [("best", "best_accuracy"), ("last", "epoch_3.pth")])
def test_a_checkpoint_of_this_process(tmp_path, which, name):
    runner = make(tmp_path)
    runner.train()
    (metrics,) = runner.trainer.validate(runner.module, None, which, False, runner.datamodule)
    assert metrics == {"accuracy": pytest.approx(runner.module.eval_metrics["accuracy"])}
    assert os.path.basename(runner.trainer.ckpt_path).startswith(name)


def test_the_last_checkpoint_of_another_process(tmp_path):
    make(tmp_path).train()
    runner = make(tmp_path, max_epochs=5)
    runner.trainer.fit(runner.module, datamodule=runner.datamodule, ckpt_path="last")
    assert os.path.basename(runner.trainer.ckpt_path) == "epoch_3.pth"
    assert (runner.epoch, runner.iter) == (5, 45)


# pytest.warns raises what it does not match again, here
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_no_last_checkpoint_yet(tmp_path):
    runner = make(tmp_path, max_epochs=1)
    with pytest.warns(UserWarning, match="no last checkpoint available"):
        runner.trainer.fit(runner.module, datamodule=runner.datamodule, ckpt_path="last")
    assert runner.epoch == 1


@pytest.mark.parametrize(("trains", "count"), [(True, 0), (False, 1)], ids=["trained", "new"])
def test_a_run_is_not_taken_for_untrained_by_its_optimizer_steps(tmp_path, trains, count):
    make(tmp_path, max_epochs=1).train()  # leaves a `last_checkpoint`
    book = {k: [] for k in ("loss", "lr", "momentum", "metrics", "place", "validated_at")}
    sgd = {"optimizer": {"type": "SGD", "lr": 0.05}}
    scenario = Scenario(
        optim_wrapper=sgd, model="only_logs", train_cfg={"by_epoch": True, "max_epochs": 1}
    )
    runner = build("mm2pl", scenario, str(tmp_path), book, log_level="WARNING")
    if trains:
        runner.train()
    assert runner.trainer.global_step == 0
    runner.val()
    (log,) = (tmp_path / runner.timestamp).glob("*.log")
    assert log.read_text().count("this run has neither trained nor loaded weights") == count
