from __future__ import annotations

from itertools import islice

import pytest
from torch.utils.data import DataLoader

from mm2pl.dataset import DefaultSampler, InfiniteSampler, sampler

ORDER_OF_10 = [4, 1, 7, 5, 3, 9, 0, 8, 6, 2]  # torch.randperm(10), seed 0


@pytest.fixture
def as_rank(monkeypatch):
    def pretend(rank: int, world_size: int) -> None:
        monkeypatch.setattr(sampler, "get_dist_info", lambda: (rank, world_size))

    return pretend


@pytest.mark.parametrize(
    ("rank", "world_size", "options", "expected"),
    [
        (0, 1, {}, ORDER_OF_10),
        (0, 1, {"shuffle": False}, list(range(10))),
        (1, 4, {}, [1, 9, 2]),
        (3, 4, {}, [5, 8, 1]),
        (3, 4, {"round_up": False}, [5, 8]),
        (2, 4, {"shuffle": False}, [2, 6, 0]),
        (2, 4, {"shuffle": False, "round_up": False}, [2, 6]),
        (24, 25, {"shuffle": False}, [4]),
        (24, 25, {"shuffle": False, "round_up": False}, []),
    ],
)
def test_default_sampler(rank, world_size, options, expected, as_rank):
    as_rank(rank, world_size)
    default = DefaultSampler(range(10), seed=0, **options)
    assert list(default) == expected
    assert len(default) == len(expected)


def test_epochs_change_the_order_and_come_back():
    default = DefaultSampler(range(10), seed=0)
    default.set_epoch(1)
    assert sorted(default) == list(range(10))
    assert list(default) != ORDER_OF_10
    default.set_epoch(0)
    assert list(default) == ORDER_OF_10


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("consumed", [0, 1, 9, 10, 11])
def test_default_sampler_resumes_once(consumed, shuffle):
    default = DefaultSampler(range(10), seed=0, shuffle=shuffle)
    whole = list(default)
    default.resume(consumed)
    assert (len(default), list(default), list(default)) == (10, whole[consumed:], whole)


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize(("rank", "world_size"), [(0, 1), (1, 3)])
@pytest.mark.parametrize("consumed", [0, 1, 6, 7, 100])
def test_infinite_sampler_resumes_and_restarts(consumed, rank, world_size, shuffle, as_rank):
    as_rank(rank, world_size)
    infinite = InfiniteSampler(range(7), seed=3, shuffle=shuffle)
    stream = list(islice(infinite, 130))
    infinite.resume(consumed)
    assert list(islice(infinite, 30)) == stream[consumed : consumed + 30]
    assert list(islice(infinite, 30)) == stream[:30]
    assert len(infinite) == 7


def test_ranks_share_each_permutation_of_the_infinite_stream(as_rank):
    shares = []
    for rank in range(2):
        as_rank(rank, 2)
        shares.append(list(islice(InfiniteSampler(range(6), seed=3), 3)))
    assert sorted(shares[0] + shares[1]) == list(range(6))


def test_two_loaders_do_not_disturb_each_other():
    infinite = InfiniteSampler(range(6), shuffle=False)
    loader = DataLoader(range(6), batch_size=4, sampler=infinite)
    first, second = iter(loader), iter(loader)
    assert next(first).tolist() == next(second).tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("cls", [DefaultSampler, InfiniteSampler])
def test_wrong_arguments(cls):
    with pytest.raises(ValueError, match=r"got an empty data set \(list of length 0\): check its"):
        cls([])
    with pytest.raises(TypeError, match=r"has no length, which .* needs → give it a __len__"):
        cls(iter("abc"))
    with pytest.raises(ValueError, match="consumed=-1: give the number of samples taken"):
        cls([1], seed=0).resume(-1)


def test_an_empty_data_set_has_no_samples_to_round_up():
    assert list(DefaultSampler([], round_up=False)) == []
