from __future__ import annotations

import io
import os
import zipfile
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mm2pl.checkpoint.reader import (
    CheckpointError,
    previous_checkpoint,
    read_checkpoint,
    read_outline,
)
from mm2pl.checkpoint.writer import save_checkpoint


@pytest.fixture
def good(tmp_path):
    """A folder with an intact ``epoch_1.pth``, named by ``last_checkpoint``."""
    torch.save({"state_dict": {"w": torch.arange(1000.0)}}, tmp_path / "epoch_1.pth")
    (tmp_path / "last_checkpoint").write_text(str(tmp_path / "epoch_1.pth"))
    return tmp_path


def zip_of(**files: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def damaged(how: str, intact: bytes) -> bytes:
    middle = intact.find(torch.arange(1000.0).numpy().tobytes()) + 2000
    return {
        "empty": b"",
        "truncated": intact[:-500],
        "half": intact[: len(intact) // 2],
        "first byte": intact[:1],
        "weight bit": intact[:middle] + bytes([intact[middle] ^ 1]) + intact[middle + 1 :],
        "zip": zip_of(readme=b"hello"),
        "zip of a pickle": zip_of(**{"x/data.pkl": b"\x80\x02}."}),
        "text": b"not a checkpoint\n" * 50,
        "zeros": bytes(4096),
        "html": b"<!doctype html><html>404</html>",
    }[how]


DAMAGES = {
    "empty": "is empty",
    "truncated": "the table of contents at its end is missing",
    "half": "the table of contents at its end is missing",
    "first byte": "is damaged or no checkpoint",
    "weight bit": r"the checksum of '.*data/0' does not match",
    "zip": "is a zip file of something else than a checkpoint",
    "zip of a pickle": "is damaged or no checkpoint",
    "text": "is damaged or no checkpoint",
    "zeros": "is damaged or no checkpoint",
    "html": "is damaged or no checkpoint",
}


@pytest.mark.parametrize(("how", "message"), DAMAGES.items(), ids=DAMAGES)
@pytest.mark.parametrize("in_memory", [False, True], ids=["file", "memory"])
def test_damage_is_found_and_the_previous_checkpoint_named(good, how, message, in_memory):
    path = good / "epoch_2.pth"
    content = damaged(how, (good / "epoch_1.pth").read_bytes())
    path.write_bytes(content)
    source = io.BytesIO(content) if in_memory else path
    hint = "" if in_memory else r".*epoch_1\.pth"
    with pytest.raises(CheckpointError, match=rf"epoch_2\.pth.*{message}{hint}"):
        read_checkpoint(source, name=str(path))
    assert path.read_bytes() == content


SMALL = io.BytesIO()
torch.save({"state_dict": {"w": torch.arange(4.0), "b": torch.zeros(2)}, "epoch": 3}, SMALL)


@settings(max_examples=400, deadline=None)
@given(st.integers(0, len(SMALL.getvalue()) * 8 - 1))
def test_a_flipped_bit_is_found_or_harmless(bit):
    content = bytearray(SMALL.getvalue())
    content[bit // 8] ^= 1 << bit % 8
    try:
        got = read_checkpoint(io.BytesIO(bytes(content)))
    except CheckpointError:
        return
    assert got["epoch"] == 3
    assert torch.equal(got["state_dict"]["w"], torch.arange(4.0))
    assert torch.equal(got["state_dict"]["b"], torch.zeros(2))


def test_files_without_checksums_are_read(tmp_path):
    torch.serialization.set_crc32_options(False)
    try:
        torch.save({"w": torch.ones(3)}, tmp_path / "x.pth")
    finally:
        torch.serialization.set_crc32_options(True)
    assert torch.equal(read_checkpoint(tmp_path / "x.pth")["w"], torch.ones(3))


def test_a_missing_file_is_not_found(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nothing\.pth can not be found\.$"):
        read_checkpoint(tmp_path / "nothing.pth")
    for name in ("epoch_2.pth", "last.ckpt", "notes.txt"):
        (tmp_path / name).touch()
    near = r"nothing\.pth can not be found → one that is there: last\.ckpt, epoch_2\.pth$"
    with pytest.raises(FileNotFoundError, match=near):
        read_checkpoint(tmp_path / "nothing.pth")
    for epoch in range(3, 13):
        (tmp_path / f"epoch_{epoch}.pth").touch()
    last = "epoch_8.pth, epoch_9.pth, epoch_10.pth, epoch_11.pth, epoch_12.pth and 7 more"
    with pytest.raises(FileNotFoundError, match=f"there: {last}$"):
        read_checkpoint(tmp_path / "nothing.pth")
    with pytest.raises(FileNotFoundError, match="is a folder → name a checkpoint in it"):
        read_checkpoint(tmp_path)


def test_a_wrong_device_is_no_damage(good):
    with pytest.raises(RuntimeError, match="cuda"):
        read_checkpoint(good / "epoch_1.pth", "cuda:7")
    with pytest.raises(CheckpointError, match="damaged"):
        read_checkpoint(io.BytesIO(b"x" * 10), "cuda:7")


@pytest.mark.skipif(torch.cuda.is_available(), reason="shows what a machine without CUDA does")
def test_a_gpus_file_on_a_machine_without_one_is_no_damage(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.serialization, "location_tag", lambda storage: "cuda:0")
    torch.save({"w": torch.ones(1)}, tmp_path / "gpu.pth")
    with pytest.raises(RuntimeError, match=r"CUDA.*map_location") as raised:
        read_checkpoint(tmp_path / "gpu.pth")
    assert not isinstance(raised.value, CheckpointError)
    assert read_checkpoint(tmp_path / "gpu.pth", "cpu")["w"] == 1


@pytest.mark.parametrize(
    ("files", "marker", "expected"),
    [
        (
            {"epoch_1.pth": 1, "epoch_2.pth": 2, "best_acc_epoch_2.pth": 3},
            "epoch_1.pth",
            "epoch_1.pth",
        ),
        ({"epoch_1.pth": 1, "epoch_2.pth": 2, "best_acc_epoch_2.pth": 3}, None, "epoch_2.pth"),
        ({"epoch_1.pth": 2, "epoch_2.pth": 1}, "broken.pth", "epoch_1.pth"),
        ({"epoch_1.pth": 1, "epoch_2.pth": -2}, None, "epoch_1.pth"),
        ({"best_acc_epoch_2.pth": 1}, None, "best_acc_epoch_2.pth"),
        ({"version_0.ckpt": 1}, None, "version_0.ckpt"),
        ({"notes.txt": 1}, None, None),
        ({}, "/elsewhere/epoch_1.pth", None),
    ],
    ids=[
        "marker",
        "newest periodic",
        "marker names this one",
        "skips broken",
        "best",
        "ckpt",
        "text",
        "moved",
    ],
)
def test_the_previous_checkpoint(tmp_path, files, marker, expected):
    """Times in the table; a negative one is a broken file."""
    broken = tmp_path / "broken.pth"
    broken.write_bytes(b"PK nonsense")
    for name, time in files.items():
        torch.save({"w": torch.ones(1)}, tmp_path / name)
        if time < 0:
            (tmp_path / name).write_bytes(b"PK nonsense")
        os.utime(tmp_path / name, (abs(time), abs(time)))
    if marker:
        (tmp_path / "last_checkpoint").write_text(marker)
    found = previous_checkpoint(broken)
    assert found == (expected and str(tmp_path / expected))


@pytest.mark.parametrize(
    "content",
    [bytes(2000), b"<html></html>", b"some text", b"\x80\x04K\x01.", None],
    ids=["zeros", "html", "text", "pickle", "dangling-link"],
)
@pytest.mark.parametrize("marker", [None, "epoch_9.pth", "/etc/passwd"])
def test_what_is_no_checkpoint_is_no_other_one(tmp_path, content, marker):
    torch.save({"w": torch.ones(1)}, tmp_path / "epoch_1.pth")
    os.utime(tmp_path / "epoch_1.pth", (1, 1))
    if content is None:
        (tmp_path / "epoch_9.pth").symlink_to("nowhere")
    else:
        (tmp_path / "epoch_9.pth").write_bytes(content)
    if marker:
        (tmp_path / "last_checkpoint").write_text(marker)
    (tmp_path / "x.pth").write_bytes(b"PK")
    assert previous_checkpoint(tmp_path / "x.pth") == str(tmp_path / "epoch_1.pth")


@pytest.mark.parametrize("kind", [tuple, list])
def test_what_is_shared_is_read_and_written_once(tmp_path, kind):
    value = kind([1])
    for _ in range(60):
        value = kind([value, value])
    torch.save({"state_dict": {}, "meta": {"deep": value}}, tmp_path / "x.pth")
    content = read_checkpoint(tmp_path / "x.pth")
    save_checkpoint(content, str(tmp_path / "y.pth"))
    deep = read_checkpoint(tmp_path / "y.pth")["meta"]["deep"]
    assert deep[0] is deep[1]
    assert (tmp_path / "y.pth").stat().st_size < 10_000


def compress(source, target):
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as new:
        for entry in old.infolist():
            new.writestr(entry.filename, old.read(entry))


def test_a_small_file_that_unpacks_to_much_is_not_read(good):
    bomb, whole = good / "bomb.pth", good / "whole.pth"
    torch.save({"state_dict": {"w": torch.zeros(2**24 + 1)}}, whole)
    compress(whole, bomb)
    message = (
        r"bomb\.pth is a zip file of \d+ bytes that unpacks to 6\d{7} → .* next to it is .*epoch_1"
    )
    for read in (read_checkpoint, partial(read_outline, check_bits=False)):
        with pytest.raises(CheckpointError, match=message):
            read(bomb)
    with pytest.raises(CheckpointError, match="unpacks to"):
        read_checkpoint(io.BytesIO(bomb.read_bytes()))
    whole.unlink()
    assert previous_checkpoint(good / "epoch_1.pth") is None


def test_a_file_that_somebody_has_compressed_is_read(good):
    compress(good / "epoch_1.pth", good / "small.pth")
    weights = read_checkpoint(good / "small.pth")["state_dict"]["w"]
    assert torch.equal(weights, torch.arange(1000.0))


@pytest.mark.filterwarnings("ignore")
def test_an_outline_of_quantized_tensors(tmp_path):
    made = torch.quantize_per_tensor(torch.ones(2, 2), 0.1, 0, torch.quint8)
    torch.save({"state_dict": {"w": made}}, tmp_path / "x.pth")
    assert read_outline(tmp_path / "x.pth")["state_dict"]["w"].shape == (2, 2)
