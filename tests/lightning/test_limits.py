"""Which attributes of a loop the Trainer's limits reach; whole loops under limits are in ``tests/loops``."""

from __future__ import annotations

from types import SimpleNamespace

from torch.utils.data import DataLoader

from mm2pl.dataset import DefaultSampler
from mm2pl.lightning.limits import Limit


def test_loaders_are_cut_where_they_stand_and_given_back() -> None:
    loader = DataLoader(range(8))
    pair, sampler = (loader, DataLoader(range(5))), DefaultSampler(range(8), shuffle=False)
    loop = SimpleNamespace(loader=loader, pair=pair, by_name={"a": loader}, sampler=sampler)
    with Limit("Loop", "limit_train_batches", 2).on(loop):
        assert len(list(loop.loader)) == len(list(loop.by_name["a"])) == 2
        assert isinstance(loop.pair, tuple)
        assert [len(list(each)) for each in loop.pair] == [2, 2]
        # Its indices are of samples, not of batches.
        assert list(loop.sampler) == list(range(8))
    assert loop.loader is loader
    assert loop.pair is pair
