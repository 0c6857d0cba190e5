"""Data elements compared with MMEngine's, through the same random sequences of operations."""

from __future__ import annotations

import random
import re
import warnings

import numpy as np
import pytest
import torch

import mm2pl.structures as ours

pytestmark = pytest.mark.parity
theirs = pytest.importorskip("mmengine.structures")

NAMES = ["boxes", "labels", "scores", "img_shape", "inner", "path"]


def plain(value):
    """Return something that compares by content, for both worlds alike."""
    if isinstance(value, torch.Tensor):
        return ("tensor", str(value.dtype), value.requires_grad, value.tolist())
    if isinstance(value, np.ndarray):
        return ("array", str(value.dtype), value.tolist())
    if hasattr(value, "metainfo_keys"):
        meta, data = (
            sorted(i, key=lambda kv: kv[0]) for i in (value.metainfo_items(), value.items())
        )
        both = [{k: plain(v) for k, v in items} for items in (meta, data)]
        return (type(value).__name__, *both)
    return value


def lines_of(element):
    """Return the lines of the repr; MMEngine's fields are in the order of a set."""
    return sorted(re.sub(r"0x[0-9a-f]+", "0x0", repr(element)).splitlines())


def attempt(act, element):
    """Return what an operation gives; an exception is a result too."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return act(element), None
    except Exception as error:
        return None, error


def assert_same(act, mine, other):
    """Apply ``act`` to both; return what it gave."""
    (a, error), (b, expected) = attempt(act, mine), attempt(act, other)
    assert (error is None) == (expected is None), (error, expected)
    if expected is not None:
        # Several fields may fail in several ways; which one comes first depends on MMEngine's set.
        either = (IndexError, ValueError)
        accepted = either if isinstance(expected, either) else type(expected)
        assert isinstance(error, accepted), (error, expected)
    assert plain(a) == plain(b)
    assert plain(mine) == plain(other)
    assert lines_of(mine) == lines_of(other)
    return a, b


def random_value(rng, size):
    kind = rng.randrange(6)
    if kind == 0:
        return torch.arange(size * 2.0, requires_grad=rng.random() < 0.5).reshape(size, 2) * 2
    if kind == 1:
        return np.arange(size)
    if kind == 2:
        return [f"n{i}" for i in range(size)]
    if kind == 3:
        return tuple(range(size))
    if kind == 4:
        return "abcdefgh"[:size]
    return torch.arange(size) > 1


def element_operation(rng):
    """Return one random operation on a BaseDataElement."""
    name, value = rng.choice(NAMES), random_value(rng, rng.randint(0, 4))
    return rng.choice(
        [
            lambda e: setattr(e, name, value),
            lambda e: e.set_metainfo({name: value if not hasattr(value, "grad_fn") else 1}),
            lambda e: e.set_data({name: value, "more": 1}),
            lambda e: e.set_field(value, name, dtype=list),
            lambda e: setattr(e, "inner", e.new(x=torch.ones(1, requires_grad=True))),
            lambda e: delattr(e, name),
            lambda e: e.pop(name),
            lambda e: e.pop(name, None),
            lambda e: e.get(name),
            lambda e: name in e,
            lambda e: e.update(e.new(metainfo={"k": 1})),
            lambda e: sorted(e.keys()) + sorted(e.metainfo_keys()) + sorted(e.all_keys()),
            lambda e: sorted(str(plain(v)) for v in e.all_values()),
            lambda e: e.new(),
            lambda e: e.new(metainfo={"a": 1}, x=value),
            lambda e: e.clone(),
            lambda e: e.cpu(),
            lambda e: e.detach(),
            lambda e: e.numpy(),
            lambda e: e.to_tensor(),
            lambda e: e.numpy().to_tensor(),
            lambda e: e.to(torch.float16),
            lambda e: {k: plain(v) for k, v in e.to_dict().items()},
            lambda e: e.nothing,
        ]
    )


@pytest.mark.parametrize("seed", range(40))
def test_elements_go_through_the_same_changes(seed):
    rng = random.Random(seed)
    pair = (ours.BaseDataElement(), theirs.BaseDataElement())
    for _ in range(40):
        made = assert_same(element_operation(rng), *pair)
        if hasattr(made[0], "metainfo_keys") and rng.random() < 0.5:
            pair = made


def random_index(rng, size):
    number = rng.randint(-size - 1, size)
    numbers = [rng.randrange(-size, size) for _ in range(rng.randint(1, 4))] if size else [0]
    mask = [rng.random() < 0.5 for _ in range(size + (rng.random() < 0.1))]
    return rng.choice(
        [
            number,
            slice(rng.randint(-5, 5), rng.randint(-5, 5), rng.choice([None, 1, 2])),
            numbers,
            torch.tensor(numbers),
            np.array(numbers),
            np.array(numbers, dtype=np.int32),
            mask or [True],
            torch.tensor(mask, dtype=torch.bool),
            np.array(mask, dtype=bool),
            torch.tensor([numbers]),
            torch.tensor([0.5]),
            1.5,
            "labels",
        ]
    )


@pytest.mark.parametrize("seed", range(60))
def test_instances_are_indexed_and_joined_alike(seed):
    rng = random.Random(seed)
    pair = (ours.InstanceData(metainfo={"id": 1}), theirs.InstanceData(metainfo={"id": 1}))
    size = rng.randint(0, 5)
    for _ in range(30):
        name, value = (
            rng.choice(NAMES[:3]),
            random_value(rng, size + (size > 0 and rng.random() < 0.05)),
        )
        index = random_index(rng, size)
        act = rng.choice(
            [
                lambda e, n=name, v=value: setattr(e, n, v),
                lambda e, n=name, v=value: e.__setitem__(n, v),
                lambda e, i=index: e[i],
                lambda e, i=index: type(e).cat([e, e[i]]),
                lambda e: type(e).cat([e, e, e]),
                lambda e: type(e).cat([e, type(e)(x=[1])]),
                lambda e: len(e),
                lambda e, n=name: e.pop(n, None),
            ]
        )
        assert_same(act, *pair)


@pytest.mark.parametrize("seed", range(40))
def test_maps_are_cut_alike(seed):
    rng = random.Random(seed)
    first = torch.zeros(1, 4, 6)
    pair = (ours.PixelData(first=first), theirs.PixelData(first=first))
    for _ in range(20):
        name = rng.choice(NAMES[:3])
        shape = rng.choice([(4, 6), (1, 4, 6), (3, 4, 6), (4, 5), (1, 1, 4, 6)])
        value = rng.choice([torch.arange(120.0), np.arange(120)])[: int(np.prod(shape))]
        value = value.reshape(shape) if rng.random() < 0.9 else [1]
        part = [
            rng.choice([rng.randint(-5, 5), slice(rng.randint(-3, 3), None), "x"]) for _ in range(2)
        ]
        act = rng.choice(
            [
                lambda e, v=value, n=name: setattr(e, n, v),
                lambda e, p=tuple(part): e[p],
                lambda e, p=part[0]: e[p],
                lambda e: e.shape,
                lambda e: e[1:3, -1],
            ]
        )
        assert_same(act, *pair)


@pytest.mark.parametrize(
    "onehot", [[0, 1], [1, 1], [0, 0], [2, 0], [[1]], [-1], [0.5, 0.0]], ids=repr
)
def test_labels_are_converted_alike(onehot):
    assert_same(
        lambda e: e.onehot_to_label(torch.tensor(onehot)), ours.LabelData(), theirs.LabelData()
    )


@pytest.mark.parametrize("label", [[0], [1, 2], [], [3]], ids=repr)
def test_one_hot_vectors_are_alike(label):
    vector = torch.tensor(label, dtype=torch.long)
    assert_same(
        lambda e: e.label_to_onehot(vector, num_classes=3), ours.LabelData(), theirs.LabelData()
    )
