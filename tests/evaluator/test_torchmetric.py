from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
import torchmetrics

from mm2pl.evaluator import BaseMetric, Evaluator, TorchMetric, as_torchmetric
from mm2pl.evaluator.torchmetric import build_metric

SCORES = torch.tensor([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.3, 0.7]])
LABELS = torch.tensor([0, 1, 1, 1])
ACCURACY = {"type": "torchmetrics.MulticlassAccuracy", "num_classes": 2, "average": "micro"}


def evaluated(metric, *batches, size=4):
    evaluator = Evaluator(metric)
    for batch in batches:
        evaluator.process(batch)
    return evaluator.evaluate(size)


class Instances:
    def __init__(self, scores):
        self.scores = scores


@pytest.mark.parametrize(
    ("options", "batches"),
    [
        ({}, [(SCORES, LABELS)]),
        ({}, [(SCORES[:3], LABELS[:3]), (SCORES[3:], LABELS[3:])]),
        ({}, [list(zip(SCORES, LABELS, strict=True))]),
        ({}, [(SCORES.numpy(), LABELS.numpy())]),
        (
            {"preds": "pred_score", "target": "gt_label"},
            [[{"pred_score": s, "gt_label": y[None]} for s, y in zip(SCORES, LABELS, strict=True)]],
        ),
        (
            {"preds": "pred.scores", "target": "gt.1"},
            [
                [
                    {"pred": Instances(s.numpy()), "gt": ["x", int(y)]}
                    for s, y in zip(SCORES, LABELS, strict=True)
                ]
            ],
        ),
    ],
    ids=["batch", "batches", "pairs", "arrays", "paths", "deep paths"],
)
def test_where_the_arguments_are(options, batches):
    assert evaluated({**ACCURACY, **options}, *batches) == {"MulticlassAccuracy": 0.75}


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        (
            torchmetrics.classification.MulticlassAccuracy(2, average="micro"),
            {"MulticlassAccuracy": 0.75},
        ),
        (
            dict(ACCURACY, average=None, prefix="val"),
            {"val/MulticlassAccuracy_0": 1.0, "val/MulticlassAccuracy_1": pytest.approx(2 / 3)},
        ),
        (
            torchmetrics.MetricCollection(
                {
                    "top": torchmetrics.classification.MulticlassAccuracy(2, average="micro"),
                    "confusion": torchmetrics.classification.MulticlassConfusionMatrix(2),
                }
            ),
            {"top": 0.75, "confusion": [[1, 0], [1, 2]]},
        ),
        (
            {"type": "torchmetrics.classification.MulticlassAUROC", "num_classes": 2},
            {"MulticlassAUROC": 1.0},
        ),
    ],
    ids=["object", "per class", "collection", "list states"],
)
def test_values(metric, expected):
    assert evaluated(metric, (SCORES, LABELS)) == expected


def test_one_argument_and_strings():
    mean = {"type": "torchmetrics.MeanMetric", "preds": "loss"}
    assert evaluated(mean, [{"loss": 1.0}, {"loss": np.float64(3)}]) == {"MeanMetric": 2.0}
    bleu = {"type": "torchmetrics.text.CharErrorRate", "preds": "said", "target": "meant"}
    assert evaluated(bleu, [{"said": "abcd", "meant": "abce"}]) == {"CharErrorRate": 0.25}


def test_the_metric_starts_anew_after_evaluate():
    evaluator = Evaluator(ACCURACY)
    for labels, expected in ((LABELS, 0.75), (1 - LABELS, 0.25)):
        evaluator.process((SCORES, labels))
        assert evaluator.evaluate(4) == {"MulticlassAccuracy": expected}


@pytest.mark.parametrize(
    ("metric", "batch", "match"),
    [
        (ACCURACY, [{"a": 1}], r"MulticlassAccuracy needs \(preds, target\), but.* keys \['a'\]"),
        (dict(ACCURACY, preds="b"), [{"a": 1}], r"'b': no 'b' in a dict with the keys \['a'\]"),
        (dict(ACCURACY, preds="a.c"), [{"a": [1]}], r"'a.c': no 'c' in a list of 1: int"),
        (dict(ACCURACY, target="b"), [], "target='b' without preds"),
    ],
    ids=["no pair", "no key", "no index", "target only"],
)
def test_wrong_predictions(metric, batch, match):
    with pytest.raises(ValueError, match=match):
        evaluated(metric, batch)


def test_wrong_arguments_name_the_metric():
    with pytest.raises(ValueError, match="Unexpected keyword arguments: `num_clases`"):
        build_metric({"type": "torchmetrics.MulticlassAccuracy", "num_clases": 2})


def test_short_names_are_never_torchmetrics():
    with pytest.raises(KeyError, match="MulticlassAccuracy"):
        build_metric({"type": "MulticlassAccuracy", "num_classes": 2})


def test_torchmetrics_is_imported_only_when_used():
    code = "import mm2pl.evaluator, sys; sys.exit('torchmetrics' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


class Mean(BaseMetric):
    default_prefix = "toy"

    def process(self, data_batch, data_samples):
        self.results.extend(data_samples)

    def compute_metrics(self, results):
        return {"mean": sum(results) / len(results), "text": "fine"}


@pytest.fixture
def adapter():
    return as_torchmetric(Mean())


def test_a_base_metric_is_a_torchmetric(adapter):
    assert isinstance(adapter, torchmetrics.Metric)
    adapter.update([1, 2])
    adapter.update([6])
    assert adapter.compute() == {"toy/mean": 3.0, "toy/text": "fine"}
    adapter.update([7])
    assert adapter.compute()["toy/mean"] == 4.0
    adapter.reset()
    adapter.update([5])
    assert adapter.compute()["toy/mean"] == 5.0


def test_forward_returns_the_batch_and_keeps_the_rest(adapter):
    adapter.update([1, 2])
    assert adapter([6])["toy/mean"] == 6.0
    assert adapter.compute()["toy/mean"] == 3.0


@pytest.mark.parametrize("key", ["mean", "toy/mean"])
def test_one_value_as_a_scalar(key):
    scalar = as_torchmetric({"type": Mean}, size=2, key=key)
    scalar.update([1, 2, 100])
    value = scalar.compute()
    assert isinstance(value, torch.Tensor)
    assert value.item() == 1.5
    assert scalar([8]).item() == 8


def test_an_unknown_key():
    scalar = as_torchmetric(Mean(), key="acc")
    scalar.update([1])
    with pytest.raises(ValueError, match=r"key='acc' is not one of \['toy/mean', 'toy/text'\]"):
        scalar.compute()


def test_torchmetric_is_a_metric_itself():
    assert isinstance(build_metric(ACCURACY), (BaseMetric, TorchMetric))
