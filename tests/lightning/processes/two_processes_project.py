"""A project for runs with two processes: it fails, waits or looks who writes, as environment variables say."""

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import Dataset

from mm2pl.evaluator import BaseMetric
from mm2pl.hooks import Hook
from mm2pl.model import BaseModel
from mm2pl.registry import DATASETS, HOOKS, METRICS, MODELS

RANK = int(os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0")))


def note_writing(event: str, arguments: Any) -> None:
    """Write down, next to the work folder, which files below it the second process opens for writing."""
    changes = event in ("os.mkdir", "os.rename", "os.remove")
    if event == "open" and isinstance(arguments[0], str):
        changes = bool(arguments[2] & (os.O_WRONLY | os.O_RDWR))
    if changes and "/runs/" in str(arguments[0]) and "__pycache__" not in str(arguments[0]):
        with os.fdopen(os.open("second.txt", os.O_APPEND | os.O_CREAT | os.O_WRONLY), "a") as file:
            file.write(f"{event} {arguments[0]}\n")


if RANK == 1:
    sys.addaudithook(note_writing)


@DATASETS.register_module()
class TwoProcessPoints(Dataset):
    def __len__(self) -> int:
        return 64

    def __getitem__(self, index: int) -> Any:
        return torch.full((2,), float(index)), torch.tensor(index % 2)


@MODELS.register_module()
class TwoProcessNet(BaseModel):
    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(2, 2)

    def forward(self, x: Any, y: Any, mode: str = "tensor") -> Any:
        if mode == "predict":
            return list(self.linear(x).argmax(1) == y)
        return {"loss": torch.nn.functional.cross_entropy(self.linear(x / 64), y)}


@METRICS.register_module()
class TwoProcessAccuracy(BaseMetric):
    def process(self, data_batch: Any, data_samples: Any) -> None:
        self.results.extend(map(float, data_samples))

    def compute_metrics(self, results: list) -> dict:
        return {"accuracy": sum(results) / len(results), "samples": len(results)}


@HOOKS.register_module()
class Happening(Hook):
    """Do to the process of rank ``HAPPENS_TO`` what ``HAPPENS`` says, in the third iteration."""

    def __init__(self) -> None:
        self.points: list[int] = []

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        happens = os.environ.get("HAPPENS")
        if happens == "look" and runner.epoch == 0:
            self.points += data_batch[0][:, 0].int().tolist()
            seen = {"seed": runner.seed, "points": self.points}
            Path(f"seen{RANK}.json").write_text(json.dumps(seen))
        if happens == "sigterm":
            time.sleep(0.01)
        if happens == "wrapper" and RANK == 0 and runner.iter == 0:
            ddp = runner.trainer.strategy.model
            names = ("find_unused_parameters", "static_graph", "broadcast_buffers")
            Path("wrapper.json").write_text(json.dumps({n: getattr(ddp, n) for n in names}))
        if runner.iter != 2 or str(RANK) not in os.environ.get("HAPPENS_TO", ""):
            return
        Path(f"reached{RANK}.txt").touch()
        if happens == "failure":
            raise RuntimeError(f"planned failure on rank {RANK}")
        if happens == "mistake":
            runner.build_evaluator(1)
        if happens == "sigterm":
            os.kill(os.getpid(), signal.SIGTERM)
