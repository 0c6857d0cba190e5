"""Five ways to train or validate the same task. Each returns what one epoch took, without start-up and end."""

from __future__ import annotations

import contextlib
import importlib
import itertools
import tempfile
from typing import Any

import torch
from torch import nn

from tests.benchmarks.measure import Sample, Stopwatch
from tests.benchmarks.networks import Task

NUMBERS = itertools.count()


def casts(task: Task) -> Any:
    """Return the context of a forward pass."""
    if task.dtype is None:
        return contextlib.nullcontext()
    return torch.autocast(task.device, getattr(torch, task.dtype))


def bare(task: Task) -> Sample:
    """Run the loop that everyone can write."""
    model: Any = task.network().to(task.device)
    optimizer, loader, watch = task.optimizer_of(model), task.batches(), Stopwatch(task.device)
    if task.validate:
        return bare_validation(model, loader, watch)
    watch.start()
    for batch in loader:
        with casts(task):
            loss = total(model.losses(*batch))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    watch.stop()
    return watch.sample


def bare_validation(model: Any, loader: Any, watch: Stopwatch) -> Sample:
    """Count the right predictions."""
    model.eval()
    watch.start()
    right: list[torch.Tensor] = []
    with torch.no_grad():
        for x, y in loader:
            right.append((model.predict(x) == y).float())
    torch.cat(right).mean().item()
    watch.stop()
    return watch.sample


def total(losses: dict[str, Any]) -> torch.Tensor:
    """Add a model's losses, of which some are lists."""
    return sum(sum(value) if isinstance(value, list) else value for value in losses.values())  # type: ignore[return-value]


def by_hand(task: Task, log: bool) -> Sample:
    """Run a LightningModule written by hand, with or without ``self.log``."""
    from lightning.pytorch import LightningModule

    watch = Stopwatch(task.device)

    class Module(LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net: Any = task.network()
            self.right: list[torch.Tensor] = []

        def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
            losses = self.net.losses(*batch)
            if log:
                self.log_dict({k: sum(v) if isinstance(v, list) else v for k, v in losses.items()})
            return total(losses)

        def validation_step(self, batch: Any, batch_idx: int) -> None:
            right = (self.net.predict(batch[0]) == batch[1]).float()
            if log:
                self.log("accuracy", right.mean(), batch_size=len(right))
            else:
                self.right.append(right)

        def on_validation_epoch_end(self) -> None:
            if not log:
                torch.cat(self.right).mean().item()

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return task.optimizer_of(self)

        def on_train_epoch_start(self) -> None:
            watch.start()

        def on_train_epoch_end(self) -> None:
            watch.stop()

        def on_validation_epoch_start(self) -> None:
            watch.start()

        def on_validation_end(self) -> None:
            watch.stop()

    trainer = own_trainer(task, "bf16-mixed" if task.dtype else "32-true")
    (trainer.validate if task.validate else trainer.fit)(Module(), task.batches())
    return watch.sample


def own_trainer(task: Task, precision: Any, *callbacks: Any) -> Any:
    """Make the Trainer that somebody writes who wants only the loop."""
    from lightning.pytorch import Trainer

    return Trainer(
        max_epochs=1, accelerator=task.device, devices=1, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, precision=precision,
        callbacks=list(callbacks),
    )  # fmt: skip


def module(task: Task) -> Sample:
    """Run mm2pl's LightningModule in such a Trainer, under Lightning's automatic optimization and without hooks."""
    from lightning.pytorch import Callback

    from mm2pl.lightning import MMLightningModule

    watch = Stopwatch(task.device)

    class Clock(Callback):
        def on_train_epoch_start(self, *_: Any) -> None:
            watch.start()

        def on_train_epoch_end(self, *_: Any) -> None:
            watch.stop()

        def on_validation_epoch_start(self, *_: Any) -> None:
            watch.start()

        def on_validation_end(self, *_: Any) -> None:
            watch.stop()

    evaluator = {"val_evaluator": {"type": accuracy("mm2pl")}} if task.validate else {}
    made = MMLightningModule(model_of(task, "mm2pl"), wrapper_of(task), **evaluator)  # type: ignore[arg-type]
    trainer = own_trainer(task, "32-true", Clock())
    (trainer.validate if task.validate else trainer.fit)(made, task.batches())
    return watch.sample


def runner(task: Task, package: str) -> Sample:
    """Run MMEngine's Runner, or mm2pl's, with every default hook."""
    watch = Stopwatch(task.device)
    with tempfile.TemporaryDirectory() as folder:
        stage: dict[str, Any] = {
            "train_dataloader": task.batches(),
            "train_cfg": {"type": loop_of(task, package, "EpochBasedTrainLoop"), "max_epochs": 1},
            "optim_wrapper": wrapper_of(task),
            "param_scheduler": {"type": "LinearLR", "by_epoch": False, "end": 100},
        }
        if task.validate:
            metric = accuracy(package)
            stage = {
                "val_dataloader": task.batches(),
                "val_cfg": {"type": loop_of(task, package, "ValLoop")},
                "val_evaluator": {"type": metric},
            }
        made = importlib.import_module(f"{package}.runner").Runner(
            model=model_of(task, package),
            work_dir=folder,
            experiment_name=f"{package}{next(NUMBERS)}",
            **stage,
        )
        made.register_hook(clock(package, watch))
        (made.val if task.validate else made.train)()
    return watch.sample


def loop_of(task: Task, package: str, name: str) -> Any:
    """Return a loop's name, or a class of it that goes through the data itself."""
    if not task.drives:
        return name
    base: Any = getattr(importlib.import_module(f"{package}.runner"), name)

    class Driving(base):
        def run(self) -> Any:
            return super().run()

    return Driving


def wrapper_of(task: Task) -> dict[str, Any]:
    """Return the config of the optimizer wrapper."""
    if task.dtype is None:
        return {"optimizer": dict(task.optimizer)}
    return {"type": "AmpOptimWrapper", "dtype": task.dtype, "optimizer": dict(task.optimizer)}


def model_of(task: Task, package: str) -> nn.Module:
    """Return the network as a model of the package."""

    class Model(importlib.import_module(f"{package}.model").BaseModel):
        def __init__(self) -> None:
            super().__init__()
            self.net = task.network()

        def forward(self, x: torch.Tensor, y: torch.Tensor, mode: str = "tensor") -> Any:
            if mode == "loss":
                return self.net.losses(x, y)
            return [(self.net.predict(x) == y).float()]

    return Model()


def accuracy(package: str) -> Any:
    """Return a metric class that averages what the model's predictions say."""

    class Accuracy(importlib.import_module(f"{package}.evaluator").BaseMetric):
        def process(self, data_batch: Any, data_samples: Any) -> None:
            self.results.extend(data_samples)

        def compute_metrics(self, results: list) -> dict:
            return {"accuracy": torch.cat(results).mean().item()}

    return Accuracy


def clock(package: str, watch: Stopwatch) -> Any:
    """Return a hook that measures one epoch; before it all is built, after it the checkpoint is written."""

    class Clock(importlib.import_module(f"{package}.hooks").Hook):
        priority = "HIGHEST"

        def before_train_epoch(self, runner: Any) -> None:
            watch.start()

        def after_train_epoch(self, runner: Any) -> None:
            watch.stop()

        def before_val_epoch(self, runner: Any) -> None:
            watch.start()

        def after_val_epoch(self, runner: Any, metrics: Any = None) -> None:
            watch.stop()

    return Clock()
