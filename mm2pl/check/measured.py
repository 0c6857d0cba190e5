"""What a profile has measured, as tables and as plain data."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch

from mm2pl.check.complexity import Complexity, ModuleCost
from mm2pl.check.environment import size
from mm2pl.check.stopwatch import OTHER
from mm2pl.dataset.utils import length_of
from mm2pl.runs.tables import Table

PARTS = ("data", "transfer", "preprocess", "forward", "backward", "optimizer", "hooks", "loggers")
"""The parts of an iteration, in their order; what else there is comes behind them."""

APART = "validation"
"""The part that is not of an iteration."""

BRAKE = 0.2
"""The share of an iteration from which on data, or their transfer, are worth some work."""


@dataclass(kw_only=True)
class Measured:
    """What a profile has measured.

    Attributes:
        iterations: How many were measured.
        warm_up: How many came before.
        log_interval: Iterations between two lines of the log.
        left_out: Backends of the visualizer that were told nothing.
        compiled: Whether the model's ``train_step`` is compiled.
        device: Where the model was.
        batch_size: Of the training; ``None`` where the loader does not tell.
        loader: What bears upon the speed of the loader, as far as it is known.
        seconds: Of all iterations, by part; a part in a part has both names: ``hooks/EMAHook``.
        free_seconds: Of as many iterations that did not wait for the device at each part; ``None`` on a CPU.
        epochs_begun: In these iterations.
        device_bytes: The most that tensors took on the device; ``None`` on a CPU.
        process_bytes: The most that the process took.
        complexity: What the model costs.
        trace: Where the trace was written.
    """

    name: str
    iterations: int
    warm_up: int
    log_interval: int = 10
    left_out: Sequence[str] = ()
    compiled: bool = False
    device: str = "cpu"
    batch_size: int | None = None
    loader: dict[str, Any] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    free_seconds: float | None = None
    epochs_begun: int = 0
    device_bytes: int | None = None
    process_bytes: int | None = None
    complexity: Complexity | None = None
    trace: str | None = None

    @property
    def is_whole(self) -> bool:
        """Return whether all was measured."""
        return self.complexity is not None

    def look_at(self, loader: Any, device: torch.device) -> None:
        """Note what the data come from, and where they go."""
        self.device = str(device)
        if device.type == "cuda":
            self.device = torch.cuda.get_device_name(device)
        self.batch_size = getattr(loader, "batch_size", None)
        names = ("num_workers", "persistent_workers", "pin_memory")
        self.loader = {name: getattr(loader, name) for name in names if hasattr(loader, name)}
        self.loader["length"] = length_of(loader)

    def note_memory(self) -> None:
        """Take note of the device's memory; asked often, since a line of the log begins its count anew."""
        if torch.cuda.is_initialized():
            self.device_bytes = max(self.device_bytes or 0, torch.cuda.max_memory_allocated())

    # What it means

    @property
    def parts(self) -> dict[str, float]:
        """The seconds of an iteration by part, with those inside a part."""
        known = [*PARTS, *(self.seconds.keys() - {*PARTS, OTHER, APART})]
        names = [*PARTS, *sorted({n.partition("/")[0] for n in known} - {*PARTS}), OTHER]
        return {name: self._of(name) for name in names}

    def inside(self, part: str) -> dict[str, float]:
        """Return the seconds of an iteration inside a part, the longest first."""
        found = {
            name.partition("/")[2]: seconds / self.iterations
            for name, seconds in self.seconds.items()
            if name.startswith(f"{part}/")
        }
        return dict(sorted(found.items(), key=lambda item: -item[1]))

    def _of(self, part: str) -> float:
        whole = sum(s for n, s in self.seconds.items() if n.partition("/")[0] == part)
        return whole / self.iterations

    @property
    def iteration(self) -> float:
        """The seconds of an iteration."""
        return sum(self.parts.values())

    def share(self, part: str) -> float:
        """Return which part of an iteration a part is, from 0 to 1."""
        return self.parts[part] / self.iteration if self.iteration else 0.0

    def notes(self) -> Iterator[str]:
        """Yield what has to be known to read the figures."""
        if self.free_seconds is not None:
            free = 1000 * self.free_seconds / self.iterations
            yield f"each part waits for the device here; without that, an iteration takes {free:.1f} ms"
        if self.compiled:
            yield "train_step is compiled, with forward, backward and optimizer in it"
        if self.left_out:
            yield f"loggers: {', '.join(self.left_out)} {'was' if len(self.left_out) == 1 else 'were'} left out"
        if not self.parts["loggers"]:
            yield (
                "loggers: no line of the log was due in these iterations → "
                f"--iterations {self.log_interval} takes one in"
            )
        if self.epochs_begun:
            length = self.loader.get("length")
            known = f" (of {length} iterations each)" if length else ""
            yield (
                f"epochs that begin in these iterations: {self.epochs_begun}{known}; validations and checkpoints are "
                "left out"
            )
        if self.complexity is not None and self.complexity.uncounted:
            yield f"FLOPs are not counted: {self.complexity.uncounted}"

    def advice(self) -> list[str]:
        """Return what may make the training faster, where data are the brake."""
        return advice(
            self.share("data"),
            self.share("transfer"),
            **{k: v for k, v in self.loader.items() if k != "length"},
            on_device=self.device_bytes is not None,
        )

    def as_dict(self) -> dict[str, Any]:
        """Return what JSON can hold."""
        assert self.complexity is not None
        return {
            "name": self.name,
            "device": self.device,
            "batch_size": self.batch_size,
            "iterations": self.iterations,
            "warm_up": self.warm_up,
            "seconds_per_iteration": self.iteration,
            "seconds_without_waiting": self.free_seconds and self.free_seconds / self.iterations,
            "parts": {
                part: {"seconds": seconds, "share": self.share(part), "inside": self.inside(part)}
                for part, seconds in self.parts.items()
            },
            "memory": {"device": self.device_bytes, "process": self.process_bytes},
            "complexity": asdict(self.complexity),
            "notes": [*self.notes()],
            "advice": self.advice(),
            "trace": self.trace,
        }

    def tables(self) -> list[Table]:
        """Return what is printed."""
        return [self._time(), self._costs(), *self._modules()]

    def _time(self) -> Table:
        rows = []
        for part, seconds in self.parts.items():
            rows.append([part, *self._cells(seconds)])
            # Less than that is no more than measuring itself takes.
            inside = {n: s for n, s in self.inside(part).items() if s >= 0.01 * self.iteration}
            rows += [[f"  {name}", *self._cells(each)] for name, each in inside.items()]
        rows.append(["iteration", *self._cells(self.iteration)])
        batch = f" of {self.batch_size} samples" if self.batch_size else ""
        return Table(
            title=f"{self.name}: {self.iterations} iterations{batch} after {self.warm_up}, on {self.device}",
            heads=["part", "ms", "share"],
            rows=rows,
            right=[1, 2],
            note="\n".join([*self.notes(), *(f"→ {each}" for each in self.advice())]),
        )

    def _cells(self, seconds: float) -> list[str]:
        return [f"{1000 * seconds:.2f}", f"{100 * seconds / (self.iteration or 1.0):.1f} %"]

    def _costs(self) -> Table:
        assert self.complexity is not None
        whole, trained = self.complexity.whole, self.complexity.trained
        told = f"{count(whole.parameters)}, {'all' if trained == whole.parameters else count(trained)} trained"
        rows = [["parameters", told]]
        if whole.flops is not None:
            rows.append(
                ["FLOPs", f"{self._per_sample(whole.flops)} as get_model_complexity_info counts"]
            )
        if whole.flops is not None and whole.attention:
            all_of_them = whole.flops + whole.attention
            rows.append(["", f"{self._per_sample(all_of_them)} with scaled_dot_product_attention"])
        if self.device_bytes is not None:
            rows.append(["memory", f"{size(self.device_bytes)} of the device at most"])
        if self.process_bytes is not None:
            rows.append(["memory", f"{size(self.process_bytes)} of the process at most"])
        return Table(title="model and memory", heads=["", ""], rows=rows)

    def _per_sample(self, flops: int) -> str:
        return f"{count(flops / (self.batch_size or 1))} per {'sample' if self.batch_size else 'batch'}"

    def _modules(self) -> list[Table]:
        assert self.complexity is not None
        modules, whole = self.complexity.modules, self.complexity.whole
        if not modules:
            return []
        heads, per = ["module", "parameters"], self.batch_size or 1
        if whole.flops is not None:
            heads.append("FLOPs")
        if whole.attention:
            heads.append("with attention")

        def cells(cost: ModuleCost) -> list[str]:
            flops, attention = cost.flops or 0, cost.attention or 0
            level = "  " * cost.name.count(".")
            told = [f"{level}{cost.name.rpartition('.')[2]}", count(cost.parameters)]
            told += [count(flops / per), count((flops + attention) / per)]
            return told[: len(heads)]

        return [Table(title="modules", heads=heads, rows=[*map(cells, modules)], right=[1, 2, 3])]


def count(number: float) -> str:
    """Write a large number with a letter, in powers of 1000.

    >>> count(950), count(12_340), count(1_500_000_000)
    ('950', '12.3 k', '1.5 G')
    """
    for letter in ("", " k", " M", " G", " T"):
        if number < 1000 or letter == " T":
            break
        number /= 1000
    return f"{number:.3g}{letter}"


def advice(
    data: float,
    transfer: float,
    *,
    num_workers: int | None = None,
    persistent_workers: bool | None = None,
    pin_memory: bool | None = None,
    on_device: bool = False,
    cores: int | None = None,
) -> list[str]:
    """Return the usual advice where data are the brake.

    Args:
        data: The share of an iteration that waits for them, from 0 to 1.
        transfer: The share that moves them to the device.
        num_workers: Of the loader, as the next two; ``None``: not known.
        persistent_workers: Whether they stay from epoch to epoch.
        pin_memory: Whether batches lie where the device can fetch them.
        on_device: Whether there is a device.
        cores: Of the machine; by default those that this process may use.

    >>> advice(0.5, 0.0, num_workers=0, persistent_workers=False, cores=8)
    ['train_dataloader.num_workers=0 → up to 8: the training itself loads each batch, and waits for it']
    """
    cores = cores or _cores()
    found = []
    if data >= BRAKE and num_workers is not None:
        key = f"train_dataloader.num_workers={num_workers} → "
        if num_workers == 0:
            found.append(
                f"{key}up to {cores}: the training itself loads each batch, and waits for it"
            )
        elif num_workers < cores:
            found.append(f"{key}up to {cores}: that many cores are there")
        else:
            found.append(
                "there are as many workers as cores → a cheaper pipeline: smaller pictures on the disk, fewer or "
                "later transforms, samples that are kept after they were decoded"
            )
        if num_workers and not persistent_workers:
            found.append(
                "train_dataloader.persistent_workers=False → True: workers begin anew with each epoch"
            )
    if on_device and max(data, transfer) >= BRAKE and pin_memory is False:
        found.append(
            "train_dataloader.pin_memory=False → True: then a copy to the device need not wait"
        )
    return found


def _cores() -> int:
    # Fewer in a container, where Linux tells; other systems have no such function.
    allowed = getattr(os, "sched_getaffinity", None)
    return len(allowed(0)) if allowed else os.cpu_count() or 1
