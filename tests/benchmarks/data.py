"""What a loader, an average of the weights and a run's memory take, next to what they stand for."""

from __future__ import annotations

import functools
import importlib
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from tests.benchmarks.measure import Run, Sample, Scenario, Stopwatch
from tests.benchmarks.parts import LABELS, PACKAGES, by_package, timed
from tests.benchmarks.processes import process

EPOCHS, BATCH = 3, 16


class Pictures(Dataset):
    """Samples as those of MMEngine's data sets: a dict with a picture, made anew each time."""

    def __len__(self) -> int:
        return 640

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"inputs": torch.full((3, 32, 32), index % 255, dtype=torch.uint8), "number": index}


def loader_of(package: str | None, workers: int) -> DataLoader:
    """Return a package's loader, or torch's, which gathers samples in the same way."""
    dataset, kept = Pictures(), {"num_workers": workers, "persistent_workers": workers > 0}
    if package is None:
        return DataLoader(dataset, BATCH, shuffle=True, collate_fn=gathered, **kept)  # type: ignore[arg-type]
    runner = importlib.import_module(f"{package}.runner").Runner
    sampler = {"type": "DefaultSampler", "shuffle": True}
    config = {"dataset": dataset, "batch_size": BATCH, "sampler": sampler, **kept}
    return runner.build_dataloader(config, seed=0)


def gathered(samples: list[dict[str, Any]]) -> dict[str, list[Any]]:
    """Return lists in place of stacked tensors, as MMEngine's ``pseudo_collate``."""
    return {key: [sample[key] for sample in samples] for key in samples[0]}


def batches(package: str | None, workers: int) -> Sample:
    """Return what a batch takes, over some epochs whose workers stay."""
    loader = loader_of(package, workers)
    watch = Stopwatch()
    watch.start()
    count = sum(1 for _ in range(EPOCHS) for _ in loader)
    watch.stop()
    return Sample(wall=watch.sample.wall / count, cpu=watch.sample.cpu / count)


def turn_around(package: str | None) -> Sample:
    """Return what passes from the last batch of an epoch to the first of the next, with workers that stay."""
    loader = loader_of(package, 2)
    walls, cpus = [], []
    ended = None
    for _ in range(EPOCHS):
        for _ in loader:
            if ended is not None:
                walls.append(time.perf_counter() - ended[0])
                cpus.append(time.process_time() - ended[1])
                ended = None
        ended = time.perf_counter(), time.process_time()
    return Sample(wall=sum(walls) / len(walls), cpu=sum(cpus) / len(cpus))


def first_batch(package: str | None) -> Sample:
    """Return what a new loader of two workers takes to its first batch."""
    return timed(lambda: next(iter(loader_of(package, 2))), 1)


def loading(measure: Callable[..., Sample], title: str, *arguments: Any) -> Scenario:
    """Return a table of loaders."""
    rows: dict[str, Run] = {"DataLoader": functools.partial(measure, None, *arguments)}
    for package in PACKAGES:
        rows[LABELS[package]] = functools.partial(measure, package, *arguments)
    return Scenario(title=title, unit="ms", scale=1e3, rows=rows)


def averaging(quick: bool) -> Scenario:
    """Update an exponential moving average of 100 million parameters."""
    count = 10 if quick else 100
    model = nn.ParameterList(nn.Parameter(torch.randn(1_000_000)) for _ in range(count))

    @functools.cache
    def average(package: str) -> Any:
        made = importlib.import_module(f"{package}.model").ExponentialMovingAverage(model)
        made.update_parameters(model)
        return made

    def bare() -> Sample:
        own = [parameter.data for parameter in average("mm2pl").module]
        weights = [parameter.data for parameter in model]
        return timed(lambda: torch._foreach_lerp_(own, weights, 0.0002), 3)

    return by_package(
        f"Updating an average of {count} million parameters",
        lambda package: timed(lambda: average(package).update_parameters(model), 3),
        {"torch._foreach_lerp_": bare},
    )


PEAK = """
import importlib, torch
torch.set_num_threads(1)
for package in {imported}: importlib.import_module(package)
from tests.benchmarks import drivers
from tests.benchmarks.networks import ResNet, Task, images
network = lambda: ResNet((3, 4, 6, 3), 32, True)
optimizer = dict(type="SGD", lr=0.01, momentum=0.9)
task = Task(network=network, loader=images(8, 128), iterations={iterations}, optimizer=optimizer)
drivers.{call}
"""


def peak(quick: bool) -> Scenario:
    """Compare the resident peak of whole processes; the bare loop's has imported what ours has."""
    imported = ["mm2pl.runner.runner", "mm2pl.model", "mm2pl.hooks", "lightning.pytorch"]
    calls = {"bare loop, our imports": ("bare(task)", imported)}
    for package in PACKAGES:
        calls[LABELS[package]] = (f"runner(task, {package!r})", [f"{package}.runner.runner"])
    rows: dict[str, Run] = {}
    for name, (call, names) in calls.items():
        text = PEAK.format(imported=names, iterations=2 if quick else 10, call=call)
        rows[name] = functools.partial(process, ("-c", text))
    title = "Ten iterations of a ResNet-50 of half the width, whole process, checkpoint included"
    return Scenario(title=title, unit="s", scale=1.0, rows=rows, rounds=3)


SCENARIOS: dict[str, Callable[[bool], Scenario]] = {
    "data": lambda quick: loading(batches, "A batch of a loader without workers", 0),
    "data-workers": lambda quick: loading(batches, "A batch of a loader with two workers", 2),
    "data-start": lambda quick: loading(first_batch, "A new loader's first batch, two workers"),
    "data-epoch": lambda quick: loading(
        turn_around, "From an epoch's last batch to the next one's first"
    ),
    "ema": averaging,
    "peak": peak,
}
"""Option → what makes the table."""


def scenario(name: str, quick: bool = False) -> Scenario:
    """Return the table of one of :data:`SCENARIOS`."""
    return SCENARIOS[name](quick)
