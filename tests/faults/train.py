"""Train in a process of its own, one of several maybe; it kills itself at a given moment, or somebody does."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

import torch

from mm2pl.hooks import Hook
from mm2pl.lightning import ranks
from tests.scenarios import Scenario, build

SGD = {"type": "SGD", "lr": 0.05, "momentum": 0.9}
ADAM = {"type": "AdamW", "lr": 0.01}
SAVING = {"type": "CheckpointHook", "save_best": "accuracy", "rule": "greater", "max_keep_ckpts": 3}
EPOCHS: dict[str, Any] = {
    "train_cfg": {"by_epoch": True, "max_epochs": 4},
    "default_hooks": {"checkpoint": {**SAVING, "by_epoch": False, "interval": 4}},
    "param_scheduler": {"type": "CosineAnnealingLR", "by_epoch": True},
}
ITERS: dict[str, Any] = {
    "train_cfg": {"by_epoch": False, "max_iters": 36, "val_interval": 7},
    "sampler": {"type": "InfiniteSampler", "shuffle": True},
    "default_hooks": {"checkpoint": {**SAVING, "by_epoch": False, "interval": 5}},
    "param_scheduler": {"type": "PolyLR", "by_epoch": False, "power": 0.9},
}


def two_processes(counts: int) -> Scenario:
    """Make 30 iterations; with 3 and 4, most files are written inside an open window, and 4 leaves one at the end."""
    return Scenario(
        optim_wrapper={"optimizer": SGD, "accumulative_counts": counts},
        train_cfg={"by_epoch": True, "max_epochs": 6},
        param_scheduler={"type": "CosineAnnealingLR", "by_epoch": True},
        custom_hooks=[{"type": "EMAHook", "momentum": 0.05}],
        # None is deleted, so that none may be missing.
        default_hooks={
            "checkpoint": {**SAVING, "max_keep_ckpts": -1, "by_epoch": False, "interval": 2}
        },
    )


# Without workers the data set draws random numbers, with workers it does not; dropout everywhere.
SCENARIOS = {
    "epochs": Scenario(optim_wrapper={"optimizer": SGD, "accumulative_counts": 2}, **EPOCHS),
    "epochs, workers": Scenario(optim_wrapper={"optimizer": SGD}, workers=2, **EPOCHS),
    "iterations": Scenario(
        optim_wrapper={"optimizer": ADAM, "accumulative_counts": 3},
        custom_hooks=[{"type": "EMAHook", "momentum": 0.05}],
        **ITERS,
    ),
    "iterations, workers": Scenario(optim_wrapper={"optimizer": ADAM}, workers=2, **ITERS),
    **{f"two processes, {counts}": two_processes(counts) for counts in (1, 3, 4)},
}


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def hang() -> None:
    time.sleep(1e6)


class Killer(Hook):
    """End or hold the process at the n-th training or validation iteration, before or after all other hooks."""

    def __init__(self, point: str, count: int, first: bool, hangs: bool = False) -> None:
        self.point = point
        self.left = count
        self.act = hang if hangs else die
        self.priority = 0 if first else 100

    def _tick(self, point: str) -> None:
        self.left -= point == self.point
        if not self.left:
            self.act()

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        self._tick("before_train_iter")

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        self._tick("after_train_iter")

    def after_val_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        self._tick("after_val_iter")

    def after_val_epoch(self, runner: Any, metrics: Any = None) -> None:
        self._tick("after_val_epoch")


def kill_in_save(point: str, count: int) -> None:
    """Make the n-th save die: with half a file written, before it gets its name, or just after."""
    save, replace = torch.save, os.replace
    left = [count]

    def dying_save(content: Any, file: Any) -> None:
        left[0] -= 1
        if left[0] or point != "half":
            save(content, file)
            return
        file.write(os.urandom(1000))
        file.flush()
        die()

    def dying_replace(source: Any, target: Any) -> None:
        ours = str(target).endswith(".pth") and not left[0]
        if ours and point == "before rename":
            die()
        replace(source, target)
        if ours:
            die()

    torch.save, os.replace = dying_save, dying_replace


def main(task: dict[str, Any], rank: int, processes: int, port: int) -> None:
    """Do a task in a process that is forked from one in which everything is imported."""
    os.setsid()  # so that its own workers can be killed with it
    output = os.open(task["output"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    scenario = SCENARIOS[task["scenario"]]
    options: dict[str, Any] = {"resume": task["resume"]}
    if processes > 1:
        place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": processes, "MASTER_PORT": port}
        os.environ.update(
            {key: str(value) for key, value in place.items()}, MASTER_ADDR="localhost"
        )
        dist_cfg = {"backend": "gloo", "timeout": task["timeout"]}
        options |= {"launcher": "pytorch", "env_cfg": {"dist_cfg": dist_cfg}}
    ranks.GRACE = 3.0
    kill = task.get("kill") if rank in task["victims"] else None
    if kill and kill["point"] in ("half", "before rename", "after rename"):
        kill_in_save(kill["point"], kill["count"])
    elif kill:
        scenario.custom_hooks = [*scenario.custom_hooks, Killer(**kill)]
    book: dict[str, list] = {
        k: [] for k in ("loss", "lr", "momentum", "metrics", "place", "validated_at")
    }
    runner = build("mm2pl", scenario, task["work_dir"], book, **options)
    runner.train()
    if rank == 0:
        torch.save(runner.model.state_dict(), task["weights"])
