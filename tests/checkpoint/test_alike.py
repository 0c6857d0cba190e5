from __future__ import annotations

import numpy as np
import pytest
import torch

from mm2pl.checkpoint.alike import require_alike, require_own_kind
from mm2pl.checkpoint.errors import CheckpointError


@pytest.mark.parametrize(
    ("own", "found"),
    [
        (0, 2.5),
        (0.1, np.float32(3)),
        (1, torch.ones(())),
        (True, 1),
        (False, None),
        (float("nan"), 2),
        ("greater", "less"),
        (None, [object]),
        (torch.ones(3), "what the object makes of it"),
        ({"a": 1}, {"b": "new", "a": 2}),
        ([1, 2], [3]),
        ((1, 2), [3, 4]),
    ],
)
def test_of_a_kind(own, found):
    assert require_alike(own, found, "x") is None


@pytest.mark.parametrize(
    ("own", "found", "said"),
    [
        (0, "two", r"x is 'two' \(str\) → a number"),
        (False, 7, r"x is 7 \(int\) → True or False"),
        (0, None, r"x is None \(NoneType\) → a number"),
        (0.1, torch.ones(2), r"x is tensor.* → a number"),
        ("greater", {}, r"x is \{\} \(dict\) → a text"),
        ({"a": [0, {"b": 1}]}, {"a": [0, {"b": "c"}]}, r"x\.a\.1\.b is 'c' \(str\) → a number"),
        ({"a": 1}, [1], r"x is \[1\] \(list\) → a dict"),
        ([1], {"a": 1}, r"x is .* → a list"),
    ],
)
def test_of_another_kind(own, found, said):
    with pytest.raises(CheckpointError, match=said):
        require_alike(own, found, "x")


class Counts:
    def state_dict(self):
        return {"count": 0}


class CountsOnItsOwn(Counts):
    def state_dict(self):
        return {"count": 0}


def test_only_known_forms_are_asked():
    known = [Counts.state_dict]
    with pytest.raises(CheckpointError, match=r"x\.count is \[1\] \(list\) → a number is needed"):
        require_own_kind(Counts(), known, {"count": [1]}, "x")
    for found in ({"count": [1]}, [1], 1):  # a user's hook may return anything
        assert require_own_kind(CountsOnItsOwn(), known, found, "x") is None
