"""What a cell of the matrix trains: a whole run, one that is stopped, or one that goes on from the other's file."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import (
    Checkpoint,
    EarlyStopping,
    EMAWeightAveraging,
    ModelCheckpoint,
    OnExceptionCheckpoint,
    StochasticWeightAveraging,
)
from lightning.pytorch.strategies import DDPStrategy
from torch.utils.data import DataLoader, DistributedSampler

from mm2pl.dataset import DefaultSampler
from mm2pl.hooks import CheckpointHook, EMAHook
from mm2pl.lightning import MMDataModule, MMLightningModule
from mm2pl.registry import OPTIM_WRAPPER_CONSTRUCTORS
from tests.bridges import QUIET
from tests.continuing.cover import OWN, Cell
from tests.scenarios import Points, Scenario, accuracy, build, hexed, models, pair_constructor

EPOCH = 9  # batches
EPOCHS = 4  # of the run that is compared, and of the one that is continued
FIRST = {"same": EPOCHS, "extended": EPOCHS - 1, "shortened": EPOCHS + 1}
"""How long the run was to be that is stopped."""
PLACES = {"epoch end": 2 * EPOCH, "mid-epoch": EPOCH + 5, "open window": EPOCH + 5}
"""After how many batches it is stopped."""
WINDOW = 4  # batches; 14 and 18 leave one open, and so does Lightning's count of each epoch

AVERAGE = {"momentum": 0.05}
SGD = {"type": "SGD", "lr": 0.05, "momentum": 0.9}
STUCK = {"monitor": "accuracy", "rule": "greater"}  # with a threshold that no accuracy passes


class Part(NamedTuple):
    """One training of a cell.

    Attributes:
        name: ``whole``, ``stopped`` or ``continued``.
        folder: Where it writes.
        file: What it goes on from.
        rank: Of this process.
        port: Where its processes meet.
    """

    cell: Cell
    name: str
    folder: str
    file: str | None = None
    rank: int = 0
    port: int = 0

    @property
    def length(self) -> int:
        """Epochs it was told to train."""
        return FIRST[self.cell.length] if self.name == "stopped" else EPOCHS


def place_of(cell: Cell) -> int:
    """Return after how many batches a file is wanted."""
    at_end = cell.writer in ("CheckpointHook by epoch", "ModelCheckpoint at epoch end")
    return 2 * EPOCH if at_end else PLACES[cell.place]


def is_config(cell: Cell) -> bool:
    """Return whether the run is one of a config."""
    return cell.door not in OWN


# Data, in an order and with random numbers that a Trainer without a run can find again


class Numbered(Points):
    """Points whose random change follows from how often they were seen: index + size × epoch."""

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        sample = super().__getitem__(index % len(self))
        generator = torch.Generator().manual_seed(index)
        noise = torch.randn((), generator=generator)
        return {**sample, "inputs": sample["inputs"] * (1 + 0.1 * noise)}


class NumberedSampler(DefaultSampler):
    def __iter__(self) -> Iterator[int]:
        return (index + len(self.dataset) * self.epoch for index in super().__iter__())


class NumberedTorchSampler(DistributedSampler):
    def __iter__(self) -> Iterator[int]:
        return (index + len(self.dataset) * self.epoch for index in super().__iter__())


class PlaceKeepingLoader(DataLoader):
    """A loader that Lightning can stop and restart: the protocol that torchdata's ``StatefulDataLoader`` has too."""

    taken = skip = 0

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        skip, self.skip = self.skip, 0
        for self.taken, batch in enumerate(super().__iter__(), 1):
            if self.taken > skip:
                yield batch

    def state_dict(self) -> dict[str, int]:
        return {"taken": self.taken % len(self)}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.skip = state["taken"]


def loading(cell: Cell) -> dict[str, Any]:
    workers = 0 if cell.workers == "0" else 2
    # Two processes share the points.
    size = {"batch_size": 8 // int(cell.processes), "num_workers": workers}
    return {**size, "persistent_workers": cell.workers == "persistent"}


# What is trained


def optimizer(cell: Cell) -> dict[str, Any]:
    window = {"accumulative_counts": WINDOW if cell.place == "open window" else 1}
    if cell.kind == "two optimizers":
        adam = {"type": "Adam", "lr": 1e-3}
        pair = {
            "generator": {"optimizer": adam, **window},
            "discriminator": {"optimizer": SGD, **window},
        }
        return {**pair, "constructor": "PairConstructor"}
    if cell.kind == "AMP bf16":
        return {"type": "AmpOptimWrapper", "dtype": "bfloat16", "optimizer": SGD, **window}
    return {"optimizer": SGD, **window}


def schedules(cell: Cell, end: int | None) -> Any:
    """Return a warm-up and what follows it.

    Args:
        cell: Whose run it is.
        end: Where the schedules of the file end, if that is not the end of the run.
    """
    by_epoch = cell.door != "config by iteration"
    until = {} if end is None else {"end": end if by_epoch else end * EPOCH}
    warmup = {"type": "LinearLR", "start_factor": 0.1, "by_epoch": False, "begin": 0, "end": 6}
    if cell.kind == "OneCycle":
        # Its curve depends on its length from the first step on, so that is given.
        steps = (EPOCHS + 1) * EPOCH
        whole = {"by_epoch": False, "eta_max": 0.1, "total_steps": steps}
        return {"type": "OneCycleLR", **whole, **({} if end is None else {"end": end * EPOCH})}
    if cell.kind == "ReduceOnPlateau":
        late = {**STUCK, "patience": 0, "threshold": 1e3, "factor": 0.5}
        return [warmup, {"type": "ReduceOnPlateauLR", "by_epoch": True, **late, **until}]
    if not is_config(cell) and cell.length != "same":
        # The new length rules; its first part must be that of the old one, or no whole run would be equal.
        late = {"type": "StepLR", "by_epoch": True, "step_size": 1, "gamma": 0.5}
    else:
        late = {"type": "PolyLR", "by_epoch": by_epoch, "power": 0.9}
    plan = [warmup, {**late, **until}]
    if cell.kind == "two optimizers":
        return {"generator": plan, "discriminator": [dict(plan[1])]}
    return plan


def kept_plan(part: Part) -> int | None:
    """Return where the schedules end that a config's run takes from its file, for the run that it is compared with."""
    cell = part.cell
    changed = is_config(cell) and cell.length != "same"
    return FIRST[cell.length] if changed and part.name == "whole" else None


def validates_at(cell: Cell) -> int:
    """Return the batches between two validations, or between an epoch's start and its validation."""
    if cell.writer != "ModelCheckpoint on validation" or cell.place == "epoch end":
        return EPOCH
    return place_of(cell) if is_config(cell) else place_of(cell) % EPOCH


def partly(cell: Cell) -> dict[str, Any]:
    """Return what DDP is told where a step leaves parameters out."""
    return {"find_unused_parameters": True} if cell.kind == "two optimizers" else {}


# Callbacks that watch, write and stop


class Seeds(Callback):
    """Make dropout a function of the place: Lightning stores no random numbers."""

    def on_train_batch_start(self, trainer: Any, module: Any, batch: Any, index: int) -> None:
        torch.manual_seed(
            1000 * trainer.current_epoch + 10 * index + int(os.environ.get("RANK", "0"))
        )


class Recorder(Callback):
    """Write down the learning rates and losses of each step."""

    def __init__(self) -> None:
        self.steps: dict[int, dict[str, Any]] = {}

    def on_train_batch_start(self, trainer: Any, module: Any, batch: Any, index: int) -> None:
        groups = [group for each in trainer.optimizers for group in each.param_groups]
        self._now = EPOCH * trainer.current_epoch + index
        self.steps[self._now] = {"lr": hexed([group["lr"] for group in groups])}

    def on_train_batch_end(
        self, trainer: Any, module: Any, outputs: Any, batch: Any, index: int
    ) -> None:
        losses = {key: float(value).hex() for key, value in sorted(outputs.items())}
        self.steps[self._now]["loss"] = losses


class Stopper(Callback):
    """End the process after the batch at the place, as the cell's writer asks, or where the next batch begins."""

    def __init__(self, cell: Cell) -> None:
        self.writer, self.place = cell.writer, place_of(cell)

    def on_train_batch_start(self, trainer: Any, module: Any, batch: Any, index: int) -> None:
        done = EPOCH * trainer.current_epoch + index
        if done == self.place - 1 and self.writer == "SIGTERM":
            os.kill(os.getpid(), signal.SIGTERM)  # Lightning looks at it after the batch
        if done == self.place and self.writer == "SIGKILL":
            os.kill(os.getpid(), signal.SIGKILL)
        if done == self.place and self.writer != "SIGTERM":
            os._exit(0)

    def on_train_batch_end(
        self, trainer: Any, module: Any, outputs: Any, batch: Any, index: int
    ) -> None:
        done = EPOCH * trainer.current_epoch + index + 1
        if done == self.place and self.writer == "OnException":
            raise RuntimeError("planned")


class ByHand(Callback):
    """``trainer.save_checkpoint``, in every process, in a callback of the user's."""

    def __init__(self, cell: Cell, folder: str) -> None:
        self.place, self.file = place_of(cell), f"{folder}/by_hand.ckpt"

    def on_train_batch_end(
        self, trainer: Any, module: Any, outputs: Any, batch: Any, index: int
    ) -> None:
        if EPOCH * trainer.current_epoch + index + 1 == self.place:
            trainer.save_checkpoint(self.file)


class Due(timedelta):
    """An interval that is over when the clock of :class:`Strike` says so."""

    over = False

    def total_seconds(self) -> float:
        return 0.0 if type(self).over else float("inf")


class Strike(Callback):
    def __init__(self, cell: Cell) -> None:
        self.place = place_of(cell)

    def on_train_batch_start(self, trainer: Any, module: Any, batch: Any, index: int) -> None:
        Due.over = EPOCH * trainer.current_epoch + index + 1 == self.place


HOOKS = {
    "CheckpointHook by epoch": {"interval": 1},
    "CheckpointHook by iteration": {"by_epoch": False, "interval": 1},
    "SIGKILL": {"by_epoch": False, "interval": 1},
}


def lightnings_writers(cell: Cell, folder: str) -> list[Any]:
    """Return the callbacks of Lightning's that write."""
    name, every = {"dirpath": folder, "filename": "{epoch}-{step}"}, {"save_top_k": -1}
    place, writer = place_of(cell), cell.writer
    if writer == "ModelCheckpoint at epoch end":
        return [ModelCheckpoint(**name, **every, every_n_epochs=1, save_on_train_epoch_end=True)]
    if writer == "ModelCheckpoint every n steps":
        steps = place * (2 if cell.kind == "two optimizers" else 1)
        return [ModelCheckpoint(**name, **every, every_n_train_steps=steps)]
    if writer == "ModelCheckpoint by time":
        return [Strike(cell), ModelCheckpoint(**name, **every, train_time_interval=Due(days=1))]
    if writer == "ModelCheckpoint on validation":
        return [ModelCheckpoint(**name, **every, monitor="accuracy", mode="max")]
    if writer in ("OnException", "SIGTERM"):
        return [OnExceptionCheckpoint(folder)]
    return [ByHand(cell, folder)] if writer == "by hand" else []


def lightnings_kind(cell: Cell) -> list[Any]:
    """Return the callback of Lightning's that makes the kind."""
    if cell.kind == "EMAWeightAveraging":
        return [EMAWeightAveraging(decay=0.9)]
    if cell.kind == "SWA":
        # With the cosine its rates would depend on the length of the run.
        return [StochasticWeightAveraging(0.01, 2, 2, annealing_strategy="linear")]
    return []


# The two doors


def config_run(part: Part) -> tuple[Any, Any, list[Any]]:
    """Train a config's run; return its Trainer, model and hooks, when it is over."""
    cell, book = part.cell, {k: [] for k in ("loss", "lr", "momentum", "metrics", "place")}
    book["validated_at"] = []
    by_epoch = cell.door == "config by epoch"
    hooks: list[Any] = []
    if cell.kind == "EMAHook":
        hooks.append({"type": "EMAHook", **AVERAGE})
    if cell.kind == "early stopping":
        hooks.append({"type": "EarlyStoppingHook", **STUCK, "min_delta": 10, "patience": 2})
    writes = part.name != "whole" and cell.writer in HOOKS
    saving = {"type": "CheckpointHook", **HOOKS[cell.writer]} if writes else None
    length: dict[str, Any] = {"by_epoch": True, "max_epochs": part.length}
    if not by_epoch:
        length = {"by_epoch": False, "max_iters": part.length * EPOCH}
        length["val_interval"] = validates_at(cell)
    scenario = Scenario(
        optim_wrapper=optimizer(cell),
        param_scheduler=schedules(cell, kept_plan(part)),
        train_cfg=length,
        model="pair" if cell.kind == "two optimizers" else "plain",
        custom_hooks=hooks,
        default_hooks={"checkpoint": saving},
        options={"log_level": "INFO"},  # for what a resume says
    )
    data = {
        "dataset": Points(augment=True),
        "sampler": {"type": "DefaultSampler", "shuffle": True},
        "collate_fn": {"type": "default_collate"},
    }
    more: dict[str, Any] = {"train_dataloader": {**loading(cell), **data}}
    if cell.processes == "2":
        more |= {"launcher": "pytorch", "env_cfg": {"dist_cfg": {"backend": "gloo"}}}
        more["cfg"] = partly(cell)
    if part.file is not None:
        more |= {"load_from": part.file, "resume": True}
    runner = build("mm2pl", scenario, part.folder, book, **more)
    callbacks, more_callbacks = runner.trainer.callbacks, added(part)
    # As a Trainer sorts them that is given them.
    first = next(i for i, each in enumerate(callbacks) if isinstance(each, Checkpoint))
    callbacks[first:first] = [c for c in more_callbacks if not isinstance(c, Checkpoint)]
    callbacks += [c for c in more_callbacks if isinstance(c, Checkpoint)]
    runner.train()
    return runner.trainer, runner.model, runner.hooks


def own_run(part: Part) -> tuple[Any, Any, list[Any]]:
    """Train in a Trainer of the user's own; return it with its model and hooks, when it is over."""
    cell = part.cell
    torch.manual_seed(11)
    OPTIM_WRAPPER_CONSTRUCTORS.register_module(
        name="PairConstructor", module=pair_constructor("mm2pl"), force=True
    )
    module = MMLightningModule(
        models("mm2pl")["pair" if cell.kind == "two optimizers" else "plain"](),
        optim_wrapper=optimizer(cell),
        param_scheduler=schedules(cell, None),
        val_evaluator={"type": accuracy("mm2pl")},
    )
    hooks: list[Any] = [EMAHook(**AVERAGE)] if cell.kind == "EMAHook" else []
    if part.name != "whole" and cell.writer in HOOKS:
        hooks.append(CheckpointHook(**HOOKS[cell.writer]))
    callbacks = [Seeds(), *hooks, *added(part)]
    if cell.kind == "early stopping":
        callbacks.insert(0, EarlyStopping("accuracy", mode="max", min_delta=10, patience=2))
    flags: dict[str, Any] = {**QUIET, "use_distributed_sampler": False, "num_sanity_val_steps": 0}
    # Else Lightning adds a ModelCheckpoint.
    flags["enable_checkpointing"] = any(isinstance(each, Checkpoint) for each in callbacks)
    if validates_at(cell) != EPOCH:
        flags["val_check_interval"] = validates_at(cell)
    if cell.processes == "2":
        flags |= {
            "devices": 2,
            "strategy": DDPStrategy(process_group_backend="gloo", **partly(cell)),
        }
    trainer = Trainer(
        **flags, max_epochs=part.length, callbacks=callbacks, default_root_dir=part.folder
    )
    if cell.door == "MMDataModule":
        collate = {"collate_fn": {"type": "default_collate"}}
        sampler = {"type": NumberedSampler, "shuffle": True}
        train = {**loading(cell), **collate, "dataset": Numbered(), "sampler": sampler}
        val = {"type": "DefaultSampler", "shuffle": False}
        valid = {"batch_size": 8, **collate, "dataset": Points(30), "sampler": val}
        data = {"datamodule": MMDataModule(train, valid, seed=5)}
    else:
        dealt = {"num_replicas": int(cell.processes), "rank": part.rank}
        points = Numbered()
        sampler = NumberedTorchSampler(points, **dealt)
        data = {"train_dataloaders": PlaceKeepingLoader(points, sampler=sampler, **loading(cell))}
        valid = Points(30)
        whole = DistributedSampler(valid, **dealt, shuffle=False)
        data["val_dataloaders"] = DataLoader(valid, batch_size=8, sampler=whole)
    trainer.fit(module, **data, ckpt_path=part.file)
    return trainer, module.model, hooks


def added(part: Part) -> list[Any]:
    """Return the callbacks that a run of either door gets."""
    cell = part.cell
    callbacks = [*lightnings_kind(cell), Recorder()]
    if part.name != "whole":
        callbacks += lightnings_writers(cell, part.folder)
    if part.name == "stopped":
        callbacks.append(Stopper(cell))
    return callbacks


def train(part: Part) -> None:
    """Train one part in this process, and write down what must be equal to the last bit."""
    if part.cell.processes == "2":
        world = {"RANK": part.rank, "LOCAL_RANK": part.rank, "WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2}
        meet = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": part.port, "GROUP_RANK": 0}
        started = {"TORCHELASTIC_RUN_ID": "cell", **world, **meet}
        os.environ.update({name: str(value) for name, value in started.items()})
    run = config_run if is_config(part.cell) else own_run
    trainer, model, hooks = run(part)
    recorder = next(each for each in trainer.callbacks if isinstance(each, Recorder))
    averages = [hook.ema_model.state_dict() for hook in hooks if hasattr(hook, "ema_model")]
    seen = {
        "steps": recorder.steps,
        "weights": getattr(model, "module", model).state_dict(),
        "optimizers": [each.state_dict() for each in trainer.optimizers],
        "averages": averages,
    }
    torch.save(seen, Path(part.folder, f"{part.name}_{part.rank}.pt"))


def read_part(line: str) -> Part:
    """Read what :mod:`tests.continuing.server` is sent."""
    values = json.loads(line)
    return Part(Cell(*values[0]), *values[1:])
