from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
import torch

from mm2pl.checkpoint.latest import damage, find_latest_checkpoint
from mm2pl.checkpoint.reader import CheckpointError

WEIGHTS = {"state_dict": {"w": torch.ones(2)}, "meta": {"epoch": 1, "iter": 2}}


def periodic(path: Path, iter: int = 2, *, day: int = 1, **meta: object) -> None:
    """Write a file from which a run can go on, as MMEngine does it; ``day`` is when, for the file system."""
    torch.save({**WEIGHTS, "optimizer": {}, "meta": {"epoch": 1, "iter": iter, **meta}}, path)
    os.utime(path, (day * 86400, day * 86400))


def truncated(path: Path, day: int = 9) -> None:
    periodic(path)
    os.truncate(path, 300)
    os.utime(path, (day * 86400, day * 86400))


def write(folder: Path, files: dict[str, object]) -> None:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if content == "cut":
            truncated(path)
        elif isinstance(content, dict):
            periodic(path, **content)
        else:
            torch.save(WEIGHTS, path)


@pytest.mark.parametrize(
    ("marker", "files", "expected"),
    [
        pytest.param(None, {}, None, id="nothing"),
        pytest.param("{}/epoch_1.pth\n", {"epoch_1.pth": {}}, "epoch_1.pth", id="here"),
        pytest.param("/moved/epoch_1.pth", {"epoch_1.pth": {}}, "epoch_1.pth", id="moved"),
        pytest.param("{}/m/iter_8", {"m/iter_8/x.pth": {}}, "m/iter_8", id="sharded"),
        pytest.param(
            None, {"epoch_1.pth": {}, "epoch_2.pth": {"day": 2}}, "epoch_2.pth", id="missing"
        ),
        pytest.param("", {"epoch_1.pth": {}}, "epoch_1.pth", id="empty"),
        pytest.param("{}/epoch_2.pth", {"epoch_1.pth": {}}, "epoch_1.pth", id="gone"),
        pytest.param(
            "{}/epoch_2.pth", {"epoch_1.pth": {}, "epoch_2.pth": "cut"}, "epoch_1.pth", id="damaged"
        ),
        pytest.param(
            None,
            {
                "x7.pth": {},
                "best_acc_x8.pth": {"day": 8},
                "x8-1a2b3c4d.pth": {"day": 8},
                "r50.pth": 1,
            },
            "x7.pth",
            id="own-name",
        ),
        # The times of copied files are those of copying.
        pytest.param(
            None,
            {
                "epoch_9.pth": {"day": 3, "time": "20260101_000000"},
                "epoch_10.pth": {"day": 2, "time": "20260101_000100"},
                "epoch_8.pth": {"day": 4, "time": "Thu Jan  1 00:00:00 1970"},
            },
            "epoch_10.pth",
            id="copied",
        ),
        pytest.param(
            None,
            {"iter_9.pth": {"iter": 9}, "iter_10.pth": {"iter": 10}},
            "iter_10.pth",
            id="same-time",
        ),
        pytest.param("{}/out/exp/b.pth", {"out/exp/a.pth": {}}, "out/exp/a.pth", id="out-dir"),
        pytest.param(None, {"r50.pth": 1}, None, id="only-pretrained-weights"),
        pytest.param(None, {"best_acc_epoch_1.pth": 1}, None, id="only-best"),
    ],
)
def test_the_newest(tmp_path, marker, files, expected):
    folder = tmp_path / "exp"
    folder.mkdir()
    write(folder, files)
    if marker is not None:
        (folder / "last_checkpoint").write_text(marker.format(folder))
    found = find_latest_checkpoint(str(folder))
    assert found == (expected and str(folder / expected))


def test_in_a_copied_folder_the_copy_is_the_newest(tmp_path):
    write(tmp_path / "a", {"epoch_1.pth": {}})
    (tmp_path / "a" / "last_checkpoint").write_text(str(tmp_path / "a" / "epoch_1.pth"))
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    assert find_latest_checkpoint(str(tmp_path / "b")) == str(tmp_path / "b" / "epoch_1.pth")


def zeros(path: Path) -> None:
    path.write_bytes(bytes(3000))


DAMAGED = {
    "zeros": bytes(60),
    "binary": b"\x80\xff\xfe",
    "two-lines": b"a.pth\nb.pth",
    "long": b"a" * 9999,
}


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_marker_is_one_that_says_nothing(tmp_path, capsys, content):
    write(tmp_path, {"epoch_1.pth": {}, "epoch_2.pth": {"day": 2}})
    (tmp_path / "last_checkpoint").write_bytes(content)
    assert find_latest_checkpoint(str(tmp_path)) == str(tmp_path / "epoch_2.pth")
    assert "last_checkpoint is damaged → " in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["folder", "dangling"])
def test_a_marker_that_is_no_file(tmp_path, kind):
    write(tmp_path, {"epoch_1.pth": {}})
    marker = tmp_path / "last_checkpoint"
    marker.mkdir() if kind == "folder" else marker.symlink_to("nowhere")
    assert find_latest_checkpoint(str(tmp_path)) == str(tmp_path / "epoch_1.pth")


@pytest.mark.parametrize(
    "elsewhere", ["/etc/passwd", "{}/other/epoch_9.pth", "../other/epoch_9.pth"]
)
def test_a_marker_leads_to_no_other_folder(tmp_path, elsewhere):
    write(tmp_path, {"run/epoch_1.pth": {}, "other/epoch_9.pth": {"day": 9}})
    (tmp_path / "run" / "last_checkpoint").write_text(elsewhere.format(tmp_path))
    found = find_latest_checkpoint(str(tmp_path / "run"))
    assert found == str(tmp_path / "run" / "epoch_1.pth")


def test_in_a_copy_of_the_same_name_the_copy_is_judged(tmp_path):
    write(tmp_path / "a" / "run", {"epoch_1.pth": {}, "epoch_2.pth": {"day": 2}})
    (tmp_path / "a" / "run" / "last_checkpoint").write_text(f"{tmp_path}/a/run/epoch_2.pth")
    copy = shutil.copytree(tmp_path / "a" / "run", tmp_path / "b" / "run")
    (copy / "epoch_2.pth").unlink()
    assert find_latest_checkpoint(str(copy)) == str(copy / "epoch_1.pth")


def test_only_a_whole_file_is_the_newest(tmp_path):
    write(tmp_path, {"epoch_1.pth": {}, "epoch_2.pth": {"day": 2}, "epoch_5.pth": {"day": 5}})
    changed = bytearray((tmp_path / "epoch_2.pth").read_bytes())
    place = changed.find(torch.ones(2).numpy().tobytes())
    changed[place] ^= 1
    (tmp_path / "epoch_2.pth").write_bytes(changed)
    os.utime(tmp_path / "epoch_2.pth", (3 * 86400, 3 * 86400))
    zeros(tmp_path / "epoch_3.pth")
    (tmp_path / "epoch_4.pth").symlink_to("nowhere")
    (tmp_path / "epoch_5.pth").write_text("<html>Not found</html>")
    assert find_latest_checkpoint(str(tmp_path)) == str(tmp_path / "epoch_1.pth")


def test_a_file_elsewhere_is_left_to_its_reader(tmp_path):
    (tmp_path / "last_checkpoint").write_text("s3://bucket/epoch_1.pth")
    assert find_latest_checkpoint(str(tmp_path)) == "s3://bucket/epoch_1.pth"


def test_further_folders(tmp_path):
    write(tmp_path / "out", {"epoch_1.pth": {}})
    found = find_latest_checkpoint(str(tmp_path / "work"), [str(tmp_path / "out"), "s3://bucket"])
    assert found == str(tmp_path / "out" / "epoch_1.pth")


@pytest.mark.parametrize(
    ("marker", "files", "said"),
    [
        (
            None,
            {"epoch_1.pth": "cut"},
            r"last_checkpoint is missing, .*:\n  .*epoch_1.pth is truncated",
        ),
        (None, {"epoch_1.pth": 1}, r"no other file of it → .*\n  .*epoch_1.pth holds weights only"),
        (
            "{}/iter_2.pth",
            {"iter_1.pth": "cut", "iter_2.pth": "cut", "r50.pth": 1},
            r"iter_2.pth, which last_checkpoint names, is truncated.*start anew in another work_dir"
            r":\n  .*iter_1.pth is truncated\n  .*iter_2.pth is truncated$",
        ),
        (
            "/a/epoch_1.pth",
            {},
            r"epoch_1.pth, which .* is not there, and .* has no other checkpoint",
        ),
    ],
    ids=["missing", "weights", "all-damaged", "gone"],
)
def test_a_run_without_an_intact_file_is_not_begun_anew(tmp_path, marker, files, said):
    write(tmp_path, files)
    if marker:
        (tmp_path / "last_checkpoint").write_text(marker.format(tmp_path))
    with pytest.raises(CheckpointError, match=said):
        find_latest_checkpoint(str(tmp_path))


def test_what_is_taken_and_why_is_said(tmp_path, capsys):
    write(tmp_path, {"epoch_1.pth": {}, "epoch_2.pth": "cut"})
    (tmp_path / "last_checkpoint").write_text(f"{tmp_path}/epoch_2.pth")
    find_latest_checkpoint(str(tmp_path))
    said = capsys.readouterr()
    text = "epoch_2.pth, which last_checkpoint names, is truncated → "
    assert f"{text}{tmp_path}/epoch_1.pth is the newest intact checkpoint" in said.out + said.err


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "is empty"),
        (b"<html>", "is not a checkpoint"),
        (b"PK\3\4...", "is truncated"),
        (bytes(99), "is not a checkpoint"),
        (b"\x80\x04K\x01.", "is not a checkpoint"),
        (None, None),
    ],
    ids=["empty", "other", "cut", "zeros", "another-pickle", "before-torch-1.6"],
)
def test_damage(tmp_path, content, expected):
    path = tmp_path / "x.pth"
    if content is None:
        torch.save(WEIGHTS, path, _use_new_zipfile_serialization=False)
    else:
        path.write_bytes(content)
    assert damage(path) == expected
