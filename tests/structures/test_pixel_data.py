"""Maps over the pixels of one image."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mm2pl.structures import PixelData


@pytest.fixture
def maps():
    return PixelData(
        metainfo={"id": 1},
        heat=torch.arange(24.0).reshape(1, 4, 6),
        mask=np.arange(48).reshape(2, 4, 6),
    )


@pytest.mark.parametrize(
    ("index", "shape", "first"),
    [
        ((slice(1, 3), slice(2, 6)), (2, 4), 8.0),
        ((2, 5), (1, 1), 17.0),
        ((-1, slice(None)), (1, 6), 18.0),
        ((slice(None), -2), (4, 1), 4.0),
    ],
    ids=repr,
)
def test_windows(maps, index, shape, first):
    window = maps[index]
    assert window.shape == shape
    assert window.heat.flatten()[0] == first
    assert window.mask.shape == (2, *shape)
    assert window.id == 1


@pytest.mark.parametrize(
    ("index", "error", "message"),
    [
        (slice(1), TypeError, "Unsupported type <class 'slice'> for slicing PixelData"),
        ((1, 2, 3), AssertionError, "Only support to slice height and width"),
        ((1, [2]), TypeError, "must be int or slice, but got <class 'list'>"),
    ],
    ids=["slice", "three", "list"],
)
def test_a_wrong_window_is_told(maps, index, error, message):
    with pytest.raises(error, match=message):
        maps[index]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([1], "Can not set <class 'list'>"),
        (torch.zeros(1, 4, 5), r"height and width of new, \(4, 5\), .* \(4, 6\)"),
        (torch.zeros(1, 1, 4, 6), "dim of value must be 2 or 3, but got 4"),
    ],
    ids=["list", "size", "4-dim"],
)
def test_a_wrong_value_is_told(maps, value, message):
    with pytest.raises(AssertionError, match=message):
        maps.new = value


def test_a_map_gets_a_channel(maps):
    with pytest.warns(UserWarning, match="shape of value will convert from"):
        maps.depth = torch.zeros(4, 6)
    assert maps.depth.shape == (1, 4, 6)


def test_nothing_has_no_shape():
    assert PixelData().shape is None
