"""Metrics, and the evaluator that composes them."""

from mm2pl.evaluator.evaluator import Evaluator as Evaluator
from mm2pl.evaluator.metric import BaseMetric as BaseMetric
from mm2pl.evaluator.metric import DumpResults as DumpResults
from mm2pl.evaluator.torchmetric import TorchMetric as TorchMetric
from mm2pl.evaluator.torchmetric import as_torchmetric as as_torchmetric
from mm2pl.evaluator.utils import get_metric_value as get_metric_value
