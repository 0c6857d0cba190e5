from __future__ import annotations

import numpy as np
import pytest
from torch.utils.data import ConcatDataset as TorchConcatDataset

from mm2pl.dataset import BaseDataset, ClassBalancedDataset, ConcatDataset, RepeatDataset
from mm2pl.registry import DATASETS


class Toy(BaseDataset):
    """Entries ``start, start + 1, …`` without a file."""

    def __init__(self, start=0, n=3, categories=(), **kwargs):
        self.start, self.n, self.categories = start, n, categories
        super().__init__(**kwargs)

    def load_data_list(self):
        return [{"value": value} for value in range(self.start, self.start + self.n)]

    def get_cat_ids(self, idx):
        return self.categories[idx]


class Duck:
    """What the wrappers use of a data set, without the base class."""

    metainfo: dict = {}  # noqa: RUF012

    def full_init(self):
        self.ready = True

    def __len__(self):
        return 2

    def __getitem__(self, idx):
        return {"value": idx}


CATEGORIES = [[0], [0], [0, 1], [0], []]


def values(dataset) -> list[int]:
    return [dataset[index]["value"] for index in range(len(dataset))]


def infos(dataset) -> list[int]:
    return [dataset.get_data_info(index)["value"] for index in range(len(dataset))]


WRAPPERS = {
    "concat": (lambda **o: ConcatDataset([Toy(), Toy(10, 2)], **o), [0, 1, 2, 10, 11]),
    "concat of configs": (
        lambda **o: ConcatDataset([{"type": Toy}, {"type": Toy, "start": 5}], **o),
        [0, 1, 2, 5, 6, 7],
    ),
    "repeat": (lambda **o: RepeatDataset(Toy(), 2, **o), [0, 1, 2, 0, 1, 2]),
    "repeat a config": (lambda **o: RepeatDataset({"type": Toy}, times=1, **o), [0, 1, 2]),
    "balanced": (
        lambda **o: ClassBalancedDataset(Toy(n=5, categories=CATEGORIES), 0.7, **o),
        [0, 1, 2, 2, 3, 4],
    ),
    "nested": (lambda **o: RepeatDataset(RepeatDataset(Toy(n=1), 2), 2, **o), [0, 0, 0, 0]),
}


@pytest.mark.parametrize("name", WRAPPERS)
@pytest.mark.parametrize("lazy_init", [False, True])
def test_samples(name, lazy_init):
    build, expected = WRAPPERS[name]
    dataset = build(lazy_init=lazy_init)
    assert dataset._fully_initialized is not lazy_init
    assert len(dataset) == len(expected)
    assert values(dataset) == infos(dataset) == expected


@pytest.mark.parametrize("name", WRAPPERS)
def test_subsets_are_refused(name):
    dataset = WRAPPERS[name][0]()
    for method in (dataset.get_subset, dataset.get_subset_):
        with pytest.raises(
            NotImplementedError, match=r"does not support `get_subset`.*call them on"
        ):
            method(2)


@pytest.mark.parametrize("name", WRAPPERS)
def test_metainfo_is_a_copy(name):
    dataset = WRAPPERS[name][0]()
    dataset.metainfo["new"] = 1
    assert dataset.metainfo == {}


def test_a_lazy_wrapper_reads_when_indexed():
    assert ConcatDataset([Toy(lazy_init=True)], lazy_init=True)[2]["value"] == 2


def test_concat_indexes_from_the_end():
    concat = ConcatDataset([Toy(), Toy(10, 2)])
    assert [concat[-1]["value"], concat[-5]["value"]] == [11, 0]
    for index in (5, -6):
        with pytest.raises(ValueError, match=rf"index {index} should not exceed dataset length\(5"):
            concat[index]
    assert [sample["value"] for sample in concat] == [0, 1, 2, 10, 11]
    assert isinstance(concat, TorchConcatDataset)


def test_registered_and_duck_typed():
    config = {"type": "RepeatDataset", "times": 2, "dataset": Duck()}
    assert values(DATASETS.build(config)) == [0, 1, 0, 1]
    assert DATASETS.get("ConcatDataset") is ConcatDataset
    assert DATASETS.get("ClassBalancedDataset") is ClassBalancedDataset


def test_class_balance():
    # Category 1 is in a fifth of the samples: sqrt(0.7 / 0.2) = 1.87, so twice.
    balanced = ClassBalancedDataset(Toy(n=5, categories=CATEGORIES), 0.7)
    assert balanced.repeat_indices == [0, 1, 2, 2, 3, 4]
    assert balanced.get_cat_ids(3) == [0, 1]


META = {"classes": ["a"], "palette": np.arange(3)}


@pytest.mark.parametrize(
    ("metainfo", "ignore_keys"),
    [
        (META, None),
        ({**META, "palette": np.zeros(1)}, "palette"),
        ({**META, "classes": ["b"]}, ["classes"]),
        ({"classes": ["a"]}, ["palette"]),
    ],
    ids=["equal", "one key", "keys", "lacks one"],
)
def test_metainfo_that_may_differ(metainfo, ignore_keys):
    concat = ConcatDataset([Toy(metainfo=META), Toy(metainfo=metainfo)], ignore_keys=ignore_keys)
    assert concat.metainfo["classes"] == ["a"]


@pytest.mark.parametrize(
    ("metainfo", "error", "match"),
    [
        ({**META, "classes": ["b"]}, ValueError, r"2-th dataset does not match .*classes is \['b'"),
        ({**META, "palette": np.zeros(3)}, ValueError, "2-th dataset does not match.*palette"),
        ({**META, "classes": ("a",)}, TypeError, "type <class 'tuple'> of classes in the 2-th"),
        ({"classes": ["a"]}, ValueError, r"palette is not in .*2-th dataset.*ignore_keys=\['pal"),
        ({**META, "new": 1}, ValueError, "new is not in the meta information of the 1-th dataset"),
    ],
    ids=["value", "array", "type", "lacking", "more"],
)
def test_metainfo_that_differs(metainfo, error, match):
    with pytest.raises(error, match=match):
        ConcatDataset([Toy(metainfo=META), Toy(metainfo=metainfo)])


@pytest.mark.parametrize(
    ("build", "error", "match"),
    [
        (
            lambda: ConcatDataset([[1, 2]]),
            TypeError,
            "config or `BaseDataset` instance, but got <c",
        ),
        (lambda: RepeatDataset(range(2), 2), TypeError, "config or `BaseDataset` instance, but go"),
        (lambda: ConcatDataset([]), ValueError, r"datasets=\[\]: give at least one data set"),
        (lambda: ConcatDataset([Toy()], ignore_keys=3), TypeError, "ignore_keys should be a list"),
    ],
    ids=["list", "range", "nothing", "ignore_keys"],
)
def test_wrong_arguments(build, error, match):
    with pytest.raises(error, match=match):
        build()
