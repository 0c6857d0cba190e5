"""Two real processes: metrics of lengths that neither the ranks nor the batches divide."""

from __future__ import annotations

import pytest

from tests.evaluator.ddp_job import CASES, run

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    return run("mm2pl", 1, tmp_path_factory.mktemp("one"))[0]


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    return run("mm2pl", 2, tmp_path_factory.mktemp("two"))


@pytest.mark.parametrize("case", [*map(str, CASES), "uneven"])
def test_the_ranks_agree(case, two):
    assert two[0][case] == two[1][case]


@pytest.mark.parametrize("case", [*map(str, CASES), "uneven"])
def test_per_sample_metrics_equal_those_of_one_process(case, one, two):
    for name in ("sample/ids", "sample/mean", "communicated/ids", "communicated/mean"):
        assert two[0][case][name] == one[case][name]


@pytest.mark.parametrize("case", [*map(str, CASES), "uneven"])
def test_torchmetrics_equal_those_of_one_process(case, one, two):
    names = [name for name in one[case] if "/" not in name]
    assert len(names) == 6
    for name in names:
        exact = name in ("MulticlassConfusionMatrix", "MulticlassAccuracy")
        expected = (
            one[case][name] if exact else pytest.approx(one[case][name], rel=1e-6, nan_ok=True)
        )
        assert two[0][case][name] == expected


def test_results_are_in_the_sampler_s_order(two):
    assert two[0]["(7, 3)"]["sample/ids"] == list(range(7))
    assert two[0]["(7, 3)"]["batch/ids"] == [[0, 2, 4], [1, 3, 5], [6], [0]]
