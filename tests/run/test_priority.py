from __future__ import annotations

import pytest

from mm2pl.runner.priority import Priority, get_priority


@pytest.mark.parametrize(
    ("given", "value"),
    [("highest", 0), ("VERY_HIGH", 10), (Priority.BELOW_NORMAL, 60), (0, 0), (100, 100)],
)
def test_get_priority(given, value):
    assert get_priority(given) == value


@pytest.mark.parametrize(
    ("given", "error", "text"),
    [
        (101, ValueError, "between 0 and 100, but got 101"),
        (-1, ValueError, "between 0 and 100"),
        ("urgent", KeyError, "'urgent' is not a level: use HIGHEST"),
        (1.5, TypeError, "an integer or Priority"),
    ],
)
def test_wrong_priority(given, error, text):
    with pytest.raises(error, match=text):
        get_priority(given)
