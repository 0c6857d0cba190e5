"""Parts of a run by themselves: reading and printing a config, stepping schedules, writing a checkpoint."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import os
import tempfile
import time
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

from tests.benchmarks.drivers import NUMBERS
from tests.benchmarks.measure import Run, Sample, Scenario, Stopwatch
from tests.benchmarks.networks import ResNet, images

PACKAGES = ("mmengine", "mm2pl") if importlib.util.find_spec("mmengine") else ("mm2pl",)
LABELS = {"mmengine": "MMEngine", "mm2pl": "mm2pl"}

RELEASED = "mmdet-3.3.0/mmdet/.mim/configs/faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py"
OWN = Path(__file__).parents[2] / "configs" / "digits_resnet.py"


def released_config() -> Path:
    """Return a released detection config below ``$MM2PL_CORPUS`` (see ``tox -e parity-corpus``), or our example."""
    path = Path(os.environ.get("MM2PL_CORPUS", "")) / RELEASED
    return path if path.is_file() else OWN


def timed(work: Callable[[], Any], times: int) -> Sample:
    """Return what one of ``times`` calls takes."""
    watch = Stopwatch()
    watch.start()
    for _ in range(times):
        work()
    watch.stop()
    return Sample(wall=watch.sample.wall / times, cpu=watch.sample.cpu / times)


def config_loading(times: int) -> Scenario:
    """Read one config with its bases."""
    path = released_config()

    def load(package: str) -> Sample:
        config = importlib.import_module(f"{package}.config").Config
        return timed(lambda: config.fromfile(str(path)), times)

    return by_package(f"Reading the config {path.stem}", load)


def config_printing(times: int) -> Scenario:
    """Print one config as Python."""
    path = released_config()

    def show(package: str) -> Sample:
        config = importlib.import_module(f"{package}.config").Config.fromfile(str(path))
        return timed(lambda: config.pretty_text, max(times // 10, 1))

    return by_package(f"Printing the config {path.stem}", show)


GROUPS, TICKS = 500, 10_000
SCHEDULES: list[dict[str, Any]] = [
    {"type": "LinearLR", "start_factor": 0.1, "begin": 0, "end": TICKS // 10},
    {"type": "CosineAnnealingLR", "T_max": TICKS, "begin": TICKS // 10, "end": TICKS},
    {"type": "MultiStepLR", "milestones": [TICKS // 2], "end": TICKS},
]


def optimizer() -> torch.optim.Optimizer:
    """Return an optimizer with :data:`GROUPS` param groups."""
    groups = [{"params": [nn.Parameter(torch.zeros(1))]} for _ in range(GROUPS)]
    return torch.optim.SGD(groups, lr=0.1, momentum=0.9)


def scheduler_stepping(times: int) -> Scenario:
    """Tick a warm-up, a cosine and a multi-step schedule."""

    def tick(package: str) -> Sample:
        torch_optimizer = optimizer()
        schedulers = []
        module = importlib.import_module(f"{package}.optim")
        for config in SCHEDULES:
            arguments = dict(config)
            kind = getattr(module, arguments.pop("type"))
            schedulers.append(kind(torch_optimizer, by_epoch=False, **arguments))

        hook = importlib.import_module(f"{package}.hooks").ParamSchedulerHook()
        runner = types.SimpleNamespace(param_schedulers=schedulers)

        def work() -> None:
            hook.after_train_iter(runner, 0)

        return timed(work, 20 * times)

    def touch() -> Sample:
        groups = optimizer().param_groups

        def work() -> None:
            values = [group["lr"] for group in groups]
            for group, value in zip(groups, values, strict=True):
                group["lr"] = value

        return timed(work, 20 * times)

    title = f"One tick of {len(SCHEDULES)} schedules (warm-up, cosine, multi-step), {GROUPS} param groups"
    return by_package(title, tick, {"each lr read and written once": touch})


def checkpoint_writing(times: int, width: int) -> Scenario:
    """Write weights and momenta, with all else that a periodic checkpoint holds."""

    def bare() -> Sample:
        state = weights_and_momenta(width)
        with tempfile.TemporaryDirectory() as folder:
            return timed(lambda: save_durably(state, f"{folder}/checkpoint.pth"), times)

    def copying() -> Sample:
        tensors = [*tensors_of(weights_and_momenta(width))]
        copies = [tensor.clone() for tensor in tensors]
        return timed(lambda: [c.copy_(t) for c, t in zip(copies, tensors, strict=True)], times)

    rows = {
        "torch.save, fsync": bare,
        "a copy into memory that is there": copying,
        "mm2pl, AsyncCheckpointIO: the loop waits": lambda: save_in_a_run(
            "mm2pl", times, width, later=1
        ),
        "the same, where torch may use every core": lambda: on_every_core(
            lambda: save_in_a_run("mm2pl", times, width, later=1)
        ),
        "the same on one core, for the first file": lambda: save_in_a_run(
            "mm2pl", times, width, later=0
        ),
    }
    size = sum(tensor.nbytes for tensor in tensors_of(weights_and_momenta(width))) / 1e6
    return by_package(
        f"Writing a checkpoint of {size:.0f} MB (layers of a ResNet-50, momenta)",
        lambda package: save_in_a_run(package, times, width),
        rows,
    )


def on_every_core(run: Run) -> Sample:
    """Measure with as many threads as torch would take by itself; the other rows have one."""
    before = torch.get_num_threads()
    torch.set_num_threads(os.cpu_count() or 1)
    try:
        return run()
    finally:
        torch.set_num_threads(before)


def weights_and_momenta(width: int) -> dict[str, Any]:
    """Return the states of a network and its optimizer after a step."""
    model = ResNet((3, 4, 6, 3), width, True)
    torch_optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    (x, y) = next(iter(images(2, 32)(1, "cpu")))
    model.losses(x, y)["loss"].backward()
    torch_optimizer.step()
    return {"state_dict": model.state_dict(), "optimizer": torch_optimizer.state_dict()}


def tensors_of(state: Any) -> Iterator[torch.Tensor]:
    """Yield the tensors in nested dicts."""
    for value in state.values():
        if isinstance(value, torch.Tensor):
            yield value
        elif isinstance(value, dict):
            yield from tensors_of(value)


def save_durably(state: object, path: str) -> None:
    """Write a file that a power failure leaves whole, but for its name."""
    with open(path, "wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())


def save_in_a_run(package: str, times: int, width: int, later: int | None = None) -> Sample:
    """Train two iterations, and write checkpoints in the second.

    ``later``: another thread writes, and the sample is what the loop waits for the file of that number.
    """
    samples: list[Sample] = []

    class Model(importlib.import_module(f"{package}.model").BaseModel):
        def __init__(self) -> None:
            super().__init__()
            self.net = ResNet((3, 4, 6, 3), width, True)

        def forward(self, x: torch.Tensor, y: torch.Tensor, mode: str = "tensor") -> Any:
            return self.net.losses(x, y)

    class Save(importlib.import_module(f"{package}.hooks").Hook):
        def after_train_iter(self, runner: Any, batch_idx: int, **_: Any) -> None:
            if batch_idx != 1:
                return
            save = functools.partial(runner.save_checkpoint, runner.work_dir, by_epoch=False)
            if later is None:
                samples.append(timed(lambda: save("checkpoint.pth"), times))
            for number in range(0 if later is None else later + 1):
                path = Path(runner.work_dir, f"{number}.pth")
                samples.append(timed(lambda path=path: save(path.name), 1))
                while not path.exists():
                    time.sleep(0.1)
                time.sleep(0.5)  # until what has written it has handed its memory on

    more: dict[str, Any] = {}
    if later is not None:
        from lightning.pytorch.plugins import AsyncCheckpointIO

        more["trainer"] = {"plugins": [AsyncCheckpointIO()]}
    with tempfile.TemporaryDirectory() as folder:
        importlib.import_module(f"{package}.runner").Runner(
            model=Model(),
            work_dir=folder,
            train_dataloader=images(2, 32)(2, "cpu"),
            train_cfg={"by_epoch": True, "max_epochs": 1},
            optim_wrapper={"optimizer": {"type": "SGD", "lr": 0.01, "momentum": 0.9}},
            default_hooks={"checkpoint": None},
            custom_hooks=[Save()],
            experiment_name=f"save-{package}{next(NUMBERS)}",
            **more,
        ).train()
    return samples[-1]


def many_files(times: int) -> Scenario:
    """Read a config of 200 base files."""
    folder = tempfile.TemporaryDirectory()
    bases = [f"base_{number}.py" for number in range(200)]
    for number, name in enumerate(bases):
        text = f"part_{number} = dict(type='Part', sizes=[{number}, 2, 3], inner=dict(a=1, b='x'))"
        Path(folder.name, name).write_text(text)
    path = Path(folder.name, "config.py")
    path.write_text(f"_base_ = {bases!r}\nmodel = dict(type='Any')\n")

    def load(package: str, _keep: Any = folder) -> Sample:
        config = importlib.import_module(f"{package}.config").Config
        return timed(lambda: config.fromfile(str(path)), times)

    return by_package("Reading a config of 200 base files", load)


def by_package(
    title: str, measure: Callable[[str], Sample], more: dict[str, Run] | None = None
) -> Scenario:
    """Return a table with a row for each package."""
    rows = {LABELS[package]: functools.partial(measure, package) for package in PACKAGES}
    return Scenario(title=title, unit="ms", scale=1e3, rows={**(more or {}), **rows})


SCENARIOS: dict[str, tuple[Callable[[int], Scenario], int]] = {
    "config": (config_loading, 20),
    "print": (config_printing, 20),
    "schedules": (scheduler_stepping, 20),
    "config-files": (many_files, 1),
    "checkpoint": (lambda times: checkpoint_writing(times, 45), 3),
    "checkpoint-1gb": (lambda times: checkpoint_writing(times, 148), 1),
}
"""Option → what makes the table, and how often it is done per turn."""


def scenario(name: str, quick: bool = False) -> Scenario:
    """Return the table of one of :data:`SCENARIOS`."""
    make, times = SCENARIOS[name]
    return make(1 if quick else times)
