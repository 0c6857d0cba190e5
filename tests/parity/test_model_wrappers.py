"""Training in two processes compared with MMEngine's wrappers, bit for bit."""

from __future__ import annotations

import pytest
import torch

from tests.model.two_processes import SCENARIOS, run

pytestmark = [pytest.mark.parity, pytest.mark.slow]
pytest.importorskip("mmengine")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ddp")
    return [run(package, folder) for package in ("mm2pl", "mmengine")]


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_two_processes_train_alike(trained, scenario):
    ours, theirs = (both[scenario] for both in trained)
    for mine, other in zip(ours, theirs, strict=True):
        assert mine["logs"] == other["logs"]
        assert torch.equal(mine["prediction"], other["prediction"])
        assert list(mine["weights"]) == list(other["weights"])
        assert all(torch.equal(mine["weights"][name], w) for name, w in other["weights"].items())
