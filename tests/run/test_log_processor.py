from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from mm2pl.logging import MessageHub
from mm2pl.run.log_processor import LogProcessor


@pytest.fixture(autouse=True)
def _no_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


def make_runner(**attributes):
    hub = MessageHub("log-processor")
    for step in range(3):
        hub.update_scalar("train/lr", 0.1)
        hub.update_scalar("train/data_time", 0.5)
        hub.update_scalar("train/time", 1.5)
        hub.update_scalar("train/loss", float(step))
        hub.update_scalar("train/count", step)
        hub.update_scalar("train/acc", step / 2)
        hub.update_scalar("val/time", 1.0 + step)
        hub.update_scalar("val/data_time", 0.5)
        hub.update_scalar("val/acc", 0.75)
        hub.update_scalar("test/time", 1.0)
        hub.update_scalar("test/acc", 0.25)
    hub.update_info("eta", 3725.8)
    hub.update_info("val/table", [1, 2])
    hub.update_info("test/matrix", np.eye(2))
    loops = {
        f"{mode}_loop": SimpleNamespace(dataloader=range(n))
        for mode, n in (("train", 100), ("val", 20), ("test", 5))
    }
    base = {"epoch": 1, "iter": 102, "max_epochs": 12, "max_iters": 1200, "message_hub": hub}
    return SimpleNamespace(**{**base, **loops, **attributes})


TIMES = "eta: 1:02:05  time: 1.5000  data_time: 0.5000  "
REST = "loss: 1.0000  count: 2  acc: 1.0000"


@pytest.mark.parametrize(
    ("arguments", "mode", "line"),
    [
        pytest.param(
            {}, "train", f"Epoch(train)  [2][  3/100]  lr: 1.0000e-01  {TIMES}{REST}", id="epoch"
        ),
        pytest.param(
            {"by_epoch": False},
            "train",
            f"Iter(train) [ 103/1200]  lr: 1.0000e-01  {TIMES}{REST}",
            id="iter",
        ),
        pytest.param(
            {"window_size": 1, "num_digits": 2},
            "train",
            "Epoch(train)  [2][  3/100]  lr: 1.00e-01  eta: 1:02:05  time: 1.50  data_time: 0.50  "
            "loss: 2.00  count: 2  acc: 1.00",
            id="window-digits",
        ),
        pytest.param(
            {"log_with_hierarchy": True},
            "train",
            f"Epoch(train)  [2][  3/100]  lr: 1.0000e-01  {TIMES}{REST}",
            id="hierarchy",
        ),
        pytest.param(
            {"mean_pattern": "acc"},
            "train",
            "Epoch(train)  [2][  3/100]  lr: 1.0000e-01  eta: 1:02:05  time: 1.5000  "
            "data_time: 0.5000  loss: 2.0000  count: 2  acc: 0.5000",
            id="pattern",
        ),
        pytest.param(
            {},
            "val",
            "Epoch(val)  [1][ 3/20]    eta: 1:02:05  time: 2.0000  data_time: 0.5000  ",
            id="val",
        ),
        pytest.param({}, "test", "Epoch(test) [3/5]    ", id="test"),
        pytest.param(
            {"by_epoch": False},
            "val",
            "Iter(val) [ 3/20]    eta: 1:02:05  time: 2.0000  data_time: 0.5000  ",
            id="val-by-iter",
        ),
    ],
)
def test_line_after_iteration(arguments, mode, line):
    tag, text = LogProcessor(**arguments).get_log_after_iter(make_runner(), 2, mode)
    assert text == line
    assert tag["iter"] == 103


def test_scalars_after_iteration():
    tag, _ = LogProcessor().get_log_after_iter(make_runner(), 2, "train")
    assert tag == {
        "lr": 0.1,
        "data_time": 0.5,
        "time": 1.5,
        "loss": 1.0,
        "count": 2,
        "acc": 1.0,
        "epoch": 2,
        "iter": 103,
    }
    tag, _ = LogProcessor(log_with_hierarchy=True).get_log_after_iter(make_runner(), 2, "train")
    assert list(tag)[:2] == ["train/lr", "train/data_time"]


@pytest.mark.parametrize(
    ("arguments", "mode", "line"),
    [
        (
            {},
            "val",
            "Epoch(val) [1][20/20]    acc: 0.7500  table: [1, 2]  time: 2.0000  data_time: 0.5000",
        ),
        ({"by_epoch": False}, "test", "Iter(test) [5/5]    acc: 0.2500  matrix: \n"),
        ({}, "test", "Epoch(test) [5/5]    acc: 0.2500  matrix: \n[[1. 0.]\n [0. 1.]]\n  time: "),
    ],
)
def test_line_after_epoch(arguments, mode, line):
    runner = make_runner()
    tag, text = LogProcessor(**arguments).get_log_after_epoch(runner, 20, mode, mode == "test")
    assert text.startswith(line)
    expected = ["acc", "matrix", "time"] if mode == "test" else ["acc", "time", "data_time"]
    assert list(tag) == expected


@pytest.mark.parametrize("train_loop", [None, {"by_epoch": True}])
def test_a_run_that_only_validates_has_no_epoch(train_loop):
    runner = make_runner(_train_loop=train_loop)
    tag, text = LogProcessor().get_log_after_iter(runner, 2, "val")
    assert text.startswith("Epoch(val)[0][ 3/20]")
    assert (tag["epoch"], tag["iter"]) == (0, 0)


@pytest.mark.parametrize(
    ("statistic", "value"),
    [
        ({"method_name": "max", "window_size": "global"}, 2.0),
        ({"method_name": "mean", "window_size": 2}, 1.5),
        ({"method_name": "min", "window_size": "epoch"}, 0.0),
        ({"method_name": "current"}, 2.0),
    ],
)
def test_custom_statistics(statistic, value):
    runner = make_runner()
    added = LogProcessor(custom_cfg=[{"data_src": "loss", "log_name": "other", **statistic}])
    tag, text = added.get_log_after_iter(runner, 2, "train")
    assert (tag["loss"], tag["other"]) == (1.0, value)
    assert text.endswith(f"other: {value:.4f}")
    replaced = LogProcessor(custom_cfg=[{"data_src": "loss", **statistic}])
    assert replaced.get_log_after_iter(runner, 2, "train")[0]["loss"] == value


def test_memory_on_a_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 3 * 2**20 + 5)
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda device: None)
    runner = make_runner(model=torch.nn.Linear(1, 1))
    tag, text = LogProcessor().get_log_after_iter(runner, 2, "train")
    assert tag["memory"] == 3
    assert "data_time: 0.5000  memory: 3  loss" in text


LOSS = {"data_src": "loss", "method_name": "mean"}


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"custom_cfg": [LOSS, LOSS]}, "Found duplicate loss"),
        ({"custom_cfg": [{"method_name": "mean"}]}, "has no data_src"),
        (
            {"by_epoch": False, "custom_cfg": [{**LOSS, "window_size": "epoch"}]},
            "window_size cannot be epoch",
        ),
    ],
)
def test_wrong_custom_cfg(arguments, text):
    with pytest.raises(ValueError, match=text):
        LogProcessor(**arguments)


def test_wrong_window_and_mode():
    processor = LogProcessor(custom_cfg=[{**LOSS, "window_size": "day"}])
    with pytest.raises(TypeError, match="int, epoch or global, but got invalid 'day'"):
        processor.get_log_after_iter(make_runner(), 2, "train")
    with pytest.raises(ValueError, match="mode='train': only"):
        processor.get_log_after_epoch(make_runner(), 2, "train")
