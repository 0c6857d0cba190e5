"""Evaluators equal to MMEngine's; its metrics in our evaluator."""

from __future__ import annotations

import pickle

import pytest
import torch

from mm2pl import evaluator as ours

pytestmark = pytest.mark.parity
theirs = pytest.importorskip("mmengine.evaluator")
elements = pytest.importorskip("mmengine.structures")
PACKAGES = [ours, theirs]
SCORES = torch.rand(10, generator=torch.Generator().manual_seed(0))


def metric_class(package):
    class Mean(package.BaseMetric):
        default_prefix = "toy"

        def process(self, data_batch, data_samples):
            self.seen = (data_batch, data_samples)
            self.results += [sample["score"] for sample in data_samples]

        def compute_metrics(self, results):
            return {"mean": torch.stack(results).mean().item(), "n": len(results)}

    return Mean


def samples() -> list:
    return [elements.BaseDataElement(score=score, metainfo={"id": 1}) for score in SCORES]


@pytest.mark.parametrize("chunk_size", [1, 3, 20])
@pytest.mark.parametrize("data", [None, [{"x": n} for n in range(10)]], ids=["none", "data"])
def test_offline_evaluate(data, chunk_size):
    values, seen = [], []
    for package in PACKAGES:
        metric = metric_class(package)()
        evaluator = package.Evaluator([metric, metric_class(package)(prefix="other")])
        values.append(evaluator.offline_evaluate(samples(), data, chunk_size))
        seen.append(metric.seen)
    assert values[0] == values[1]
    assert seen[0] == seen[1]


def test_their_metric_in_our_evaluator_and_as_a_torchmetric():
    metric = metric_class(theirs)
    evaluator = ours.Evaluator([metric(), {"type": metric, "prefix": "b"}])
    evaluator.dataset_meta = {"classes": ["a"]}
    assert evaluator.metrics[0].dataset_meta == {"classes": ["a"]}
    evaluator.process(samples())
    values = evaluator.evaluate(4)
    assert values["toy/mean"] == values["b/mean"] == SCORES[:4].mean().item()
    adapter = ours.as_torchmetric(metric(), key="n")
    adapter.update(samples())
    assert adapter.compute() == 10


def test_dumped_files(tmp_path):
    dumped = []
    for package in PACKAGES:
        path = tmp_path / f"{package.__name__}.pkl"
        evaluator = package.Evaluator(package.DumpResults(str(path)))
        evaluator.process(samples())
        assert evaluator.evaluate(7) == {}
        dumped.append(pickle.loads(path.read_bytes()))
    assert str(dumped[0]) == str(dumped[1])
    assert len(dumped[0]) == 7


@pytest.mark.parametrize("indicator", ["a/x", "x", "y", "z", "a/z", "n"])
def test_get_metric_value(indicator):
    metrics = {"a/x": 1, "b/x": 2, "b/y": 3, "n": 4}

    def outcome(package):
        try:
            return package.get_metric_value(indicator, metrics)
        except ValueError:
            return ValueError

    assert outcome(ours) == outcome(theirs)
