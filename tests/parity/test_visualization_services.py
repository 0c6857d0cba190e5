"""Backends of services call the clients as MMEngine's do; the clients are stand-ins."""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import pytest

pytestmark = pytest.mark.parity

IMAGE = np.full((2, 3, 3), 51, dtype=np.uint8)
PACKAGES = {
    "ClearMLVisBackend": "clearml",
    "NeptuneVisBackend": "neptune",
    "DVCLiveVisBackend": "dvclive",
    "AimVisBackend": "aim",
}


def calls(package: str, kind: str, folder: str, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Record one thing of each kind and return what the client was called with."""
    client = MagicMock()
    monkeypatch.setitem(sys.modules, PACKAGES[kind], client)
    monkeypatch.setitem(sys.modules, f"{PACKAGES[kind]}.types", client.types)
    backend = getattr(importlib.import_module(f"{package}.visualization"), kind)(
        save_dir=folder, init_kwargs={"given": 1}
    )
    config = importlib.import_module(f"{package}.config").Config
    backend.add_config(config({"work_dir": folder, "size": 2}))
    backend.add_image("picture", IMAGE, 3)
    backend.add_scalar("a", 0.5, 4)
    backend.add_scalars({"b": 2, "c": np.float32(1)}, step=5)
    backend.close()
    return [(name, plain(args), plain(kwargs)) for name, args, kwargs in client.mock_calls]


def plain(value: Any) -> Any:
    """Replace arrays by their bytes and stand-ins by a word, so that calls can be compared."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, np.ndarray):
        return (value.dtype.str, value.tobytes())
    return "stand-in" if isinstance(value, MagicMock) else value


@pytest.mark.parametrize("kind", PACKAGES)
def test_same_calls(kind: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mmengine")
    (tmp_path / "deep").mkdir()
    for name in ("run.py", "weights.pth", "deep/scalars.json"):
        (tmp_path / name).write_text("")
    monkeypatch.setitem(sys.modules, "pygit2", MagicMock())
    monkeypatch.setattr(os, "system", lambda command: pytest.fail(command))
    ours, theirs = (
        calls(package, kind, str(tmp_path), monkeypatch) for package in ("mm2pl", "mmengine")
    )
    assert ours == theirs
