from __future__ import annotations

import random
import warnings
from collections import namedtuple
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from mm2pl.dataset import COLLATE_FUNCTIONS, default_collate, pseudo_collate, worker_init_fn
from mm2pl.dataset.utils import set_sampler_epoch
from mm2pl.registry import FUNCTIONS
from mm2pl.structures import BaseDataElement

Point = namedtuple("Point", "x y")


ELEMENTS = [BaseDataElement(x=1), BaseDataElement(x=2)]


@pytest.mark.parametrize(
    ("batch", "expected"),
    [
        ([1, 2], [1, 2]),
        (["a", "b"], ["a", "b"]),
        ([b"a", b"b"], [b"a", b"b"]),
        ([(1, "a"), (2, "b")], [(1, 2), ("a", "b")]),
        ([[1, "a"], [2, "b"]], [(1, 2), ("a", "b")]),
        ([Point(1, 2), Point(3, 4)], Point((1, 3), (2, 4))),
        ([{"x": 1, "y": [2]}, {"x": 3, "y": [4]}], {"x": [1, 3], "y": [(2, 4)]}),
        ([range(2), range(2)], [(0, 0), (1, 1)]),
        ([{"s": ELEMENTS[0]}, {"s": ELEMENTS[1]}], {"s": ELEMENTS}),
        ([[], []], []),
    ],
    ids=str,
)
def test_pseudo_collate(batch, expected):
    assert pseudo_collate(batch) == expected


@pytest.mark.parametrize("collate", [pseudo_collate, default_collate])
def test_a_sample_that_is_none_is_named(collate):
    with pytest.raises(
        TypeError, match=r"^sample 1 of a batch of 3 is None → the data set, or the"
    ):
        collate([{"x": 1}, None, {"x": 2}])


def test_default_collate_stacks():
    batch = [
        {"img": torch.full((2,), n), "label": n, "box": (np.float32(n), [n]), "sample": element}
        for n, element in enumerate(ELEMENTS)
    ]
    collated = default_collate(batch)
    assert collated["img"].tolist() == [[0, 0], [1, 1]]
    assert collated["label"].tolist() == [0, 1]
    assert collated["box"][0].dtype == torch.float32
    assert collated["box"][1][0].tolist() == [0, 1]
    assert collated["sample"] == ELEMENTS


def test_default_collate_keeps_a_string_a_list():
    assert default_collate([{"name": "a"}, {"name": "b"}]) == {"name": ["a", "b"]}


@pytest.mark.parametrize("collate", [pseudo_collate, default_collate])
def test_unequal_lengths(collate):
    with pytest.raises(RuntimeError, match=r"equal size, but got lengths \[2, 1\]: pad them"):
        collate([[1, 2], [3]])


def test_registered():
    assert FUNCTIONS.get("pseudo_collate") is pseudo_collate
    assert COLLATE_FUNCTIONS.get("default_collate") is default_collate


def _drawn() -> list:
    return [random.random(), np.random.rand(), torch.rand(1).item()]


def test_worker_seeds():
    worker_init_fn(1, num_workers=4, rank=2, seed=7)
    first = _drawn()
    worker_init_fn(2, num_workers=4, rank=2, seed=6)
    assert _drawn() == first  # 4 * 2 + worker + seed
    worker_init_fn(2, num_workers=4, rank=2, seed=7)
    assert all(a != b for a, b in zip(_drawn(), first, strict=True))


@pytest.mark.parametrize(("worker_id", "warns"), [(0, True), (1, False)])
def test_only_worker_0_warns(worker_id, warns):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        worker_init_fn(worker_id, 2, 0, 0, disable_subprocess_warning=True)
        warnings.warn("again and again", stacklevel=1)
    assert bool(caught) is warns


class Sampler:
    epoch = 0

    def set_epoch(self, epoch):
        self.epoch = epoch


@pytest.mark.parametrize(
    ("outer", "inner", "epochs"),
    [
        (Sampler(), Sampler(), [3, 0]),
        (object(), Sampler(), [None, 3]),
        (None, Sampler(), [None, 3]),
        (object(), object(), [None, None]),
        (object(), None, [None, None]),
    ],
    ids=["sampler", "batch sampler", "only batch sampler", "neither", "no samplers"],
)
def test_set_sampler_epoch(outer, inner, epochs):
    loader = SimpleNamespace(sampler=outer, batch_sampler=SimpleNamespace(sampler=inner))
    set_sampler_epoch(loader, 3)
    assert [getattr(sampler, "epoch", None) for sampler in (outer, inner)] == epochs
    set_sampler_epoch([], 3)


@pytest.mark.parity
def test_mmengines_data_elements_are_kept_a_list():
    theirs = pytest.importorskip("mmengine.structures")
    samples = [theirs.InstanceData(x=torch.ones(1)), theirs.PixelData()]
    assert default_collate([{"s": sample} for sample in samples]) == {"s": samples}
