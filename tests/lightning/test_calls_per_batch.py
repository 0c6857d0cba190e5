"""What a run adds to a batch, counted in function calls: a figure that a busy machine does not change.

The limits hold for the versions in ``constraints.txt`` and Python 3.11; later ones of Python make fewer calls.
"""

from __future__ import annotations

import dataclasses

import pytest

from tests.benchmarks import drivers
from tests.benchmarks.iterations import MLP
from tests.benchmarks.measure import Stopwatch, quiet


def calls_per_batch(run, *arguments, validate: bool, most: int = 80) -> float:
    """Return the calls of one more batch: those of ``most`` without those of half, so that starting does not count."""
    counts = []
    # Twice at first: what the first run of a process imports within its loop belongs to no batch.
    for iterations in (most // 2, most // 2, most):
        task = dataclasses.replace(MLP, iterations=iterations, validate=validate)
        with quiet():
            counts.append(run(task, *arguments).calls)
    return (counts[2] - counts[1]) / (most // 2)


@pytest.mark.parametrize(("validate", "added"), [(False, 320), (True, 162)])
def test_a_batch_of_a_run_adds_few_calls_to_the_bare_loop(monkeypatch, validate, added):
    monkeypatch.setattr(Stopwatch, "counting", True)
    bare = calls_per_batch(drivers.bare, validate=validate)
    more = calls_per_batch(drivers.runner, "mm2pl", validate=validate) - bare
    # No less than half either: a count that is far too low has missed the loop.
    assert added / 2 < more < added


def test_a_batch_of_an_own_trainer_shows_its_values_in_few_calls(monkeypatch):
    """Nearly all of them are those of Lightning's loop; `self.log` in each batch would add 1,800."""
    monkeypatch.setattr(Stopwatch, "counting", True)
    # Fewer than 50 batches, after which Lightning logs for the first time.
    bare = calls_per_batch(drivers.bare, validate=False, most=40)
    assert calls_per_batch(drivers.module, validate=False, most=40) - bare < 1360
