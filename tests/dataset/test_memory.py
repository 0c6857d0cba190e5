"""Worker processes share the annotations: a short form of tests/benchmarks/memory_dataset.py."""

from __future__ import annotations

import sys

import pytest

from tests.benchmarks.memory_dataset import ratio


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_does_not_grow_with_the_workers():
    # Other processes that map torch's libraries come and go meanwhile, which is some megabytes here.
    assert ratio(entries=200_000, workers=4)["ratio"] < 1.5
