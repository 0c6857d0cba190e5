"""Index order equal to MMEngine's."""

from __future__ import annotations

import random
from itertools import islice

import numpy as np
import pytest

from mm2pl.dataset import DefaultSampler, InfiniteSampler
from mm2pl.dataset import sampler as ours

pytestmark = pytest.mark.parity
theirs = pytest.importorskip("mmengine.dataset.sampler")


def _random_cases(count: int) -> list[tuple]:
    """Return (length, world size, rank, seed, epoch, round_up, shuffle)."""
    rng = random.Random(6)
    cases = []
    for _ in range(count):
        world_size = rng.randint(1, 9)
        length = rng.choice([1, 2, rng.randint(1, 20), rng.randint(1, 500)])
        cases.append(
            (
                length,
                world_size,
                rng.randrange(world_size),
                rng.randrange(2**31),
                rng.randint(0, 300),
                rng.random() < 0.5,
                rng.random() < 0.7,
            )
        )
    return cases


@pytest.fixture
def as_rank(monkeypatch):
    def pretend(rank: int, world_size: int) -> None:
        for module in (ours, theirs):
            monkeypatch.setattr(module, "get_dist_info", lambda: (rank, world_size))

    return pretend


@pytest.mark.parametrize("case", _random_cases(200), ids=lambda case: "-".join(map(str, case)))
def test_default_sampler_order(case, as_rank):
    length, world_size, rank, seed, epoch, round_up, shuffle = case
    as_rank(rank, world_size)
    pair = [
        cls(range(length), shuffle=shuffle, seed=seed, round_up=round_up)
        for cls in (DefaultSampler, theirs.DefaultSampler)
    ]
    for sampler in pair:
        sampler.set_epoch(epoch)
    mine, reference = (list(sampler) for sampler in pair)
    assert mine == reference
    assert len(pair[0]) == len(pair[1])
    consumed = seed % (len(reference) + 1)
    pair[0].resume(consumed)
    assert list(pair[0]) == reference[consumed:]
    assert list(pair[0]) == reference


@pytest.mark.parametrize("case", _random_cases(200), ids=lambda case: "-".join(map(str, case)))
def test_infinite_sampler_order(case, as_rank):
    length, world_size, rank, seed, epoch, _, shuffle = case
    as_rank(rank, world_size)
    mine = InfiniteSampler(range(length), shuffle=shuffle, seed=seed)
    other = theirs.InfiniteSampler(range(length), shuffle=shuffle, seed=seed)
    reference = list(islice(iter(other), 1500))
    assert list(islice(mine, 1500)) == reference
    assert len(mine) == len(other)
    consumed = 4 * epoch
    mine.resume(consumed)
    assert list(islice(mine, 100)) == reference[consumed : consumed + 100]
    assert list(islice(mine, 10)) == reference[:10]


@pytest.mark.parametrize("cls", ["DefaultSampler", "InfiniteSampler"])
def test_seed_none_draws_what_mmengine_draws(cls):
    np.random.seed(11)
    mine = [getattr(ours, cls)(range(5)).seed for _ in range(3)]
    np.random.seed(11)
    assert mine == [getattr(theirs, cls)(range(5)).seed for _ in range(3)]
