"""Resident size of one long run with logging and validation: ``python -m tests.benchmarks.memory_run``.

A run whose memory is flat ends with the size that it had after its first tenth. Linux only.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import os
import statistics
import tempfile
from pathlib import Path
from typing import Any

import torch

from tests.benchmarks.drivers import accuracy, model_of
from tests.benchmarks.iterations import ADAM
from tests.benchmarks.measure import quiet
from tests.benchmarks.networks import Mlp, Task, points

ITERATIONS = 100_000
SAMPLES = 20


def resident_mb() -> float:
    """Return the resident size of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def history_mb(runner: Any) -> float:
    """Return the size of the log's histories, which hold each scalar of up to a million iterations in 16 bytes."""
    names = ("_values", "_counts"), ("_log_history", "_count_history")
    arrays = [
        vars(buffer)[name]
        for buffer in runner.message_hub.log_scalars.values()
        for name in next(pair for pair in names if pair[0] in vars(buffer))
    ]
    return sum(array.nbytes for array in arrays) / 1e6


def sizes(package: str, iterations: int) -> list[tuple[int, float, float]]:
    """Train, and return resident size and histories at regular intervals, after collecting garbage."""
    found: list[tuple[int, float, float]] = []
    interval = max(iterations // SAMPLES, 1)

    class Watch(importlib.import_module(f"{package}.hooks").Hook):
        def after_train_iter(self, runner: Any, batch_idx: int, **_: Any) -> None:
            if (runner.iter + 1) % interval == 0:
                gc.collect()
                found.append((runner.iter + 1, resident_mb(), history_mb(runner)))

    task = Task(network=Mlp, loader=points(8), iterations=100, optimizer=ADAM)
    with tempfile.TemporaryDirectory() as folder, quiet():
        importlib.import_module(f"{package}.runner").Runner(
            model=model_of(task, package),
            work_dir=folder,
            train_dataloader=task.batches(),
            val_dataloader=task.batches(),
            train_cfg={"by_epoch": False, "max_iters": iterations, "val_interval": 1000},
            val_cfg={},
            val_evaluator={"type": accuracy(package)},
            optim_wrapper={"optimizer": dict(ADAM)},
            param_scheduler={"type": "PolyLR", "by_epoch": False, "end": iterations},
            default_hooks={
                "checkpoint": {
                    "type": "CheckpointHook",
                    "by_epoch": False,
                    "interval": 5000,
                    "max_keep_ckpts": 2,
                }
            },
            custom_hooks=[Watch()],
        ).train()
    return found


def main() -> None:
    """Print the sizes, and the growth after the first tenth."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--iterations", type=int, default=ITERATIONS)
    parser.add_argument("--package", default="mm2pl", help="mm2pl or mmengine")
    options = parser.parse_args()
    torch.set_num_threads(1)
    found = sizes(options.package, options.iterations)
    for iteration, size, history in found:
        print(f"{iteration:>9} iterations {size:9.1f} MB, without histories {size - history:9.1f}")
    later = [entry for entry in found if entry[0] > options.iterations // 10]
    span = f"from {later[0][0]} to {later[-1][0]} iterations"
    for label, sizes_ in (
        ("resident", [size for _, size, _ in later]),
        ("without the log's histories", [size - history for _, size, history in later]),
    ):
        slope = statistics.linear_regression([entry[0] for entry in later], sizes_).slope
        growth = slope * (later[-1][0] - later[0][0])
        print(f"{options.package}, {label}: {growth:+.2f} MB {span}")


if __name__ == "__main__":
    main()
