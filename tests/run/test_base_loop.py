from __future__ import annotations

import pytest

from mm2pl.run.base_loop import as_own


class Foreign:
    """A train loop of another package."""

    max_epochs, max_iters = 3, 12


@pytest.mark.parametrize(("name", "derived"), [("by_epoch", True), ("epoch_length", 4)])
def test_what_a_foreign_loop_sets_itself_is_taken(name: str, derived: object) -> None:
    loop = as_own(Foreign).__new__(as_own(Foreign))
    assert getattr(loop, name) == derived
    setattr(loop, name, "its own")
    assert getattr(loop, name) == "its own"


def test_a_foreign_loop_keeps_its_name() -> None:
    made = as_own(Foreign)
    assert (made.__module__, made.__qualname__, made.__doc__) == (
        Foreign.__module__,
        Foreign.__qualname__,
        Foreign.__doc__,
    )
