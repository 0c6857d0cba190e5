from __future__ import annotations

import logging
import pickle

import pytest
import torch

from mm2pl.evaluator import BaseMetric, DumpResults
from mm2pl.evaluator.metric import to_cpu
from mm2pl.logging import MMLogger
from mm2pl.structures import BaseDataElement


class Mean(BaseMetric):
    def process(self, data_batch, data_samples):
        self.results.extend(data_samples)

    def compute_metrics(self, results):
        return {"mean": sum(results) / len(results), "n": len(results)}


class Prefixed(Mean):
    default_prefix = "toy"


class Forgetful(BaseMetric):
    def process(self, data_batch, data_samples):
        self.results.extend(data_samples)


class Element(BaseDataElement):
    def to(self, device):
        return f"on {device}"


@pytest.fixture
def log(caplog):
    """What is logged, by a logger of this test."""
    logger = MMLogger.get_instance("test_metric")
    logger.addHandler(caplog.handler)
    yield caplog
    logger.removeHandler(caplog.handler)


@pytest.mark.parametrize(
    ("metric", "size", "expected"),
    [
        (Mean(prefix=""), 4, {"mean": 2.5, "n": 4}),
        (Mean(), 3, {"mean": 2.0, "n": 3}),
        (Prefixed(), 4, {"toy/mean": 2.5, "toy/n": 4}),
        (Prefixed(prefix="mine"), 4, {"mine/mean": 2.5, "mine/n": 4}),
        (Mean(collect_device="gpu", prefix="p"), 2, {"p/mean": 1.5, "p/n": 2}),
    ],
    ids=["no prefix", "cut", "class", "argument", "gpu"],
)
def test_evaluate(metric, size, expected):
    metric.process(None, [1, 2])
    metric.process(None, [3, 4])
    assert metric.evaluate(size) == expected
    assert metric.results == []


def test_no_prefix_is_warned_about(log):
    Mean()
    assert "The prefix is not set in metric class Mean." in log.text
    log.clear()
    Prefixed()
    assert log.text == ""


def test_no_results_are_warned_about(log):
    metric = Prefixed()
    metric.compute_metrics = len
    metric._prefixed = lambda count: {"count": count}
    assert metric.evaluate(3) == {"count": 0}
    assert "Prefixed got empty `self.results`" in log.text
    assert log.records[-1].levelno == logging.WARNING


def test_dataset_meta():
    metric = Prefixed()
    assert metric.dataset_meta is None
    metric.dataset_meta = {"classes": ["a"]}
    assert metric.dataset_meta == {"classes": ["a"]}


@pytest.mark.parametrize(
    ("build", "error", "match"),
    [
        (
            lambda: Mean(collect_device="gpu", collect_dir="x"),
            ValueError,
            "collect_dir='x' could only be configured when collect_device='cpu', but that is 'gpu'",
        ),
        (Forgetful, TypeError, "compute_metrics"),
        (
            lambda: DumpResults("out.json"),
            ValueError,
            "must be a pkl file, but got out_file_path='out.json'",
        ),
    ],
    ids=["collect_dir", "no compute_metrics", "suffix"],
)
def test_wrong_arguments(build, error, match):
    with pytest.raises(error, match=match):
        build()


def test_an_unknown_collect_device():
    metric = Prefixed(collect_device="tpu")
    metric.process(None, [1])
    with pytest.raises(NotImplementedError, match="tpu"):
        metric.evaluate(1)


def test_dump_results(tmp_path):
    path = tmp_path / "out.pkl"
    metric = DumpResults(str(path))
    metric.process(None, [{"scores": torch.ones(2), "names": ("a", [torch.zeros(1)])}])
    assert metric.evaluate(1) == {}
    (sample,) = pickle.loads(path.read_bytes())
    assert sample["scores"].tolist() == [1, 1]
    assert sample["names"][0] == "a"
    assert isinstance(sample["names"], tuple)


def test_to_cpu_moves_data_elements():
    assert to_cpu([{"element": Element()}, 3]) == [{"element": "on cpu"}, 3]
