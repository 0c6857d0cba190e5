"""What a run adds to a batch, counted in function calls: a figure that a busy machine does not change.

The limits hold for the versions in ``constraints.txt`` and Python 3.11; later ones of Python make fewer calls.
"""

from __future__ import annotations

import dataclasses

import pytest

from tests.benchmarks import drivers
from tests.benchmarks.iterations import MLP
from tests.benchmarks.measure import Stopwatch, quiet


def calls_per_batch(run, *arguments, validate: bool) -> float:
    """Return the calls of one more batch: those of 80 without those of 40, so that starting does not count."""
    counts = []
    # Twice at first: what the first run of a process imports within its loop belongs to no batch.
    for iterations in (40, 40, 80):
        task = dataclasses.replace(MLP, iterations=iterations, validate=validate)
        with quiet():
            counts.append(run(task, *arguments).calls)
    return (counts[2] - counts[1]) / 40


@pytest.mark.parametrize(("validate", "added"), [(False, 320), (True, 162)])
def test_a_batch_of_a_run_adds_few_calls_to_the_bare_loop(monkeypatch, validate, added):
    monkeypatch.setattr(Stopwatch, "counting", True)
    bare = calls_per_batch(drivers.bare, validate=validate)
    more = calls_per_batch(drivers.runner, "mm2pl", validate=validate) - bare
    # No less than half either: a count that is far too low has missed the loop.
    assert added / 2 < more < added
