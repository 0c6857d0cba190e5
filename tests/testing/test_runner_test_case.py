from __future__ import annotations

import os
import unittest

import pytest

from mm2pl import testing
from mm2pl.logging import MMLogger
from mm2pl.registry import MODELS

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


def case(name):
    """Return a test case with one test of this name; made here, so that pytest does not collect the class."""

    class Case(testing.RunnerTestCase):
        def test_by_epoch(self):
            runner = self.build_runner(self.epoch_based_cfg)
            runner.train()
            assert (runner.epoch, runner.iter) == (2, 8)
            assert runner.test() == {"acc": 1}
            assert "epoch_2.pth" in os.listdir(self.temp_dir.name)
            self.clear_work_dir()
            assert os.listdir(self.temp_dir.name) == []

        def test_by_iter(self):
            runner = self.build_runner(self.iter_based_cfg)
            runner.train()
            assert runner.iter == 12
            assert "iter_12.pth" in os.listdir(self.temp_dir.name)

        def test_names_and_ports(self):
            assert self.experiment_name != self.experiment_name
            self.setup_dist_env()
            port = os.environ["MASTER_PORT"]
            self.setup_dist_env()
            assert int(os.environ["MASTER_PORT"]) == int(port) + 1

    return Case(name)


@pytest.mark.parametrize("name", ["test_by_epoch", "test_by_iter", "test_names_and_ports"])
def test_a_case_runs_and_cleans_up(name, monkeypatch):
    one = case(name)
    for variable in one.dist_cfg:
        monkeypatch.setenv(variable, "0")
    result = unittest.TestResult()
    one.run(result)
    assert result.errors + result.failures == []
    assert "ToyModel" not in MODELS
    assert not MMLogger._instance_dict
    assert not os.path.exists(one.temp_dir.name)
