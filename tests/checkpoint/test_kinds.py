"""Kinds of state: what a file holds of all processes, and what one of another number of processes gets back."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from mm2pl.checkpoint import kinds

ONE, THREE = torch.tensor(1.0), torch.tensor(3.0)

# What two processes saved, and what the only process that goes on gets of it.
BY_TWO: dict[str, tuple[kinds.Kind, Any, Any]] = {
    "replicated": (kinds.REPLICATED, 7, 7),
    "per rank": (kinds.PER_RANK, ["a", "b"], None),
    "per rank, or the first's": (kinds.PER_RANK_OR_FIRST, ["a", "b"], "a"),
    "per rank, if different": (kinds.PER_RANK_IF_DIFFERENT, [{}, {"mean": ONE}], None),
    "mean": (kinds.REDUCIBLE, [{"w": ONE}, {"w": THREE}], {"w": torch.tensor(2.0)}),
    "mean of equal ones": (kinds.REDUCIBLE, [{"w": THREE}, {}], {"w": THREE}),
    "mean, one without": (kinds.REDUCIBLE, [{"w": ONE}, {"w": None}], {"w": torch.tensor(0.5)}),
    "mean, the first without": (kinds.REDUCIBLE, [{}, {"w": ONE}], {"w": torch.tensor(0.5)}),
}


@pytest.mark.parametrize(("kind", "saved", "expected"), BY_TWO.values(), ids=BY_TWO)
def test_one_process_goes_on_for_two(kind: kinds.Kind, saved: Any, expected: Any) -> None:
    assert kind.restore(saved) == expected


# What one process has, what a file holds of it, and what one process gets back.
ALONE: dict[str, tuple[kinds.Kind, Any, Any, Any]] = {
    "replicated": (kinds.REPLICATED, 7, 7, 7),
    "per rank": (kinds.PER_RANK, "a", ["a"], "a"),
    "per rank, if different": (kinds.PER_RANK_IF_DIFFERENT, {"mean": ONE}, [{}], {}),
    "reducible": (kinds.REDUCIBLE, [{"w": ONE}], [{"w": ONE}], {"w": ONE}),
}


@pytest.mark.parametrize(("kind", "value", "saved", "back"), ALONE.values(), ids=ALONE)
def test_one_process_stores_nothing_more(
    kind: kinds.Kind, value: Any, saved: Any, back: Any
) -> None:
    assert kind.gather(value) == saved
    assert kind.restore(saved) == back


def test_derived_entries_are_neither_written_nor_read() -> None:
    table: kinds.Kinds = {"kept": kinds.REPLICATED, "inner": {"made": kinds.DERIVED}}
    state = {"kept": 1, "inner": {"made": 2, "undeclared": 3}}
    expected = {"kept": 1, "inner": {"undeclared": 3}}
    assert kinds.gather(table, state) == kinds.restore(table, state) == expected
