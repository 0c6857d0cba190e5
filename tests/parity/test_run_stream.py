"""Where a run by iterations goes on that MMEngine's checkpoint has begun: where MMEngine's loop goes on."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from itertools import islice
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, RandomSampler

from mm2pl.run.stream import TrainStream

pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("ignore:.*num_workers:UserWarning")]
loops = pytest.importorskip("mmengine.runner.loops")


class Numbers:
    """A data set that counts what is loaded of it."""

    def __init__(self) -> None:
        self.loaded = 0

    def __len__(self) -> int:
        return 23

    def __getitem__(self, index: int) -> int:
        self.loaded += 1
        return index


class Sources:
    """Batches of two sources without end, as MMDetection's ``MultiSourceSampler``; its place outlives an iterator."""

    def __init__(self) -> None:
        self.first, self.second = self.forever(0, 10, 3), self.forever(10, 23, 4)

    def forever(self, first: int, last: int, seed: int) -> Iterator[int]:
        generator = torch.Generator().manual_seed(seed)
        while True:
            yield from (first + torch.randperm(last - first, generator=generator)).tolist()

    def __len__(self) -> int:
        return 5

    def __iter__(self) -> Iterator[list[int]]:
        while True:
            yield [*islice(self.first, 1), *islice(self.second, 3)]


class Rounds:
    """A sampler without end, and without a length that means anything."""

    def __len__(self) -> int:
        return 23

    def __iter__(self) -> Iterator[int]:
        turn = 0
        while True:
            yield from ((index * 5 + turn) % 23 for index in range(23))
            turn += 1


class Shrinking:
    """A sampler whose passes are shorter than it says, and change with the epoch."""

    epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return 23

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.epoch % 3, 12 - self.epoch % 3))


def own(package: str, name: str, **options: Any) -> Any:
    return getattr(importlib.import_module(f"{package}.dataset"), name)(Numbers(), **options)


LOADERS = {
    "MultiSourceSampler": lambda package: {"batch_sampler": Sources()},
    "no end": lambda package: {"sampler": Rounds(), "batch_size": 4},
    "InfiniteSampler": lambda package: (
        {"sampler": own(package, "InfiniteSampler", seed=2)} | {"batch_size": 4}
    ),
    "DefaultSampler": lambda package: (
        {"sampler": own(package, "DefaultSampler", seed=2)} | {"batch_size": 4}
    ),
    "drop_last": lambda package: (
        {"sampler": own(package, "DefaultSampler", seed=2)} | {"batch_size": 4, "drop_last": True}
    ),
    "MMEngine's": lambda package: (
        {"sampler": own("mmengine", "DefaultSampler", seed=2)} | {"batch_size": 4}
    ),
    "shorter than it says": lambda package: {"sampler": Shrinking(), "batch_size": 4},
    "a generator of its own": lambda package: {
        "sampler": RandomSampler(Numbers(), generator=torch.Generator().manual_seed(1)),
        "batch_size": 4,
    },
}


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("name", LOADERS)
def test_a_resumed_run_takes_the_batches_mmengine_takes(
    name: str, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loops, "print_log", lambda *args, **kwargs: None)
    monkeypatch.setattr(loops.time, "sleep", lambda seconds: None)
    their_loader = DataLoader(Numbers(), **LOADERS[name]("mmengine"))
    theirs = loops._InfiniteDataloaderIterator(their_loader)
    expected = [batch.tolist() for batch in islice(theirs, 24)]
    for done in (0, 1, 3, 5, 6, 13, 18) if not workers else (4, 13):
        loader = DataLoader(Numbers(), num_workers=workers, **LOADERS[name]("mm2pl"))
        stream = TrainStream(loader, length=24, endless=True)
        stream.skip_to(done)
        assert loader.dataset.loaded == 0
        got = [batch.tolist() for batch in islice(stream, 24 - done)]
        assert got == expected[done:], done


def test_a_sampler_without_samples_is_told() -> None:
    stream = TrainStream(DataLoader(Numbers(), batch_sampler=iter(())), length=9, endless=True)
    with pytest.raises(ValueError, match=r"has no batch → 7 cannot be skipped → give it data"):
        stream.skip_to(7)
    with pytest.raises(ValueError, match="a pass over the training data has no batch"):
        next(iter(stream))
