"""The hooks of a few lines each: timer, runtime info, sampler seed, schedules, cache, buffers."""

from __future__ import annotations

import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from mm2pl.hooks import (
    DistSamplerSeedHook,
    EmptyCacheHook,
    IterTimerHook,
    NPUProfilerHook,
    ParamSchedulerHook,
    PrepareTTAHook,
    RuntimeInfoHook,
    SyncBuffersHook,
    sync_buffer_hook,
)
from mm2pl.hooks.test_time_aug_hook import build_runner_with_tta
from mm2pl.registry import MODELS


def test_runtime_info(make_runner):
    runner = make_runner(RuntimeInfoHook(), epochs=2, scores=(0.5, 0.75))
    runner.train()
    hub = runner.message_hub
    assert hub.get_scalar("train/loss").current() == 1.0
    assert hub.get_scalar("train/lr").current() == 0.1
    assert hub.get_scalar("val/acc").current() == 0.75
    expected = {"epoch": 1, "iter": 5, "max_epochs": 2, "max_iters": 6, "seed": 7}
    assert {key: hub.get_info(key) for key in expected} == expected
    assert hub.get_info("cfg") == "a = 1\n"
    assert "loop_stage" not in hub.runtime_info


@pytest.mark.parametrize("mode", ["val", "test"])
def test_metrics_that_are_no_scalars_become_information(make_runner, mode):
    hook = RuntimeInfoHook()
    runner = make_runner(hook)
    runner.evaluate(mode, {"acc": np.float32(0.5), "one": np.ones(1), "table": [1, 2]})
    assert runner.message_hub.get_scalar(f"{mode}/acc").current() == 0.5
    assert runner.message_hub.get_scalar(f"{mode}/one").current() == 1
    assert runner.message_hub.get_info(f"{mode}/table") == [1, 2]


def test_loop_stage(make_runner):
    stages = []

    class Spy(RuntimeInfoHook):
        def after_val_iter(self, runner, batch_idx, data_batch=None, outputs=None):
            stages.append(runner.message_hub.get_info("loop_stage"))

        def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
            stages.append(runner.message_hub.get_info("loop_stage"))

    make_runner(Spy(), epochs=2, batches=1, scores=(0.5, 0.5)).train()
    assert stages == ["train", "val", "val"] * 2


def test_a_strange_optimizer_wrapper_is_named(make_runner):
    runner = make_runner(RuntimeInfoHook())
    runner.optim_wrapper = SimpleNamespace(get_lr=lambda: [0.1])
    with pytest.raises(TypeError, match=r"gave \[0.1\], a dict of lists is needed"):
        RuntimeInfoHook().before_train_iter(runner, 0)


def test_timer(make_runner, monkeypatch):
    clock = iter(range(100))
    monkeypatch.setattr(time, "time", lambda: next(clock))
    runner = make_runner(IterTimerHook(), epochs=1, batches=2, scores=(0.5,))
    runner.train()
    values = {
        key: buffer.data[0].tolist() for key, buffer in runner.message_hub.log_scalars.items()
    }
    assert values == {
        "train/data_time": [1.0, 1.0],
        "train/time": [2.0, 2.0],
        "val/data_time": [1.0, 1.0],
        "val/time": [2.0, 2.0],
    }
    assert runner.message_hub.get_info("eta") == 0


@pytest.mark.parametrize(("mode", "eta"), [("train", 8.0), ("val", 2.0), ("test", 2.0)])
def test_eta_counts_what_is_left(make_runner, monkeypatch, mode, eta):
    clock = iter((0, 0, 1, 2))
    monkeypatch.setattr(time, "time", lambda: next(clock))
    hook = IterTimerHook()
    runner = make_runner(hook, epochs=5, batches=1)
    hook.before_train(runner)
    hook._before_epoch(runner, mode)
    hook._before_iter(runner, 0, mode=mode)
    hook._after_iter(runner, 0, mode=mode)
    assert runner.message_hub.get_info("eta") == eta


def test_eta_of_an_evaluation_is_that_of_its_own_data(make_runner, monkeypatch):
    clock = iter(range(100))
    monkeypatch.setattr(time, "time", lambda: next(clock))
    hook = IterTimerHook()
    runner = make_runner(hook)
    runner.val_dataloader, runner.test_dataloader = range(3), range(9)
    for mode, left in (("val", 1), ("test", 7)):
        hook._before_epoch(runner, mode)
        hook._before_iter(runner, 1, mode=mode)  # a loop of a project's that counts from 1
        hook._after_iter(runner, 1, mode=mode)
        assert runner.message_hub.get_info("eta") == left * 2 / 2
        hook._after_epoch(runner, mode)


def test_eta_leaves_out_what_was_done_before_a_resume(make_runner, monkeypatch):
    clock = iter((0, 0, 1, 2))
    monkeypatch.setattr(time, "time", lambda: next(clock))
    hook = IterTimerHook()
    runner = make_runner(hook, epochs=20, batches=1)
    runner.iter = 15
    hook.before_train(runner)
    hook._before_epoch(runner)
    hook._before_iter(runner, 0)
    hook._after_iter(runner, 0)
    assert runner.message_hub.get_info("eta") == 8.0


class Sampler:
    epoch = None

    def set_epoch(self, epoch):
        self.epoch = epoch


@pytest.mark.parametrize("place", ["sampler", "batch_sampler"])
def test_sampler_seed(make_runner, place):
    sampler = Sampler()
    holder = (
        {"sampler": sampler}
        if place == "sampler"
        else {
            "sampler": object(),
            "batch_sampler": SimpleNamespace(sampler=sampler),
        }
    )
    runner = make_runner()
    runner.train_loop.dataloader = SimpleNamespace(**holder)
    runner.epoch = 3
    DistSamplerSeedHook().before_train_epoch(runner)
    assert sampler.epoch == 3


class Scheduler:
    def __init__(self, by_epoch, need_val_args=False):
        self.by_epoch, self.steps = by_epoch, []
        if need_val_args:
            self.need_val_args = True

    def step(self, metrics=None):
        self.steps.append(metrics)


@pytest.mark.parametrize("wrap", [list, lambda x: {"a": x[:1], "b": x[1:]}], ids=["list", "dict"])
def test_schedules_tick_on_their_own_clock(make_runner, wrap):
    by_iter, by_epoch, plateau = Scheduler(False), Scheduler(True), Scheduler(True, True)
    runner = make_runner(ParamSchedulerHook(), epochs=2, batches=3, scores=(0.1, 0.2))
    runner.param_schedulers = wrap([by_iter, by_epoch, plateau])
    runner.train()
    assert (len(by_iter.steps), len(by_epoch.steps)) == (6, 2)
    assert plateau.steps == [None, {"acc": 0.1}, None, {"acc": 0.2}]


def test_without_schedules_nothing_ticks(make_runner):
    runner = make_runner()
    runner.param_schedulers = None
    hook = ParamSchedulerHook()
    hook.after_train_epoch(runner)
    runner.param_schedulers = [{"type": "StepLR"}]  # a run that only validates
    hook.after_val_epoch(runner, {"acc": 1.0})
    runner.param_schedulers = {"a": Scheduler(True)}
    with pytest.raises(TypeError, match="should be list of ParamScheduler or a dict"):
        hook.after_train_epoch(runner)


@pytest.mark.parametrize(
    ("arguments", "calls"),
    [({}, 2), ({"before_epoch": True}, 4), ({"after_epoch": False, "after_iter": True}, 4)],
)
def test_empty_cache(make_runner, monkeypatch, arguments, calls):
    count = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: count.append(1))
    make_runner(EmptyCacheHook(**arguments), epochs=1, batches=2, scores=(0.5,)).train()
    assert len(count) == calls


def test_buffers_are_averaged_once_per_epoch_and_before_other_validations(make_runner, monkeypatch):
    calls = []
    monkeypatch.setattr(sync_buffer_hook, "is_distributed", lambda: True)
    monkeypatch.setattr(sync_buffer_hook, "all_reduce_params", lambda b, op: calls.append(op))
    runner = make_runner(SyncBuffersHook(), epochs=1, scores=(0.5,))
    runner.train()
    assert calls == ["mean"]
    runner.evaluate("val", {"acc": 0.5})
    assert calls == ["mean", "mean"]


def test_one_process_has_no_buffers_to_average(make_runner, monkeypatch):
    monkeypatch.setattr(sync_buffer_hook, "all_reduce_params", lambda b, op: pytest.fail("called"))
    runner = make_runner(SyncBuffersHook(), epochs=1, scores=(0.5,))
    runner.train()
    assert runner.epoch == 1


def test_npu_profiler_names_the_alternative():
    with pytest.raises(NotImplementedError, match=r"NPUProfilerHook.end.*Use ProfilerHook"):
        NPUProfilerHook(end=1)


def test_tta_wraps_the_model(make_runner):
    @MODELS.register_module(name="SmallTTA", force=True)
    class SmallTTA(torch.nn.Module):
        def __init__(self, module, factor):
            super().__init__()
            self.module, self.factor = module, factor

    try:
        runner = make_runner()
        model, cfg = runner.model, {"type": "SmallTTA", "factor": 2}
        PrepareTTAHook(cfg).before_test(runner)
        assert (runner.model.module, runner.model.factor) == (model, 2)
        assert cfg == {"type": "SmallTTA", "factor": 2}
    finally:
        MODELS.module_dict.pop("SmallTTA")


def test_tta_needs_its_config():
    with pytest.raises(KeyError, match="the config has no 'tta_pipeline'"):
        build_runner_with_tta({"tta_model": {}})
