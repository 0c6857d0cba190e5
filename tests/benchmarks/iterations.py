"""Time per iteration: training and validation, small and large models, on a CPU and on CUDA."""

from __future__ import annotations

import dataclasses
import functools
import importlib.util

from tests.benchmarks import drivers
from tests.benchmarks.measure import Run, Scenario
from tests.benchmarks.networks import Detector, Mlp, ResNet, Task, images, points

ADAM = {"type": "Adam", "lr": 1e-3}
SGD = {"type": "SGD", "lr": 0.01, "momentum": 0.9}

MLP = Task(network=Mlp, loader=points(64), iterations=600, optimizer=ADAM)
SMALL = Task(
    network=functools.partial(ResNet, (1, 1, 1), 16),
    loader=images(32, 32),
    iterations=40,
    optimizer=SGD,
)
DETECTOR = Task(network=Detector, loader=images(2, 64), iterations=200, optimizer=SGD)
RESNET50 = Task(
    network=functools.partial(ResNet, (3, 4, 6, 3), 64, True),
    loader=images(64, 224),
    iterations=60,
    optimizer=SGD,
    device="cuda",
)

TASKS: dict[str, tuple[str, Task]] = {
    "train": ("(a) Training, a small MLP, batch 64, every default hook", MLP),
    "val": (
        "(b) Validation with a metric, the same MLP",
        dataclasses.replace(MLP, iterations=1500, validate=True),
    ),
    "train-driven": (
        "(a2) Training, the same in a loop with its own run_epoch",
        dataclasses.replace(MLP, drives=True),
    ),
    "val-driven": (
        "(b2) Validation with a metric, in a loop with its own run",
        dataclasses.replace(MLP, iterations=1500, validate=True, drives=True),
    ),
    "resnet": ("(c) Training, a small ResNet on 32×32 images, batch 32", SMALL),
    "losses": ("(d) Training, a small detector-like model with eight losses", DETECTOR),
    "resnet50": ("(e) Training, ResNet-50, fp32, batch 64 on the device", RESNET50),
    "resnet50-bf16": (
        "(f) Training, ResNet-50, bf16",
        dataclasses.replace(RESNET50, dtype="bfloat16"),
    ),
    "losses-cuda": (
        "(g) Training, the model with eight losses on CUDA",
        dataclasses.replace(DETECTOR, device="cuda", iterations=600),
    ),
}
"""Option → title and task."""


def scenario(name: str, quick: bool = False) -> Scenario:
    """Return the table of one of :data:`TASKS`."""
    title, task = TASKS[name]
    if quick:
        task = dataclasses.replace(task, iterations=max(task.iterations // 10, 2))
    rows: dict[str, Run] = (
        {}
        if task.drives
        else {
            "bare PyTorch loop": functools.partial(drivers.bare, task),
            "Lightning by hand": functools.partial(drivers.by_hand, task, log=False),
            "Lightning by hand, self.log": functools.partial(drivers.by_hand, task, log=True),
            "mm2pl, own Trainer": functools.partial(drivers.module, task),
        }
    )
    if importlib.util.find_spec("mmengine"):
        rows["MMEngine Runner"] = functools.partial(drivers.runner, task, "mmengine")
    if task.drives:
        lean = dataclasses.replace(task, drives=False)
        rows["mm2pl, Lightning's loop"] = functools.partial(drivers.runner, lean, "mm2pl")
    rows["mm2pl"] = functools.partial(drivers.runner, task, "mm2pl")
    scale = 1e6 / task.iterations
    return Scenario(
        title=title, unit="µs per iteration", scale=scale, rows=rows, iterations=task.iterations
    )
