from __future__ import annotations

import pytest

from mm2pl.evaluator import BaseMetric, Evaluator
from mm2pl.registry import EVALUATOR, METRICS
from mm2pl.structures import BaseDataElement


@METRICS.register_module(name="RecorderOfTests", force=True)
class Recorder(BaseMetric):
    """Keep everything, and count it."""

    def __init__(self, name="count", **kwargs):
        super().__init__(**kwargs)
        self.name = name
        self.calls = []

    def process(self, data_batch, data_samples):
        self.calls.append((data_batch, data_samples))
        self.results.extend(data_samples)

    def compute_metrics(self, results):
        return {self.name: len(results)}


class Duck:
    """A metric without the base class."""

    def process(self, data_batch, data_samples):
        self.seen = data_samples

    def evaluate(self, size):
        return {"size": size}


def test_several_metrics_from_dicts_and_objects():
    duck = Duck()
    evaluator = Evaluator(
        [{"type": Recorder, "prefix": "a"}, {"type": "RecorderOfTests", "prefix": "b"}, duck]
    )
    evaluator.process([BaseDataElement(pred=1), 2], data_batch="batch")
    assert duck.seen == [{"pred": 1}, 2]
    assert evaluator.metrics[0].calls == [("batch", [{"pred": 1}, 2])]
    assert evaluator.evaluate(2) == {"a/count": 2, "b/count": 2, "size": 2}


@pytest.mark.parametrize("metrics", [{"type": Recorder}, Recorder(), (Recorder(),)], ids=str)
def test_one_metric(metrics):
    evaluator = Evaluator(metrics)
    evaluator.process([1, 2, 3])
    assert evaluator.evaluate(3) == {"count": 3}


def test_dataset_meta_reaches_all():
    evaluator = Evaluator([Recorder(), Duck()])
    assert evaluator.dataset_meta is None
    evaluator.dataset_meta = {"classes": ("a",)}
    assert [m.dataset_meta for m in (evaluator, *evaluator.metrics)] == [{"classes": ("a",)}] * 3


def test_registered():
    assert isinstance(EVALUATOR.build({"type": "Evaluator", "metrics": Recorder()}), Evaluator)


def test_the_same_name_twice():
    evaluator = Evaluator([Recorder(), Recorder()])
    evaluator.process([1])
    with pytest.raises(ValueError, match="same metric name 'count', the second from Recorder"):
        evaluator.evaluate(1)


@pytest.mark.parametrize(
    ("data", "chunk_size", "calls"),
    [
        (None, 1, [(None, [0]), (None, [1]), (None, [2])]),
        (["a", "b", "c"], 2, [(["a", "b"], [0, 1]), (["c"], [2])]),
        ([{"x": 1}, {"x": 2}, {"x": 3}], 5, [({"x": [1, 2, 3]}, [0, 1, 2])]),
    ],
    ids=["predictions only", "chunks", "collated"],
)
def test_offline_evaluate(data, chunk_size, calls):
    recorder = Recorder()
    evaluator = Evaluator(recorder)
    assert evaluator.offline_evaluate([0, 1, 2], data, chunk_size) == {"count": 3}
    assert recorder.calls == calls


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (
            lambda e: e.offline_evaluate([1, 2, 3], [1]),
            AssertionError,
            "the same length, but got data_samples length: 3 data length: 1. Give the prediction",
        ),
        (lambda e: e.offline_evaluate([1], chunk_size=0), ValueError, "chunk_size=0: give a num"),
        (lambda e: Evaluator(Recorder), TypeError, "Recorder.*give a config such as dict"),
        (lambda e: Evaluator("Accuracy"), TypeError, "metric='A': give a config"),
        (lambda e: Evaluator({"prefix": "a"}), KeyError, 'must contain the key "type"'),
        (lambda e: Evaluator({"type": "Recoder"}), KeyError, "Recoder"),
        (lambda e: Evaluator({"type": BaseMetric}), TypeError, "(?s)abstract.*process"),
    ],
    ids=["lengths", "chunk", "class", "string", "no type", "unknown", "abstract"],
)
def test_wrong_use(call, error, match):
    with pytest.raises(error, match=match):
        call(Evaluator(Recorder()))


@pytest.mark.parametrize("prefix", [None, "mine"])
def test_a_metric_that_returns_nothing(prefix):
    class Forgetful(Recorder):
        def compute_metrics(self, results):
            self.name = "forgotten"

    evaluator = Evaluator(Forgetful(prefix=prefix))
    evaluator.process([1, 2])
    with pytest.raises(TypeError, match=r"Forgetful\.compute_metrics returned None"):
        evaluator.evaluate(2)
