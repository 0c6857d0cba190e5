from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch
from lightning.pytorch.loggers.logger import DummyLogger

from mm2pl.hooks import LoggerHook
from tests.scenarios import Scenario, accuracy, build


@pytest.mark.parametrize(
    ("arguments", "run", "lines"),
    [
        pytest.param({"interval": 2}, {"batches": 5, "epochs": 1}, [1, 3], id="ignore-last"),
        pytest.param(
            {"interval": 2, "ignore_last": False}, {"batches": 5, "epochs": 1}, [1, 3, 4], id="last"
        ),
        pytest.param({"interval": 9}, {"batches": 3, "epochs": 2}, [2, 2], id="short-epochs"),
        pytest.param({"interval": 1}, {"batches": 2, "epochs": 1}, [0, 1], id="each"),
    ],
)
def test_training_lines(make_runner, arguments, run, lines):
    runner = make_runner(LoggerHook(**arguments), **run)
    runner.train()
    assert [line for line in runner.logger if line.startswith("train")] == [
        f"train {i}" for i in lines
    ]
    assert len(runner.scalars) == len(lines)
    assert runner.scalars[0][1] == {
        "step": lines[0] + 1,
        "file_path": "20260101_000000.json",
    }


def test_the_experiment_is_named(make_runner):
    runner = make_runner(LoggerHook(interval_exp_name=2), batches=5, epochs=1)
    runner.train()
    assert runner.logger.count("Exp name: stub") == 3


@pytest.mark.parametrize(("by_epoch", "step"), [(True, 1), (False, 3)])
def test_metrics_of_a_validation(make_runner, by_epoch, step):
    hook = LoggerHook(log_metric_by_epoch=by_epoch)
    runner = make_runner(hook, epochs=1, scores=(0.5,))
    runner.train()
    assert "val of 2" in runner.logger
    assert runner.scalars[-1] == ({"n": 2}, {"step": step, "file_path": "20260101_000000.json"})


def test_metrics_of_a_validation_without_training(make_runner):
    hook = LoggerHook()
    runner = make_runner(hook)
    runner._train_loop = None
    hook.before_run(runner)
    hook.after_val_epoch(runner, {})
    assert runner.scalars[-1][1]["step"] == 0


def test_metrics_of_a_test_are_written(make_runner):
    hook = LoggerHook()
    runner = make_runner(hook)
    tag = {"acc": 0.5, "per_class": torch.ones(2), "table": [(1, "a")], "odd": object()}
    runner.log_processor.get_log_after_epoch = lambda *args, **kwargs: (tag, "line")
    hook.before_run(runner)
    hook.after_test_epoch(runner, {})
    written = json.loads(Path(runner.log_dir, "20260101_000000.json").read_text())
    assert written == {"acc": 0.5, "per_class": [1.0, 1.0], "table": [[1, "a"]], "odd": None}


@pytest.mark.parametrize("keep_local", [True, False])
def test_logs_are_copied(make_runner, tmp_path, keep_local):
    hook = LoggerHook(out_dir=str(tmp_path / "out"), out_suffix=".log", keep_local=keep_local)
    runner = make_runner(hook)
    os.makedirs(Path(runner.log_dir, "sub"))
    Path(runner.log_dir, "sub", "a.log").write_text("text")
    Path(runner.log_dir, "b.pth").write_text("")
    hook.before_run(runner)
    hook.after_run(runner)
    assert Path(tmp_path, "out", "exp", "sub", "a.log").read_text() == "text"
    assert not Path(tmp_path, "out", "exp", "b.pth").exists()
    assert Path(runner.log_dir, "sub", "a.log").exists() is keep_local


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"interval": "1"}, TypeError, "interval must be an integer, but got '1'"),
        ({"interval": 0}, ValueError, "interval must be greater than 0"),
        ({"interval_exp_name": 0}, ValueError, "interval_exp_name must be greater"),
        ({"ignore_last": 1}, TypeError, "ignore_last must be a boolean"),
        ({"keep_local": None}, TypeError, "keep_local must be a boolean"),
        ({"out_dir": 1}, TypeError, "out_dir must be a str or Path"),
        ({"out_suffix": [1]}, TypeError, "out_suffix should be"),
        ({"file_client_args": {}}, ValueError, "`out_dir` is not specified"),
    ],
)
def test_wrong_arguments(arguments, error, text):
    with pytest.raises(error, match=text):
        LoggerHook(**arguments)


def read_as_the_analysis_tools_do(path):
    """Return ``{epoch: {name: [values]}}`` by the rules of MMDetection 3.3's ``analyze_logs.py``.

    A line belongs to the epoch that the line before it has named; of a line with names like ``coco/bbox_mAP`` only what
    comes before them and those themselves are taken; a line of one key is none.
    """
    epochs, epoch = {}, 1
    for line in path.read_text().splitlines():
        entry = json.loads(line)
        if len(entry) < 2:
            continue
        names = list(entry)
        metrics = [name for name in names if "/" in name]
        if metrics:
            names = names[: names.index(metrics[0])] + metrics
        found = epochs.setdefault(epoch, {})
        for name in names:
            found.setdefault(name.rpartition("/")[2], []).append(entry[name])
        epoch = entry.get("epoch", epoch)
    return epochs


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("file", ["{}.json", "scalars.json"])
def test_openmmlabs_tools_read_the_scalars(tmp_path, file):
    book = {k: [] for k in ("loss", "lr", "momentum", "metrics", "place", "validated_at")}
    scenario = Scenario(optim_wrapper={"optimizer": {"type": "SGD", "lr": 0.05}})
    metric = {"type": accuracy("mm2pl"), "prefix": "points"}
    runner = build("mm2pl", scenario, str(tmp_path), book, val_evaluator=metric)
    runner.train()
    path = Path(runner.log_dir, "vis_data", file.format(runner.timestamp))
    epochs = read_as_the_analysis_tools_do(path)
    counts = {
        epoch: {name: len(found.get(name, ())) for name in ("loss", "lr", "time", "accuracy")}
        for epoch, found in epochs.items()
    }
    # One line of nine iterations, the fifth; the first line of an epoch counts to the one before.
    assert counts == {
        1: {"loss": 2, "lr": 2, "time": 2, "accuracy": 1},
        2: {"loss": 1, "lr": 1, "time": 1, "accuracy": 1},
        3: {"loss": 0, "lr": 0, "time": 0, "accuracy": 1},
    }
    assert epochs[1]["iter"] == [5, 14]
    assert epochs[1]["accuracy"] == [
        pytest.approx(float.fromhex(book["metrics"][0]["points/accuracy"]))
    ]


class Steps(DummyLogger):
    """Write down the step of each validation."""

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[int] = []

    def log_metrics(self, metrics: dict, step: int | None = None) -> None:
        if "accuracy" in metrics:
            self.steps.append(step or 0)


@pytest.mark.parametrize(
    ("train_cfg", "logged", "written"),
    [
        ({"by_epoch": False, "max_iters": 6, "val_interval": 2}, [2, 4, 6], [0, 0, 0]),
        ({"by_epoch": True, "max_epochs": 2}, [1, 2], [1, 2]),
    ],
)
def test_loggers_get_the_iteration_of_a_validation(tmp_path, train_cfg, logged, written):
    logger = Steps()
    scenario = Scenario(
        optim_wrapper={"optimizer": {"type": "SGD", "lr": 0.1}}, train_cfg=train_cfg
    )
    keys = ("loss", "lr", "momentum", "metrics", "place", "validated_at")
    build(
        "mm2pl", scenario, str(tmp_path), {k: [] for k in keys}, trainer={"logger": logger}
    ).train()
    assert logger.steps == logged
    (file,) = tmp_path.glob("*/vis_data/scalars.json")
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert [line["step"] for line in lines if "accuracy" in line] == written


class Fifths(LoggerHook):
    """A project's idea of the end of an epoch."""

    def end_of_epoch(self, dataloader, batch_idx):
        assert len(dataloader) == 7
        return batch_idx + 1 == 5


def test_a_subclass_says_where_an_epoch_ends(make_runner):
    runner = make_runner(Fifths(interval=4, ignore_last=False), batches=7, epochs=1)
    runner.train()
    lines = [line for line in runner.logger if line.startswith("train")]
    assert lines == ["train 3", "train 4"]


def test_an_epoch_is_as_long_as_the_loader_of_its_own(make_runner):
    hook = LoggerHook(interval=4, ignore_last=False)
    runner = make_runner(hook, batches=5, epochs=1)
    runner.train()
    runner.logger.clear()
    for length in (3, 6):  # a hook has exchanged the loader between two epochs
        runner.train_dataloader = range(length)
        for batch_idx in range(length):
            hook.after_train_iter(runner, batch_idx)
    hook.before_run(runner)
    runner.train_dataloader = range(7)
    for batch_idx in (5, 6):  # another run of the same hook, resumed within an epoch
        hook.after_train_iter(runner, batch_idx)
    assert [line for line in runner.logger if line.startswith("train")] == [
        *("train 2",),
        *("train 3", "train 5"),
        *("train 6",),
    ]
