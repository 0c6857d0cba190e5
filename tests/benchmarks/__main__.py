"""``python -m tests.benchmarks``: training iterations of one small MLP under five drivers, in one run, as ratios.

The drivers take turns, round after round, so that a machine whose speed drifts slows all of them alike. Quote medians.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import importlib.util
import io
import logging
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

ITERATIONS = 600
BATCH = 64


def network() -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(2, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2)
    )


def loader() -> DataLoader:
    points = torch.randn(BATCH * ITERATIONS, 2)
    return DataLoader(TensorDataset(points, (points[:, 0] > 0).long()), batch_size=BATCH)


def bare() -> Callable[[], None]:
    """Return the loop everyone can write."""
    model, data = network(), loader()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

    def run() -> None:
        for x, y in data:
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()

    return run


def by_hand(log: bool) -> Callable[[], None]:
    """Return a LightningModule written by hand, with or without ``self.log``."""
    from lightning.pytorch import LightningModule, Trainer

    class Module(LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = network()

        def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
            loss = F.cross_entropy(self.net(batch[0]), batch[1])
            if log:
                self.log("loss", loss)
            return loss

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.Adam(self.parameters(), lr=1e-3)

    def run() -> None:
        trainer = Trainer(
            max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False,
            enable_progress_bar=False, enable_model_summary=False,
        )  # fmt: skip
        trainer.fit(Module(), loader())

    return run


def runner(package: str) -> Callable[[], None]:
    """Return a run of MMEngine's Runner, or mm2pl's, with every default hook."""
    base = importlib.import_module(f"{package}.model").BaseModel
    runner_class = importlib.import_module(f"{package}.runner").Runner

    class Model(base):
        def __init__(self) -> None:
            super().__init__()
            self.net = network()

        def forward(self, x: torch.Tensor, y: torch.Tensor, mode: str) -> Any:
            return {"loss": F.cross_entropy(self.net(x), y)}

    def run() -> None:
        with tempfile.TemporaryDirectory() as folder:
            made = runner_class(
                model=Model(),
                work_dir=folder,
                train_dataloader=loader(),
                train_cfg={"by_epoch": True, "max_epochs": 1},
                optim_wrapper={"optimizer": {"type": "Adam", "lr": 1e-3}},
                param_scheduler={"type": "LinearLR", "by_epoch": False, "end": 100},
                log_level="ERROR",
                experiment_name=f"{package}{time.time()}",
            )
            STARTED.clear()
            made.register_hook(clock(package))
            made.train()

    return run


STARTED: list[float] = []


def clock(package: str) -> Any:
    """Return a hook that notes the time of the first and last iteration, so that start-up does not count."""
    base = importlib.import_module(f"{package}.hooks").Hook

    class Clock(base):
        def before_train_epoch(self, runner: Any) -> None:
            STARTED.append(time.perf_counter())

        def after_train_epoch(self, runner: Any) -> None:
            STARTED.append(time.perf_counter())

    hook = Clock()
    hook.priority = "HIGHEST"
    return hook


def measured(run: Callable[[], None]) -> float:
    """Return microseconds per iteration of one round."""
    STARTED.clear()
    quiet = io.StringIO()
    start = time.perf_counter()
    with warnings.catch_warnings(), contextlib.redirect_stdout(quiet):
        warnings.simplefilter("ignore")
        run()
    end = time.perf_counter()
    if len(STARTED) == 2:
        start, end = STARTED
    return 1e6 * (end - start) / ITERATIONS


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    torch.set_num_threads(1)
    drivers = {
        "bare loop": bare(),
        "Lightning by hand": by_hand(log=False),
        "Lightning by hand, self.log": by_hand(log=True),
        "mm2pl, all default hooks": runner("mm2pl"),
    }
    if importlib.util.find_spec("mmengine"):
        drivers["MMEngine, all default hooks"] = runner("mmengine")
    times: dict[str, list[float]] = {name: [] for name in drivers}
    for round_ in range(rounds + 1):
        for name, run in drivers.items():
            value = measured(run)
            if round_:  # the first round warms up
                times[name].append(value)
    ours = times["mm2pl, all default hooks"]
    print(f"{'µs per training iteration':<30}{'median':>8}{'min':>8}{'max':>8}   mm2pl / it")
    for name, values in times.items():
        ratio = statistics.median(a / b for a, b in zip(ours, values, strict=True))
        row = (statistics.median(values), min(values), max(values))
        print(f"{name:<30}" + "".join(f"{value:>8.0f}" for value in row) + f"{ratio:>13.2f}")


if __name__ == "__main__":
    main()
