"""Data of one length, indexed and concatenated together."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mm2pl.structures import InstanceData


class Polygons:
    """A type of a toolbox: sized, indexed by slices, concatenated."""

    def __init__(self, points):
        self.points = points

    def __len__(self):
        return len(self.points)

    def __getitem__(self, item):
        return Polygons(self.points[item])

    @staticmethod
    def cat(parts):
        return Polygons([point for part in parts for point in part.points])


@pytest.fixture
def found():
    return InstanceData(
        metainfo={"id": 7},
        scores=torch.tensor([0.1, 0.2, 0.3]),
        boxes=np.arange(6).reshape(3, 2),
        names=["a", "b", "c"],
        pair=(1, 2, 3),
        text="xyz",
        shapes=Polygons([[1], [2], [3]]),
    )


def plain(data):
    return [
        data.scores.tolist(),
        data.boxes[:, 0].tolist(),
        data.names,
        data.pair,
        data.text,
        data.shapes.points,
    ]


FIRST = [[0.1], [0], ["a"], (1,), "x", [[1]]]
LAST_AND_FIRST = [[0.3, 0.1], [4, 0], ["c", "a"], (3, 1), "zx", [[3], [1]]]
NONE = [[], [], [], (), "", []]


@pytest.mark.parametrize(
    ("index", "expected"),
    [
        (0, FIRST),
        (-3, FIRST),
        (slice(0, 1), FIRST),
        ([0], FIRST),
        ([2, 0], LAST_AND_FIRST),
        ([True, False, False], FIRST),
        (np.array([2, 0], dtype=np.int32), LAST_AND_FIRST),
        (np.array([True, False, False]), FIRST),
        (torch.tensor([2, 0]), LAST_AND_FIRST),
        (torch.tensor([-1, 0]), LAST_AND_FIRST),
        (torch.tensor([True, False, False]), FIRST),
        (torch.zeros(3, dtype=torch.bool), NONE),
        (torch.zeros(0, dtype=torch.long), NONE),
        ([], NONE),
        (slice(3, None), NONE),
    ],
    ids=repr,
)
def test_every_value_is_indexed_alike(found, index, expected):
    chosen = found[index]
    expected = [torch.tensor(expected[0]).tolist(), *expected[1:]]
    assert plain(chosen) == expected
    assert chosen.id == 7
    assert len(chosen) == len(expected[0])


def test_a_string_names_a_field(found):
    assert found["names"] == ["a", "b", "c"]
    found["more"] = [1, 2, 3]
    assert found.more == [1, 2, 3]


@pytest.mark.parametrize(
    ("index", "error", "message"),
    [
        (3, IndexError, "Index 3 out of range!"),
        (-4, IndexError, "Index -4 out of range!"),
        (1.5, AssertionError, "1.5: InstanceData is indexed by"),
        (torch.tensor([1.0]), AssertionError, "by a long or bool vector, but got torch.float32"),
        (torch.tensor([[0]]), AssertionError, r"shape \(1, 1\)"),
        (torch.tensor([True]), AssertionError, "BoolTensor. 1 does not match .* 3 at first"),
    ],
    ids=repr,
)
def test_a_wrong_index_is_told(found, index, error, message):
    with pytest.raises(error, match=message):
        found[index]


def test_lengths_must_agree(found):
    with pytest.raises(AssertionError, match=r"length of values 2 is not consistent .* 3"):
        found.more = [1, 2]
    with pytest.raises(AssertionError, match="must contain `__len__` attribute, but more is 3"):
        found.more = 3
    assert "more" not in found


def test_an_empty_one_takes_any_length():
    data = InstanceData(boxes=torch.zeros(0, 4))
    data.labels = torch.zeros(5)
    assert len(data) == 0


def test_indexing_what_cannot_be_concatenated():
    data = InstanceData(a=range(2))
    with pytest.raises(ValueError, match=r"type of `a` is .* does not support slice"):
        data[torch.tensor([0])]
    with pytest.raises(ValueError, match=r"type of `a` is .* no attribute of `cat`"):
        InstanceData.cat([data, data])


def test_cat_joins_every_value(found):
    both = InstanceData.cat([found[[2]], found[[0]]])
    assert plain(both) == plain(found[[2, 0]])
    assert both.id == 7
    assert InstanceData.cat([found]) is found


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ([], r"non-empty list of InstanceData is needed, but got \[\]"),
        ([InstanceData(), 3], "non-empty list of InstanceData"),
        ([InstanceData(a=[1]), InstanceData(b=[1])], r"different keys .* \[\['a'\], \['b'\]\]"),
    ],
    ids=["none", "another type", "other keys"],
)
def test_cat_tells_what_does_not_fit(parts, message):
    with pytest.raises(AssertionError, match=message):
        InstanceData.cat(parts)


def test_cat_leaves_its_parts_alone(found):
    InstanceData.cat([found, found])
    assert found.names == ["a", "b", "c"]
