"""What a run says of the ways to make its processes out of this one."""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import signal
import sys
import time
import warnings
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from mm2pl.config import Config
from mm2pl.hooks import Hook
from mm2pl.lightning import launch
from mm2pl.plan.processes import strategy_of
from mm2pl.plan.translate import with_given
from mm2pl.runner import Runner
from tests.versions.project import CONFIG

FORK = {"devices": 2, "accelerator": "cpu", "strategy": "ddp_fork"}


@pytest.fixture
def config(tmp_path, monkeypatch) -> Config:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.py").write_text(CONFIG)
    return Config.fromfile("config.py")


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_runner_that_forks(config, tmp_path) -> None:
    config.default_hooks = {"checkpoint": {"type": "CheckpointHook", "save_best": "auto"}}
    runner = Runner.from_cfg(config, trainer=FORK)
    before = {name: value.clone() for name, value in runner.model.state_dict().items()}
    runner.train()
    after = runner.model.state_dict()
    assert all(not after[name].equal(value) for name, value in before.items())
    # The other process shows what it has trained, not that nothing was.
    assert runner.val()["smoke/accuracy"] > 0.8
    (log,) = tmp_path.glob("run/*/*.log")
    text = log.read_text()
    assert text.count("Epoch(train) [2]") == 1
    assert "without a checkpoint" not in text
    with pytest.raises(RuntimeError, match=r"has trained in forked processes.*resume=True"):
        runner.train()


class Interrupt(Hook):
    """Press Ctrl-C in the second epoch, in the process that waits for the others."""

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        if runner.epoch == 1 and runner.rank == 0:
            os.kill(os.getppid(), signal.SIGINT)
        if runner.epoch == 1:
            time.sleep(60)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_forked_processes_are_interrupted(config, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(sys, "ps1", ">>> ", raising=False)
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    runner = Runner.from_cfg(config, trainer=FORK)
    runner.register_hook(Interrupt())
    try:
        with pytest.raises(KeyboardInterrupt, match="the run has been stopped"):
            runner.train()
    finally:
        signal.signal(signal.SIGINT, handler)
    assert not multiprocessing.active_children()
    (log,) = tmp_path.glob("run/*/*.log")
    assert "Stopped in forked processes; the newest checkpoint is" in log.read_text()
    with pytest.raises(RuntimeError, match=r"has trained in forked processes.*resume=True"):
        runner.train()


def test_a_script_hears_no_adverts(config, caplog) -> None:
    with warnings.catch_warnings(record=True) as seen, caplog.at_level(logging.INFO):
        warnings.simplefilter("always")
        Runner.from_cfg(config).train()
    said = [*caplog.messages, *(str(each.message) for each in seen)]
    assert any("`Trainer.fit` stopped" in text for text in said)
    assert not [text for text in said if "LeafSpec" in text or "Tip: For seamless" in text]


REFUSED = {
    "spawn": ({"strategy": "ddp_spawn"}, {"seed": 1}, "by 'spawn' sends them the run by pickle"),
    "rank": ({}, {"seed": 1, "diff_rank_seed": True}, "diff_rank_seed=True with forked"),
}


@pytest.mark.parametrize(("flags", "randomness", "message"), REFUSED.values(), ids=REFUSED)
def test_refused_before_a_process_starts(config, flags, randomness, message) -> None:
    config.randomness = randomness
    runner = Runner.from_cfg(config, trainer={**FORK, **flags})
    with pytest.raises(ValueError, match=message):
        runner.train()


OBJECTS = {
    # For the lock of the work folder, by Lightning for its log folder, and in each of two validations.
    "broadcast_object_list": 4,
    # Four for each of two files: the states that each process has of its own; and in each validation.
    "gather_object": 10,
    # Two for each file: which buffers and which open gradients each process has.
    "all_gather_object": 4,
}


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_objects_are_sent_as_often_as_files_are_written(config, tmp_path, monkeypatch) -> None:
    """MMEngine sends one for each validation; the number of iterations is not in the count."""
    counts = dict.fromkeys(OBJECTS, 0)

    def counted(name: str, call: Any) -> Any:
        def count(*args: Any, **kwargs: Any) -> Any:
            counts[name] += 1
            return call(*args, **kwargs)

        return count

    for name in OBJECTS:
        monkeypatch.setattr(
            torch.distributed, name, counted(name, getattr(torch.distributed, name))
        )

    class Note(Hook):
        def after_train(self, runner: Any) -> None:
            if runner.rank == 0:
                (tmp_path / "counts.json").write_text(json.dumps(counts))

    config.custom_hooks = [Note()]
    Runner.from_cfg(config, trainer=FORK).train()
    assert json.loads((tmp_path / "counts.json").read_text()) == OBJECTS


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_all_processes_begin_with_the_first_ones_weights(config, tmp_path, monkeypatch) -> None:
    """Already before a strategy makes them alike, as DDP does and others do not."""
    runner = Runner.from_cfg(config, trainer=FORK)
    weight = runner.model.net.weight
    runner.model.init_weights = lambda: weight.data.fill_(runner.rank + 1)

    def note(model: Any, options: Any) -> None:  # what follows the initialisation
        torch.save(weight, tmp_path / f"{runner.rank}.pt")

    monkeypatch.setattr("mm2pl.run.run.change_model", note)
    runner.train()
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1))
    assert torch.equal(first, second)


def test_one_process_for_two_devices_is_refused() -> None:
    with pytest.raises(ValueError, match=r"strategy='single_device' with devices=2"):
        with_given({}, {"strategy": "single_device", "devices": 2}, {})


def test_a_notebook_forks(monkeypatch) -> None:
    monkeypatch.setattr("sys.ps1", ">>>", raising=False)
    assert strategy_of({})["init_args"]["start_method"] == "fork"


@pytest.mark.parametrize(("verb", "kept"), [("predict", {"acc": 1.0}), ("validate", {})])
def test_a_prediction_leaves_the_metrics(monkeypatch, verb, kept) -> None:
    monkeypatch.setattr(launch, "start_method", lambda trainer: "fork")
    module = SimpleNamespace(eval_metrics={"acc": 1.0})
    run = SimpleNamespace(module=module, diff_rank_seed=False)
    launcher = SimpleNamespace(procs=[], kill=lambda signum: None)
    trainer = SimpleNamespace(callback_metrics={}, strategy=SimpleNamespace(launcher=launcher))
    with launch.copied(run, trainer, verb):
        pass
    assert module.eval_metrics == kept
