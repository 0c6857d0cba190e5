from __future__ import annotations

from functools import partial
from itertools import islice
from types import SimpleNamespace

import pytest
import torch
from torch.utils.data import BatchSampler, DataLoader, SequentialSampler

from mm2pl.dataset import (
    batch_size_of,
    build_dataloader,
    default_collate,
    loader,
    pseudo_collate,
    worker_init_fn,
)
from mm2pl.registry import DATA_SAMPLERS, DATASETS, FUNCTIONS


class Numbers:
    """The numbers below ``n``, and what happened to them."""

    def __init__(self, n: int = 7) -> None:
        self.n = n
        self.inits = 0

    def full_init(self) -> None:
        self.inits += 1

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, index: int) -> int:
        return index


def doubled(batch, by=2):
    return [by * item for item in batch]


def quiet_worker(worker_id, level):
    assert level == 3


def cfg(**changes):
    base = {"dataset": Numbers(), "sampler": {"type": "DefaultSampler", "shuffle": False}}
    return {**base, "batch_size": 3, **changes}


@pytest.fixture
def registered():
    """Register the functions and classes above for one test."""
    entries = [
        (DATASETS, "Numbers", Numbers),
        (FUNCTIONS, "doubled", doubled),
        (FUNCTIONS, "quiet_worker", quiet_worker),
        (DATA_SAMPLERS, "Batches", BatchSampler),
    ]
    for registry, name, module in entries:
        registry.register_module(name=name, module=module)
    yield
    for registry, name, _ in entries:
        del registry._module_dict[name]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, [[0, 1, 2], [3, 4, 5], [6]]),
        ({"drop_last": True}, [[0, 1, 2], [3, 4, 5]]),
        ({"batch_size": 1, "num_batch_per_epoch": 2}, [[0], [1]]),
        ({"sampler": SequentialSampler(range(2))}, [[0, 1]]),
        ({"sampler": None}, [[0, 1, 2], [3, 4, 5], [6]]),
        ({"sampler": {"type": "DefaultSampler"}}, [[1, 0, 4], [2, 6, 5], [3]]),
        ({"collate_fn": "doubled"}, [[0, 2, 4], [6, 8, 10], [12]]),
        ({"collate_fn": {"type": "doubled", "by": 3}}, [[0, 3, 6], [9, 12, 15], [18]]),
        ({"collate_fn": {"type": doubled}}, [[0, 2, 4], [6, 8, 10], [12]]),
        ({"collate_fn": doubled}, [[0, 2, 4], [6, 8, 10], [12]]),
        ({"dataset": {"type": "Numbers", "n": 2}}, [[0, 1]]),
        ({"batch_sampler": {"type": "Batches", "drop_last": True}}, [[0, 1, 2], [3, 4, 5]]),
        ({"worker_init_fn": {"type": "quiet_worker", "level": 3}, "num_workers": 1}, None),
        ({"worker_init_fn": None, "num_workers": 1, "persistent_workers": True}, None),
        ({"num_workers": 1, "disable_subprocess_warning": True}, None),
    ],
    ids=str,
)
def test_batches(changes, expected, registered):
    built = build_dataloader(cfg(**changes), seed=5)
    assert list(built) == (expected or [[0, 1, 2], [3, 4, 5], [6]])


def test_a_batch_sampler_may_have_the_batch_size_alone(registered):
    sampler = {"type": "Batches", "batch_size": 4, "drop_last": False}
    config = cfg(batch_sampler=sampler)
    del config["batch_size"]
    assert list(build_dataloader(config)) == [[0, 1, 2, 3], [4, 5, 6]]
    del sampler["batch_size"]
    with pytest.raises(TypeError, match="batch_size"):
        build_dataloader(config)


def test_defaults():
    built = build_dataloader(cfg(), seed=5)
    assert built.collate_fn is pseudo_collate
    assert isinstance(built.worker_init_fn, partial)
    assert built.worker_init_fn.func is worker_init_fn
    assert built.worker_init_fn.keywords == {
        "num_workers": 0,
        "rank": 0,
        "seed": 5,
        "disable_subprocess_warning": False,
    }
    assert build_dataloader(cfg()).worker_init_fn is None
    assert build_dataloader(cfg(collate_fn={"type": "default_collate"})).collate_fn.func is (
        default_collate
    )


def test_the_sampler_gets_the_seed_unless_the_ranks_differ(monkeypatch):
    assert build_dataloader(cfg(), seed=5).sampler.seed == 5
    monkeypatch.setattr("mm2pl.dataset.sampler.sync_random_seed", lambda: 77)
    assert build_dataloader(cfg(), seed=5, diff_rank_seed=True).sampler.seed == 77
    assert build_dataloader(cfg()).sampler.seed == 77


def test_the_sampler_s_own_seed_wins():
    sampler = {"type": "DefaultSampler", "seed": 1}
    assert build_dataloader(cfg(sampler=sampler), seed=5).sampler.seed == 1


def test_full_init_before_the_sampler(registered):
    built = build_dataloader(cfg(dataset={"type": "Numbers"}))
    assert built.dataset.inits == 1
    assert built.sampler.dataset is built.dataset


def test_objects_are_used_as_they_are_and_the_config_stays():
    config = cfg(collate_fn={"type": "pseudo_collate"})
    dataset = config["dataset"]
    built = build_dataloader(config)
    assert built.dataset is dataset
    assert dataset.inits == 0
    assert config == cfg(dataset=dataset, collate_fn={"type": "pseudo_collate"})


def test_a_loader_is_returned():
    ready = DataLoader(range(3))
    assert build_dataloader(ready) is ready


def test_num_batch_per_epoch(registered):
    built = build_dataloader(cfg(num_batch_per_epoch=2, dataset={"type": "Numbers", "n": 100}))
    assert (len(built), len(built.dataset), built.dataset.n) == (2, 6, 100)


def test_pin_memory_is_left_out_without_cuda(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    built = build_dataloader(cfg(pin_memory=True))
    assert list(built) == [[0, 1, 2], [3, 4, 5], [6]]  # torch's warning would be an error here
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert build_dataloader(cfg(pin_memory=True)).pin_memory is True


@pytest.mark.parametrize("given", [{}, {"shuffle": True}, {"num_batch_per_epoch": 2}], ids=str)
def test_without_a_sampler_torch_makes_the_order(given):
    config = {"dataset": [*range(7)], "batch_size": 3, **given}
    torch.manual_seed(3)
    ours = list(build_dataloader(config, seed=1))
    runner = pytest.importorskip("mmengine.runner").Runner
    theirs_config = pytest.importorskip("mmengine.config").ConfigDict(config)
    torch.manual_seed(3)
    assert ours == list(runner.build_dataloader(theirs_config, seed=1))


def test_an_infinite_sampler_in_workers():
    config = cfg(sampler={"type": "InfiniteSampler", "shuffle": False}, num_workers=2)
    assert list(islice(build_dataloader(config), 4))[-1] == [2, 3, 4]


@pytest.mark.parametrize(
    ("config", "error", "match"),
    [
        ([1], TypeError, r"dataloader=\[1\]: give a DataLoader, or a dict with the keys"),
        ({"sampler": None}, KeyError, r"keys \['sampler'\] has no 'dataset': add dataset=dict"),
        (cfg(shuffle=True), ValueError, r"shuffle=True in a dataloader config that has a sampler"),
        (cfg(collate_fn=3), TypeError, r"collate_fn=3: give a registered name, a dict"),
        (cfg(collate_fn={"by": 3}), KeyError, r"collate_fn=\{'by': 3\} has no 'type'"),
        (
            cfg(collate_fn="pseudo_colate"),
            TypeError,
            r"(?s)collate_fn should be a dict or callable object, or .*pseudo_colate.*pseudo_collate",
        ),
        (cfg(worker_init_fn=3), TypeError, r"worker_init_fn=3: give a registered name"),
        (cfg(disable_subprocess_warning=1), TypeError, r"disable_subprocess_warning=1: give True"),
        (cfg(dataset=[]), ValueError, r"got an empty data set \(list of length 0\)"),
        (
            {"dataset": [1], "sampler": None, "num_batch_per_epoch": 2},
            ValueError,
            r"keys \['sampler'\] has no batch_size",
        ),
    ],
    ids=str,
)
def test_wrong_configs(config, error, match):
    with pytest.raises(error, match=f"(?s){match}"):
        build_dataloader(config)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"batch_size": 2}, 2),
        ({"batch_sampler": {"batch_size": 4}}, 4),
        (DataLoader(range(3), batch_size=3), 3),
        (SimpleNamespace(batch_size=5), 5),
    ],
    ids=str,
)
def test_batch_size_of(given, expected):
    assert batch_size_of(given) == expected


def test_batch_size_of_something_else():
    with pytest.raises(ValueError, match="has no batch size: give a DataLoader"):
        batch_size_of(DataLoader(range(3), batch_size=None))


def test_a_sliced_data_set_can_be_pickled():
    import pickle

    sliced = pickle.loads(pickle.dumps(loader._SlicedDataset([1, 2, 3], 2)))
    assert (len(sliced), sliced[1], sliced.count(3)) == (2, 2, 1)
