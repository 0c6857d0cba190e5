"""Accuracy over the digits."""

from __future__ import annotations

from typing import Any

from mm2pl.evaluator import BaseMetric
from mm2pl.registry import METRICS


@METRICS.register_module()
class DigitsAccuracy(BaseMetric):
    """Share of correct predictions, in percent, as ``accuracy``."""

    def process(self, data_batch: dict, data_samples: list[dict]) -> None:
        """Keep one result per sample."""
        self.results.extend(sample["pred"] == sample["label"] for sample in data_samples)

    def compute_metrics(self, results: list[bool]) -> dict[str, Any]:
        """Average over all samples of all processes."""
        return {"accuracy": 100 * sum(results) / len(results)}
