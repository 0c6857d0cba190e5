"""Metrics over two processes equal to MMEngine's, to the last bit."""

from __future__ import annotations

import pytest

from tests.evaluator.ddp_job import run

pytest.importorskip("mmengine.evaluator")
pytestmark = [pytest.mark.parity, pytest.mark.slow]


@pytest.mark.parametrize("world_size", [1, 2])
def test_metrics_equal(world_size, tmp_path):
    ours, theirs = (run(package, world_size, tmp_path) for package in ("mm2pl", "mmengine"))
    for mine, reference in zip(ours, theirs, strict=True):
        for case, values in reference.items():
            assert {name: mine[case][name] for name in values} == values
