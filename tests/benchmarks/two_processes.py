"""Training with two processes over gloo, and what Lightning's word about SIGTERM before every batch costs there."""

from __future__ import annotations

import functools
import importlib
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.benchmarks.measure import Run, Sample, Scenario, Stopwatch, quiet
from tests.benchmarks.parts import PACKAGES
from tests.processes import torchrun

ITERATIONS = 400
ROWS = {"mmengine": "MMEngine Runner", "mm2pl": "mm2pl", "broadcast": "mm2pl, and Lightning's word"}


def child(row: str, folder: str, iterations: str) -> None:
    """Train in one of the processes; the first writes what an iteration took."""
    import torch

    from tests.benchmarks.drivers import clock, model_of
    from tests.benchmarks.iterations import ADAM
    from tests.benchmarks.networks import Mlp, Task, points

    package = "mmengine" if row == "mmengine" else "mm2pl"
    torch.set_num_threads(1)
    torch.cuda.set_device = lambda device: None  # MMEngine expects a GPU per process
    task = Task(network=Mlp, loader=points(64), iterations=int(iterations), optimizer=ADAM)
    watch = Stopwatch()
    more: dict[str, Any] = {}
    if package == "mmengine":
        wrapper = {"device_ids": None, "broadcast_buffers": False}
        more["cfg"] = {"model_wrapper_cfg": wrapper}
    with quiet():
        runner = importlib.import_module(f"{package}.runner").Runner(
            model=model_of(task, package),
            work_dir=f"{folder}/{row}",
            train_dataloader=task.batches(),
            train_cfg={"by_epoch": True, "max_epochs": 1},
            optim_wrapper={"optimizer": dict(ADAM)},
            launcher="pytorch",
            env_cfg={"dist_cfg": {"backend": "gloo"}},
            **more,
        )
        runner.register_hook(clock(package, watch))
        if row == "broadcast":
            runner.trainer.callbacks.append(before_every_batch())
        runner.train()
    if os.environ["RANK"] == "0":
        Path(folder, "sample.json").write_text(json.dumps([watch.sample.wall, watch.sample.cpu]))


def before_every_batch() -> Any:
    """Return a callback that does before each batch what Lightning 2.5.2 and newer do with several processes."""
    from lightning.pytorch import Callback

    class Broadcast(Callback):
        def on_train_batch_start(self, trainer: Any, *_: Any) -> None:
            trainer.fit_loop.epoch_loop._broadcast_sigterm_tensor()

    return Broadcast()


def run(row: str, iterations: int) -> Sample:
    """Start two processes and return what the first has measured.

    Raises:
        RuntimeError: If one of them failed.
    """
    with tempfile.TemporaryDirectory() as folder:
        done = torchrun(
            "-m", "tests.benchmarks.two_processes", row, folder, iterations, timeout=3600
        )
        if done.returncode:
            raise RuntimeError(done.stderr)
        wall, cpu = json.loads(Path(folder, "sample.json").read_text())
        return Sample(wall=wall, cpu=cpu)


def scenario(name: str, quick: bool = False) -> Scenario:
    """Return the table."""
    iterations = 20 if quick else ITERATIONS
    rows: dict[str, Run] = {
        label: functools.partial(run, row, iterations)
        for row, label in ROWS.items()
        if row in (*PACKAGES, "broadcast")
    }
    return Scenario(
        title="Training with two gloo processes, the MLP",
        unit="µs per iteration",
        scale=1e6 / iterations,
        rows=rows,
        rounds=5,
    )


SCENARIOS = ("ddp",)

if __name__ == "__main__":
    child(*sys.argv[1:])
