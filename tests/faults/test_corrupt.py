"""Files that are no good checkpoint: an error that names a good one, however the run was given them."""

from __future__ import annotations

import os
import shutil
import zipfile
from pathlib import Path

import pytest
import torch
from torch import nn

from mm2pl.checkpoint.loader import CheckpointError
from tests.scenarios import Points, Scenario, accuracy, build

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

BOOK = ("loss", "lr", "momentum", "metrics", "place", "validated_at")


def truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def flip_a_bit(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 4
    file.write_bytes(content)


def empty(file: Path) -> None:
    file.write_bytes(b"")


def zip_of_something_else(file: Path) -> None:
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("notes.txt", "hello")


class Malicious:
    def __reduce__(self):
        return os.system, ("touch ran",)


def forbidden_global(file: Path) -> None:
    torch.save({**torch.load(file, weights_only=True), "more": Malicious()}, file)


def other_model(file: Path) -> None:
    content = torch.load(file, weights_only=True)
    torch.save({**content, "state_dict": nn.Linear(3, 3).state_dict()}, file)


DAMAGE = {
    truncate: r"is damaged: the table of contents at its end is missing",
    flip_a_bit: r"is damaged: the checksum of '.*' does not match",
    empty: r"is empty",
    zip_of_something_else: r"is a zip file of something else than a checkpoint",
    forbidden_global: r"pickles posix.system, which torch.load\(weights_only=True\) does not allow",
    other_model: r"do not fit Plain: .*missing|none of its 2 keys .* another model's weights",
}
WAYS = {
    "--resume": ("train", lambda path: {"resume": True}),
    "--resume=PATH": ("train", lambda path: {"resume": True, "load_from": path}),
    "load_from": ("train", lambda path: {"load_from": path}),
    "test": ("test", lambda path: {"load_from": path}),
}


def runner_of(work_dir: Path, **options):
    test = {
        "test_dataloader": {
            "batch_size": 8,
            "dataset": Points(20),
            "sampler": {"type": "DefaultSampler", "shuffle": False},
        },
        "test_cfg": {},
        "test_evaluator": {"type": accuracy("mm2pl")},
    }
    scenario = Scenario(optim_wrapper={"optimizer": {"type": "SGD", "lr": 0.05}})
    book = {key: [] for key in BOOK}
    return build("mm2pl", scenario, str(work_dir), book, **test, **options)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Return the work folder of three epochs."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    runner_of(folder).train()
    return folder


def cases():
    """Yield all but what a --resume sees at a glance, and then takes the file before it."""
    for damage in DAMAGE:
        for way in WAYS:
            if not (way == "--resume" and damage in (truncate, empty)):
                yield pytest.param(damage, way, id=f"{damage.__name__}-{way}")


@pytest.mark.parametrize("damage", [truncate, empty])
def test_a_resume_passes_over_a_file_that_was_cut_off(tmp_path, trained, damage):
    folder = shutil.copytree(trained, tmp_path / "run")
    damage(folder / "epoch_3.pth")
    runner_of(folder, resume=True).train()
    ours, theirs = (torch.load(f / "epoch_3.pth")["state_dict"] for f in (folder, trained))
    assert all(torch.equal(ours[name], value) for name, value in theirs.items())
    assert torch.load(folder / "epoch_3.pth")["meta"]["epoch"] == 3


@pytest.mark.parametrize(("damage", "way"), list(cases()))
def test_a_clear_error_that_names_a_good_file(tmp_path, trained, monkeypatch, damage, way):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "run"
    shutil.copytree(trained, folder)
    bad = folder / "epoch_3.pth"
    (folder / "last_checkpoint").write_text(str(bad))
    damage(bad)
    before = {file: file.read_bytes() for file in folder.glob("*.pth")}
    verb, options = WAYS[way]
    runner = runner_of(folder, **options(str(bad)))
    with pytest.raises(CheckpointError, match=DAMAGE[damage]) as error:
        getattr(runner, verb)()
    message = str(error.value)
    assert message.startswith(str(bad))
    assert message.endswith(f"The newest intact checkpoint next to it is {folder / 'epoch_2.pth'}")
    assert {file: file.read_bytes() for file in folder.glob("*.pth")} == before
    assert not (tmp_path / "ran").exists()
