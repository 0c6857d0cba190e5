"""Work folders as files, of each kind that there is."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from mm2pl.run import lock

CONFIG = """optim_wrapper = dict(optimizer=dict(type='SGD', lr={lr}), type='OptimWrapper')
train_cfg = dict(by_epoch=True, max_epochs=4)
default_hooks = dict(checkpoint=dict(type='CheckpointHook', save_best='acc', rule='greater'))
launcher = 'none'
"""
ENVIRONMENT = """2026/01/01 10:00:00 - mmengine - INFO -
------------
System environment:
    sys.platform: linux
    PyTorch: 2.1.0
    PyTorch compiling details: PyTorch built with:
  - GCC 9.3

Runtime environment:
    seed: {seed}
    Distributed launcher: none
------------

2026/01/01 10:00:00 - mmengine - INFO - Config:
answer: 42
"""
OLD_CONFIG = """optimizer = dict(type='SGD', lr=0.02)
runner = dict(type='EpochBasedRunner', max_epochs=3)
evaluation = dict(interval=1, save_best='bbox_mAP')
"""
STARTS = ("20260101_100000", "20260101_110000", "20260101_120000")


def lines(rows: Iterable[dict[str, Any]]) -> str:
    return "".join(f"{json.dumps(row)}\n" for row in rows)


def rows_by_epoch(first: int, last: int, shift: float = 0.0) -> list[dict[str, Any]]:
    """Return what MMEngine writes of epochs of 10 iterations: a line after the fifth, and one of the validation."""
    found: list[dict[str, Any]] = []
    for epoch in range(first, last + 1):
        i = (epoch - 1) * 10 + 5
        train = {"lr": 0.1 / epoch, "data_time": 0.1, "loss": 2.0 / epoch + shift, "time": 0.5}
        found.append({**train, "epoch": epoch, "iter": i, "step": i})
        accuracy = 70.0 + epoch * (5 - epoch) + shift
        found.append({"acc": accuracy, "data_time": 0.1, "time": 0.2, "step": epoch})
    return found


class Made:
    """Make work folders below ``root``."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def mmengine(self, name: str = "theirs", lr: float = 0.1, parts: Any = ((1, 4),)) -> Path:
        folder = self.root / name
        for start, (first, last) in zip(STARTS, parts, strict=False):
            data = folder / start / "vis_data"
            data.mkdir(parents=True)
            (data / "scalars.json").write_text(lines(rows_by_epoch(first, last, shift=lr)))
            (data / "config.py").write_text(CONFIG.format(lr=lr))
            said = ENVIRONMENT.format(seed=round(lr * 100))
            (folder / start / f"{start}.log").write_text(
                f"{said}2026/01/01 10:00:00 - mmengine - INFO - Epoch(train)  [1][ 5/10]  loss: 2.0\n"
            )
        (folder / "config.py").write_text(CONFIG.format(lr=lr))
        (folder / "epoch_4.pth").write_bytes(b"x" * 2048)
        (folder / "last_checkpoint").write_text(str(folder / "epoch_4.pth"))
        return folder

    def own(self, name: str, state: str, **facts: Any) -> Path:
        """Make a run of mm2pl's: alive or killed with ``running``, and ended with another state."""
        folder = self.mmengine(name, parts=((1, 2),))
        content = {**self.me(), "state": state, "error": None, **facts}
        held = folder / lock.NAME if state == "running" else folder / STARTS[0] / lock.LAST
        held.write_text(json.dumps(content))
        return folder

    @staticmethod
    def me() -> dict[str, Any]:
        now = time.time()
        position = {"epoch": 2, "iter": 25, "max_epochs": 4, "max_iters": 40}
        return {**lock._me(), "since": now, "heartbeat": now, "position": position}

    def mmcv(self, name: str = "old", by_epoch: bool = True) -> Path:
        """Make a run of MMCV 1.x's: 3 epochs of 8 iterations, or 30 iterations."""
        folder = self.root / name
        folder.mkdir(parents=True)
        rows: list[dict[str, Any]] = [
            {"env_info": "sys.platform: linux", "seed": 1, "exp_name": "c.py"}
        ]
        for epoch in (1, 2, 3):
            i = 5 if by_epoch else epoch * 10
            part = {"mode": "train", "epoch": epoch, "iter": i, "lr": 0.02, "memory": 100}
            rows.append({**part, "data_time": 0.1, "loss": 1 / epoch, "time": 0.25})
            metric = {"bbox_mAP": 0.1 * epoch, "bbox_mAP_copypaste": "0.1 0.2"}
            rows.append({"mode": "val", "epoch": epoch, "iter": 99, "lr": 0.02, **metric})
        (folder / "20220101_100000.log.json").write_text(lines(rows))
        head = "Epoch [1][5/8]\t" if by_epoch else "Iter [10/30]\t"
        (folder / "20220101_100000.log").write_text(
            f"2022-01-01 10:00:00,000 - mmdet - INFO - {head}lr: 2.000e-02, eta: 1 day, 0:00:07, loss: 1.0\n"
        )
        config = OLD_CONFIG
        if not by_epoch:
            config = config.replace("EpochBasedRunner", "IterBasedRunner").replace(
                "epochs=3", "iters=30"
            )
        (folder / "c.py").write_text(config)
        (folder / "epoch_3.pth").write_bytes(b"x" * 100)
        os.symlink("epoch_3.pth", folder / "latest.pth")
        return folder

    def damaged(self, name: str = "damaged") -> Path:
        folder = self.mmengine(name)
        scalars = folder / STARTS[0] / "vis_data" / "scalars.json"
        whole = scalars.read_bytes()
        scalars.write_bytes(
            b"\x00\xff{\n[1]\n" + whole + b'{"loss": NaN, "iter": 45, "epoch": 5}\n{"lo'
        )
        for config in (folder / "config.py", scalars.with_name("config.py")):
            config.write_text("train_cfg = dict(\n")
        (folder / STARTS[0] / lock.LAST).write_text('{"state": "fin')
        return folder

    def sixty(self) -> list[Path]:
        """Make ten of each kind, all in their own folders."""
        gone = {"pid": 2**22 + 1, "started": "1"}
        makers: list[Callable[[str], Path]] = [
            lambda n: self.own(n, "finished"),
            lambda n: self.own(n, "running"),
            lambda n: self.own(n, "running", **gone),
            lambda n: self.mmengine(n, parts=((1, 2), (2, 3), (3, 4))),
            lambda n: self.mmcv(n),
            lambda n: self.damaged(n),
        ]
        return [make(f"kind{k}/run{i}") for k, make in enumerate(makers) for i in range(10)]


@pytest.fixture
def made(tmp_path: Path) -> Made:
    return Made(tmp_path / "work_dirs")


@pytest.fixture
def elsewhere() -> dict[str, Any]:
    """Return who a process of another machine is."""
    return {"host": f"not-{socket.gethostname()}", "pid": 1, "started": "1"}
