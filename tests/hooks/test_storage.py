"""Checkpoints go where a storage backend puts them, and by its methods."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest

from mm2pl.fileio import LocalBackend
from mm2pl.fileio.backends import prefix_to_backends
from mm2pl.fileio.backends.base import BaseStorageBackend
from tests.scenarios import Scenario, build


class Memory(BaseStorageBackend):
    """Keep files in a dict."""

    files: ClassVar[dict[str, bytes]] = {}

    def get(self, filepath: Any) -> bytes:
        return self.files[str(filepath)]

    def get_text(self, filepath: Any, encoding: str = "utf-8") -> str:
        return self.get(filepath).decode(encoding)

    def put(self, obj: bytes, filepath: Any) -> None:
        self.files[str(filepath)] = bytes(obj)

    def exists(self, filepath: Any) -> bool:
        return str(filepath) in self.files

    isfile = exists

    def isdir(self, filepath: Any) -> bool:
        return False

    def remove(self, filepath: Any) -> None:
        del self.files[str(filepath)]

    def join_path(self, filepath: Any, *parts: Any) -> str:
        return "/".join([str(filepath).rstrip("/"), *map(str, parts)])


class Counting(LocalBackend):
    """Local files, and a list of what was written."""

    written: ClassVar[list[str]] = []

    def put(self, obj: bytes, filepath: Any) -> None:
        self.written.append(str(filepath))
        super().put(obj, filepath)


def train(work_dir: str, **options: Any) -> None:
    scenario = Scenario(optim_wrapper={"optimizer": {"type": "SGD", "lr": 0.1}})
    keys = ("loss", "lr", "momentum", "metrics", "place", "validated_at")
    build("mm2pl", scenario, work_dir, {key: [] for key in keys}, **options).train()


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_backend_of_the_users(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(prefix_to_backends, "mem", Memory)
    monkeypatch.setattr(Memory, "files", {})
    hook = {"type": "CheckpointHook", "interval": 1, "max_keep_ckpts": 1, "out_dir": "mem://box"}
    train(str(tmp_path / "run"), default_hooks={"checkpoint": hook}, log_level="WARNING")
    assert list(Memory.files) == ["mem://box/run/epoch_3.pth"]
    assert (tmp_path / "run" / "last_checkpoint").read_text() == "mem://box/run/epoch_3.pth"
    assert "deprecated" not in capsys.readouterr().out
    train(str(tmp_path / "next"), load_from="mem://box/run/epoch_3.pth")


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_subclass_of_the_local_backend_writes_by_its_own_method(tmp_path, monkeypatch):
    monkeypatch.setitem(prefix_to_backends, "", Counting)
    monkeypatch.setattr(Counting, "written", [])
    train(str(tmp_path))
    assert Counting.written == [str(tmp_path / f"epoch_{n}.pth") for n in (1, 2, 3)]
