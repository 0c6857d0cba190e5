"""What is removed of a work folder, and what never is."""

from __future__ import annotations

import os
import time

import pytest

from mm2pl.errors import ArgumentError, StateError
from mm2pl.run.lock import STALE
from mm2pl.runs.clean import plan, require_ended
from mm2pl.runs.folders import work_dir
from mm2pl.runs.record import Run

FILES = ("epoch_1.pth", "epoch_2.pth", "epoch_10.pth", "best_acc_epoch_2.pth", "pretrained.pth")


def filled(folder, marker="epoch_10.pth", files=FILES):
    (folder / "epoch_4.pth").unlink()
    for name in files:
        (folder / name).write_bytes(b"x")
    (folder / "last_checkpoint").write_text(f"/elsewhere/{folder.name}/{marker}")
    return folder


def removed(folder, *keep):
    return sorted(path.name for path in plan(Run(work_dir(folder)), keep).remove)


KEEP = {
    "best and last": (["best", "last"], ["epoch_1.pth", "epoch_2.pth"]),
    "only where it goes on": ([], ["best_acc_epoch_2.pth", "epoch_1.pth", "epoch_2.pth"]),
    "none of the newest": (["0", "best"], ["epoch_1.pth", "epoch_2.pth"]),
    "two": (["2"], ["best_acc_epoch_2.pth", "epoch_1.pth"]),
    "more than there are": (["9"], ["best_acc_epoch_2.pth"]),
    "a name": (["epoch_1.pth", "best"], ["epoch_2.pth"]),
}


@pytest.mark.parametrize(("keep", "gone"), KEEP.values(), ids=KEEP)
def test_keep(made, keep, gone):
    assert removed(filled(made.mmengine()), *keep) == gone


@pytest.mark.parametrize(
    ("marker", "gone"),
    [
        ("epoch_2.pth", ["epoch_1.pth", "epoch_10.pth"]),
        # It names nothing, so that the newest one counts; that is 10 and not 2.
        ("epoch_7.pth", ["epoch_1.pth", "epoch_2.pth"]),
        ("\x00\x00", ["epoch_1.pth", "epoch_2.pth"]),
    ],
    ids=["an older one", "gone", "damaged"],
)
def test_where_the_run_goes_on_is_never_removed(made, marker, gone):
    assert removed(filled(made.mmengine(), marker), "best") == gone


def test_the_link_of_mmcv_is_followed(made):
    folder = made.mmcv()
    (folder / "epoch_5.pth").write_bytes(b"x")
    assert removed(folder) == ["epoch_5.pth"]


def test_names_of_the_config_count(made):
    folder = filled(made.mmengine(), "ep07.ckpt", ["ep06.ckpt", "ep07.ckpt", "other.ckpt"])
    config = folder / "20260101_100000" / "vis_data" / "config.py"
    text = config.read_text()
    config.write_text(text.replace("save_best", "filename_tmpl='ep{}.ckpt', save_best"))
    assert removed(folder, "last") == ["ep06.ckpt"]


def test_a_word_that_is_nothing(made):
    with pytest.raises(ArgumentError, match=r"--keep lats → best, last, a number .*epoch_4\.pth"):
        plan(Run(work_dir(made.mmengine())), ["lats"])


def aged(folder, seconds):
    for path in [folder, *folder.rglob("*")]:
        os.utime(path, (time.time() - seconds,) * 2, follow_symlinks=False)
    return folder


def test_a_run_that_is_alive_is_left_alone(made):
    with pytest.raises(StateError, match="a run trains there"):
        require_ended(aged(made.own("a", "running"), 2 * STALE))


def test_a_run_that_may_be_alive_is_left_alone(made):
    folder = made.mmengine()
    with pytest.raises(StateError, match=r"epoch_4\.pth was written .* ago"):
        require_ended(folder)
    assert require_ended(aged(folder, 2 * STALE)) is None


ENDED = {
    "killed": lambda made: made.own("a", "running", pid=2**22 + 1),
    "finished": lambda made: made.own("a", "finished"),
}


@pytest.mark.parametrize("make", ENDED.values(), ids=ENDED)
def test_a_run_that_has_ended_can_be_cleaned_until_another_begins_there(made, make):
    folder = make(made)
    assert require_ended(folder) is None
    (folder / "model-12345678.pth").write_bytes(b"published")
    assert require_ended(folder) is None
    # MMEngine's, before its first line of figures.
    start = folder / "20260105_100000"
    start.mkdir()
    log = start / f"{start.name}.log"
    log.write_text("2026/01/05 10:00:00 - mmengine - INFO - hello\n")
    later = time.time() + 60
    os.utime(log, (later, later))
    with pytest.raises(StateError, match=r"20260105_100000\.log was written .* ago"):
        require_ended(folder)


def test_a_run_of_another_machine_is_judged_by_the_clock_of_the_disk(made, elsewhere, monkeypatch):
    folder = made.own("a", "running", **elsewhere)
    ahead = time.time() + 2 * STALE
    monkeypatch.setattr(time, "time", lambda: ahead)
    with pytest.raises(StateError, match=r"was written .* ago"):
        require_ended(folder)


def test_a_folder_of_checkpoints_alone_says_nothing(tmp_path):
    (tmp_path / "epoch_1.pth").write_bytes(b"x")
    with pytest.raises(StateError, match="checkpoints without a log"):
        require_ended(aged(tmp_path, 2 * STALE))


def test_without_best_files_the_best_epoch_is_kept(made):
    # 76.1 after epochs 2 and 3, of which only the third was saved.
    folder = filled(made.mmengine(), files=["epoch_1.pth", "epoch_3.pth", "epoch_4.pth"])
    assert removed(folder, "best") == ["epoch_1.pth"]
    log = folder / "20260101_100000" / "vis_data" / "scalars.json"
    log.write_text("")
    with pytest.raises(ArgumentError, match=r"--keep best: .* has no best_\* file"):
        removed(folder, "best")


def test_best_files_of_others_are_left(made):
    others = ["best_of_all.pth", "best_acc_epoch_2-12345678.pth", "best_of_all_epoch_2.pth"]
    folder = filled(made.mmengine(), files=[*FILES, *others])
    assert removed(folder, "last") == ["best_acc_epoch_2.pth", "epoch_1.pth", "epoch_2.pth"]
