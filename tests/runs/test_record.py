"""What is known of a run, by the files that it has left."""

from __future__ import annotations

import json
import os
import time
from typing import Any

import pytest

from mm2pl.errors import MissingFileError
from mm2pl.run.lock import NAME, STALE
from mm2pl.runs.folders import find, work_dir
from mm2pl.runs.record import Run

GONE = {"pid": 2**22 + 1, "started": "1"}


def lines(rows: list[dict[str, Any]]) -> str:
    return "".join(f"{json.dumps(row)}\n" for row in rows)


def record(folder: Any, brief: bool = True) -> dict[str, Any]:
    found = Run(work_dir(folder), brief).record().as_dict()
    json.dumps(found, allow_nan=False)
    return found


STATES: dict[str, tuple[dict[str, Any], tuple[str, str | None]]] = {
    "finished": ({"state": "finished"}, ("finished", None)),
    "stopped": (
        {"state": "stopped", "error": "KeyboardInterrupt: "},
        ("stopped", "KeyboardInterrupt:"),
    ),
    "failed": ({"state": "failed", "error": "ValueError: no\nmore"}, ("failed", "ValueError: no")),
    "of this process": ({"state": "running"}, ("running", None)),
    "killed": ({"state": "running", **GONE}, ("killed", None)),
    "no word that is known": ({"state": 7}, ("unknown", None)),
}


@pytest.mark.parametrize(("facts", "expected"), STATES.values(), ids=STATES)
def test_state(made, facts, expected):
    found = record(made.own("run", **facts))
    assert (found["state"], found["error"]) == expected
    assert (found["epoch"], found["max_epochs"], found["iter"], found["max_iters"]) == (
        2,
        4,
        25,
        40,
    )


@pytest.mark.parametrize(("age", "state"), [(0, "running"), (STALE + 60, "killed")])
def test_a_run_of_another_machine_is_alive_while_it_writes(made, elsewhere, age, state):
    folder = made.own("run", "running", **elsewhere)
    written = time.time() - age
    os.utime(folder / NAME, (written, written))
    assert record(folder)["state"] == state


def test_a_later_training_by_mmengine_hides_the_state(made):
    folder = made.own("run", "finished")
    later = folder / "20270101_000000" / "vis_data"
    later.mkdir(parents=True)
    (later / "scalars.json").write_text('{"acc": 1.0, "step": 0}\n')
    assert record(folder)["state"] == "finished"
    (later / "scalars.json").write_text('{"loss": 1.0, "iter": 5, "epoch": 1}\n')
    assert record(folder)["state"] == "unknown"


def test_only_a_run_that_is_running_has_time_left(made):
    assert record(made.own("alive", "running"))["seconds_left"] == 15 * 0.5
    assert record(made.own("ended", "stopped"))["seconds_left"] is None


BEST = {"key": "acc", "value": 76.1, "iter": 20, "epoch": 2, "rule": "greater"}


@pytest.mark.parametrize("brief", [True, False])
def test_of_mmengine(made, brief):
    found = record(made.mmengine(), brief)
    assert found["best"] == BEST
    expected = {"state": "unknown", "epoch": 4, "max_epochs": 4, "iter": 40, "max_iters": 40}
    expected |= {"loss": 0.6, "seconds_per_iter": 0.5, "checkpoints": 1, "checkpoint_bytes": 2048}
    assert {key: found[key] for key in expected} == expected


@pytest.mark.parametrize("brief", [True, False])
@pytest.mark.parametrize(
    ("by_epoch", "place"), [(True, (3, 3, 24, 24, 3)), (False, (None, None, 30, 30, None))]
)
def test_of_mmcv(made, by_epoch, place, brief):
    found = record(made.mmcv(by_epoch=by_epoch), brief)
    best = found["best"]
    got = (found["epoch"], found["max_epochs"], found["iter"], found["max_iters"], best["epoch"])
    assert got == place
    assert (best["key"], best["value"], found["state"]) == ("bbox_mAP", 0.1 * 3, "unknown")
    assert (found["checkpoints"], found["seconds_per_iter"]) == (1, 0.25)


def test_of_damaged_files(made):
    found = record(made.damaged())
    assert (found["state"], found["best"]["value"]) == ("unknown", 76.1)
    # NaN is what the run has logged.
    assert (found["iter"], found["loss"]) == (45, None)
    assert found["notes"] == [
        "2 damaged lines in its log are left out",
        "config.py cannot be read",
    ]


def test_of_a_log_as_text_only(tmp_path):
    start = tmp_path / "20260101_100000"
    start.mkdir()
    said = "2026/01/01 10:00:00 - mmengine - INFO - "
    (start / f"{start.name}.log").write_text(
        f"{said}Epoch(train)   [1][ 5/10]  lr: 1.0e-02  eta: 0:00:11  time: 0.5  loss: 1.5\n"
        f"{said}Epoch(val)   [1][5/5]    acc: 50.0000  data_time: 0.1  time: 0.2\n"
        f"{said}Epoch(train)   [2][ 5/10]  lr: 1.0e-02  eta: 1 day, 0:00:10  time: 0.5  loss: nan\n"
    )
    found = record(tmp_path)
    assert (found["iter"], found["loss"], found["best"]["value"]) == (15, None, 50.0)
    assert found["best"]["iter"] == 10


@pytest.mark.parametrize("brief", [True, False])
def test_of_a_log_by_iterations_as_text_only(tmp_path, brief):
    start = tmp_path / "20260101_100000"
    start.mkdir()
    said = "2026/01/01 10:00:00 - mmengine - INFO - "
    train = [f"{said}Iter(train) [{i:3}/800]  loss: 1.5\n" for i in range(10, 801, 10)]
    for position, i in enumerate(range(100, 801, 100)):
        train.insert(i // 10 + position, f"{said}Iter(val) [5/5]    acc: {i / 10}  time: 0.2\n")
    (start / f"{start.name}.log").write_text("".join(train))
    history = Run(work_dir(tmp_path), brief).history
    assert [(row.iter, row.values["acc"]) for row in history.val] == [
        (i, i / 10) for i in range(100, 801, 100)
    ]


@pytest.mark.parametrize(
    ("iters", "val_step"), [((4, 8), 0), ((10, 20), 5)], ids=["step 0", "beyond the epoch"]
)
def test_of_mmengine_by_iterations_with_a_log_that_counts_epochs(made, iters, val_step):
    folder = made.mmengine()
    train = [{"loss": 1.0, "epoch": 1, "iter": i, "step": i} for i in iters]
    rows = [train[0], {"acc": 50.0, "step": val_step}, train[1], {"acc": 40.0, "step": val_step}]
    (folder / "20260101_100000" / "vis_data" / "scalars.json").write_text(lines(rows))
    history = Run(work_dir(folder)).history
    expected = [(i, None) for i in iters]
    assert [(row.iter, row.epoch) for row in history.train] == expected
    assert [(row.iter, row.epoch) for row in history.val] == expected


def test_parts_are_joined_where_the_run_was_resumed(made):
    folder = made.mmengine(parts=((1, 3), (3, 4), (4, 4)))
    history = Run(work_dir(folder)).history
    assert [row.iter for row in history.train] == [5, 15, 25, 35]
    assert [(row.iter, row.epoch) for row in history.val] == [(10, 1), (20, 2), (30, 3), (40, 4)]


@pytest.mark.parametrize("held", [True, False], ids=["running", "failed"])
def test_a_new_run_does_not_show_the_figures_of_an_older_one(made, held):
    folder = made.mmengine()
    start = folder / "20260105_100000"
    start.mkdir()
    (start / f"{start.name}.log").write_text("hello\n")
    facts = {**made.me(), "state": "running" if held else "failed"}
    facts["position"] = {"epoch": 0, "iter": 0, "max_epochs": 4, "max_iters": 40}
    (folder / NAME if held else start / "run.json").write_text(json.dumps(facts))
    found = record(folder)
    assert [found[key] for key in ("epoch", "iter", "loss", "best")] == [0, 0, None, None]
    # It was resumed after the third epoch, and has logged nothing since.
    facts["position"] |= {"epoch": 3, "iter": 30}
    (folder / NAME if held else start / "run.json").write_text(json.dumps(facts))
    found = record(folder, brief=False)
    assert (found["epoch"], found["iter"], found["loss"]) == (3, 30, 2 / 3 + 0.1)


CONFIGS = {
    "of a run that is alive": (NAME, '{"host": "here", "pid": 1}'),
    "results": ("results.bbox.json", "[{}]"),
    "an evaluation of MMDet 2.x": ("eval_20220101_110000.json", '{"metric": {"bbox_mAP": 0.1}}'),
}


@pytest.mark.parametrize(("name", "text"), CONFIGS.values(), ids=CONFIGS)
@pytest.mark.parametrize("kind", ["mmengine", "mmcv"])
def test_a_file_next_to_the_config_is_not_the_config(made, kind, name, text):
    folder = getattr(made, kind)()
    (folder / name).write_text(text)
    before = work_dir(made.mmcv("before") if kind == "mmcv" else made.mmengine("before"))
    found = Run(work_dir(folder)).config
    assert found == Run(before).config
    assert len(found) >= 3


def test_a_log_of_the_shell_is_not_a_start(made):
    folder = made.mmengine()
    (folder / "nohup.log").write_text("Epoch(train) [1][ 1/10]  loss: 9.0\n")
    assert record(folder)["loss"] == 0.6


def test_a_work_folder_may_be_named_by_the_time(made):
    names = ["exp/20260105_120000", "exp/20260105_130000", "exp/20260105_140000"]
    folders = [made.mmengine(names[0]), made.mmcv(names[1]), made.own(names[2], "finished")]
    (folders[1] / "20260105_130000.log").write_text("")
    (folders[2] / "train.log").write_text("")
    assert [each.path for each in find([made.root])] == folders
    assert [work_dir(each).path for each in folders] == folders
    assert work_dir(folders[0] / "20260101_100000").path == folders[0]


def test_a_link_is_followed_to_a_run(made, tmp_path):
    real = made.mmengine("real")
    elsewhere = tmp_path / "disk" / "far"
    made.mmengine("far").rename((elsewhere.parent.mkdir(), elsewhere)[1])
    (made.root / "again").symlink_to(real)
    (made.root / "linked").symlink_to(elsewhere.parent)
    (made.root / "round").symlink_to(made.root)
    (made.root / "itself").symlink_to("itself")
    assert [each.path for each in find([made.root])] == [real, made.root / "linked" / "far"]


def test_each_run_is_found_once(made):
    folders = made.sixty()
    assert sorted(each.path for each in find([made.root, folders[0]])) == sorted(folders)


@pytest.mark.parametrize("inside", ["epoch_4.pth", "20260101_100000", "."])
def test_a_run_is_named_by_what_is_in_it(made, inside):
    folder = made.mmengine()
    assert work_dir(folder / inside).path == folder


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(MissingFileError, match="neither logs nor checkpoints → `mm2pl runs"):
        work_dir(tmp_path)
    with pytest.raises(MissingFileError, match="there is no such folder"):
        find([tmp_path / "nothing"])
