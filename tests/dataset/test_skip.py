from __future__ import annotations

import pytest
import torch
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    WeightedRandomSampler,
)

from mm2pl.dataset import DefaultSampler, InfiniteSampler, skip_batches


class Recorded:
    def __init__(self, n: int = 23) -> None:
        self.n = n
        self.loaded: list[int] = []

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, index: int) -> int:
        self.loaded.append(index)
        return index


class Endless(IterableDataset):
    def __iter__(self):
        return iter(range(7))


class Pairs:
    """A batch sampler that is not torch's."""

    def __iter__(self):
        return iter([[0, 1], [2, 3], [4, 5], [6, 7], [8, 9], [10, 11]])


DATA = Recorded()
SAMPLERS = {
    "default": lambda: {"sampler": DefaultSampler(DATA, seed=1), "batch_size": 4},
    "in order": lambda: {"sampler": DefaultSampler(DATA, shuffle=False), "batch_size": 4},
    "drop last": lambda: {
        "sampler": DefaultSampler(DATA, seed=1),
        "batch_size": 4,
        "drop_last": True,
    },
    "sequential": lambda: {"sampler": SequentialSampler(DATA), "batch_size": 4},
    "random": lambda: {"shuffle": True, "batch_size": 4},
    "weighted": lambda: {"sampler": WeightedRandomSampler([1.0] * 23, 20), "batch_size": 4},
    "batches": lambda: {"batch_sampler": BatchSampler(RandomSampler(DATA), 4, drop_last=False)},
    "own batches": lambda: {"batch_sampler": Pairs()},
    "unbatched": lambda: {"sampler": DefaultSampler(DATA, seed=1), "batch_size": None},
}
WORKERS = {
    "no workers": {},
    "workers": {"num_workers": 2},
    "persistent": {"num_workers": 2, "persistent_workers": True},
}


def _plain(batches) -> list:
    return [batch.tolist() if isinstance(batch, torch.Tensor) else batch for batch in batches]


def _check_the_rest(loader: DataLoader, skip: int) -> None:
    torch.manual_seed(skip)
    whole = _plain(loader)
    after = torch.rand(1)
    torch.manual_seed(skip)
    DATA.loaded.clear()
    assert _plain(skip_batches(loader, skip)) == whole[skip:]
    assert torch.equal(torch.rand(1), after)
    assert len(_plain(loader)) == len(whole)


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("skip", [0, 1, 3, 5, 6])
def test_the_rest_of_the_pass(sampler, skip):
    _check_the_rest(DataLoader(DATA, **SAMPLERS[sampler]()), skip)


@pytest.mark.parametrize("workers", ["workers", "persistent"])
@pytest.mark.parametrize("sampler", ["default", "random", "unbatched", "own batches"])
def test_the_rest_of_the_pass_in_workers(sampler, workers):
    _check_the_rest(DataLoader(DATA, **SAMPLERS[sampler](), **WORKERS[workers]), 3)


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("skip", [1, 4])
def test_the_random_state_may_be_set_once_the_pass_is_open(sampler, skip):
    loader = DataLoader(DATA, **SAMPLERS[sampler]())
    torch.manual_seed(3)
    iterator = iter(loader)
    whole = [next(iterator) for _ in range(skip)]
    state = torch.get_rng_state()
    whole += list(iterator)
    torch.manual_seed(3)
    iterator = skip_batches(loader, skip)
    torch.set_rng_state(state)
    assert _plain(iterator) == _plain(whole)[skip:]


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_what_is_skipped_is_not_loaded(sampler):
    loader = DataLoader(DATA, **SAMPLERS[sampler]())
    DATA.loaded.clear()
    rest = _plain(skip_batches(loader, 3))
    assert len(DATA.loaded) == len(str(rest).split(","))


@pytest.mark.parametrize("workers", WORKERS)
def test_the_next_pass_is_whole(workers):
    loader = DataLoader(DATA, 4, sampler=DefaultSampler(DATA, seed=1), **WORKERS[workers])
    whole = _plain(loader)
    loader.sampler.set_epoch(1)
    second = _plain(loader)
    loader.sampler.set_epoch(0)
    sampler = loader.batch_sampler
    assert _plain(skip_batches(loader, 2)) == whole[2:]
    assert loader.batch_sampler is sampler
    loader.sampler.set_epoch(1)
    assert _plain(loader) == second


@pytest.mark.parametrize("workers", WORKERS)
def test_an_infinite_sampler(workers):
    loader = DataLoader(DATA, 4, sampler=InfiniteSampler(DATA, seed=1), **WORKERS[workers])
    iterators = iter(loader), skip_batches(loader, 9)
    for _ in range(9):
        next(iterators[0])
    assert [next(iterators[0]).tolist() for _ in range(9)] == [
        next(iterators[1]).tolist() for _ in range(9)
    ]


@pytest.mark.parametrize(
    ("loader", "expected"),
    [
        (DataLoader(Endless(), batch_size=2), [[4, 5], [6]]),
        ([[0, 1], [2, 3], [4, 5]], [[4, 5]]),
    ],
    ids=["IterableDataset", "list"],
)
def test_what_has_no_indices_is_read_through(loader, expected):
    assert _plain(skip_batches(loader, 2)) == expected
