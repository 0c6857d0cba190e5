from __future__ import annotations

import json
import os

import pytest

from mm2pl.hooks import ProfilerHook, profiler_hook


def test_trace_for_chrome(make_runner, tmp_path):
    path = tmp_path / "trace.json"
    make_runner(ProfilerHook(json_trace_path=str(path)), epochs=1).train()
    assert json.loads(path.read_text())["traceEvents"]


@pytest.mark.parametrize("folder", [None, "mine"])
def test_trace_for_tensorboard(make_runner, folder):
    trace = {"type": "tb_trace", **({"dir_name": folder} if folder else {})}
    runner = make_runner(
        ProfilerHook(by_epoch=False, profile_times=2, on_trace_ready=trace), epochs=1
    )
    runner.train()
    place = os.path.join(runner.log_dir, folder or "tf_tracing_logs")
    assert [name for name in os.listdir(place) if name.endswith(".pt.trace.json")]


def test_table_on_the_terminal(make_runner, capsys):
    hook = ProfilerHook(on_trace_ready={"type": "log_trace", "row_limit": 3})
    runner = make_runner(hook, epochs=1)
    runner.train()
    assert "Self CPU" in capsys.readouterr().out
    assert runner.logger[0] == "profiler is profiling..."


def test_own_handler_and_schedule(make_runner):
    seen = []
    hook = ProfilerHook(
        by_epoch=False,
        profile_times=3,
        schedule={"wait": 0, "warmup": 1, "active": 1, "repeat": 1},
        on_trace_ready=lambda profile: seen.append(profile.step_num),
    )
    make_runner(hook, epochs=2).train()
    assert seen == [2]


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"by_epoch": 1}, TypeError, "`by_epoch` should be a boolean"),
        ({"activity_with_cpu": 1}, TypeError, "`activity_with_cpu` should be a boolean"),
        ({"profile_times": 0}, ValueError, "greater than 0, but got 0"),
        ({"profile_times": 2}, ValueError, "profile one epoch"),
        ({"schedule": 1}, TypeError, "`schedule` should be a dict"),
    ],
)
def test_wrong_arguments(arguments, error, text):
    with pytest.raises(error, match=text):
        ProfilerHook(**arguments)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"by_epoch": False, "profile_times": 99}, "should not be greater than 6"),
        ({"on_trace_ready": {"type": "other"}}, '"log_trace" or "tb_trace", but got \'other\''),
        ({"on_trace_ready": 1}, "should be a handler, or dict, or None"),
    ],
)
def test_what_only_the_run_can_tell(make_runner, arguments, text):
    with pytest.raises(ValueError, match=text):
        make_runner(ProfilerHook(**arguments)).train()


@pytest.mark.parametrize("built", [True, False])
def test_whether_torch_has_the_profiler(built, monkeypatch):
    monkeypatch.setattr("torch.profiler.kineto_available", lambda: built)
    assert profiler_hook.check_kineto() is built
