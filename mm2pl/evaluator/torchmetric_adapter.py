"""A BaseMetric in Lightning code; importing this module imports torchmetrics."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torchmetrics import Metric

from mm2pl.errors import ArgumentError
from mm2pl.evaluator.metric import to_cpu
from mm2pl.structures import is_data_element


class TorchMetricAdapter(Metric):
    """Make a `BaseMetric` a `torchmetrics.Metric`; see `mm2pl.evaluator.as_torchmetric`.

    ``update(data_samples, data_batch=None)`` is the metric's ``process``; ``compute()`` gathers the
    results of all ranks in the sampler's order, as ``BaseMetric.evaluate`` does, but keeps them.

    Args:
        metric: The metric, with ``results``, ``process``, ``compute_metrics`` and ``evaluate``.
        size: Length of the data set, or None.
        key: The one value to return, or None for the dict of all.
    """

    full_state_update = False

    def __init__(self, metric: Any, size: int | None = None, key: str | None = None) -> None:
        super().__init__()
        # A plain attribute: torchmetrics neither synchronises nor resets it.
        self.metric = metric
        # The results are cut by a slice `[:size]`.
        self.size = sys.maxsize if size is None else size
        self.key = key

    def update(self, data_samples: Iterable[Any], data_batch: Any = None) -> None:
        """Let the metric process one batch of predictions."""
        samples = [s.to_dict() if is_data_element(s) else s for s in data_samples]
        self.metric.process(data_batch, samples)

    def compute(self) -> Any:
        """Return the values over all ranks."""
        # `evaluate` forgets the results, but torchmetrics allows `compute` again and `update` after it.
        results = list(self.metric.results)
        try:
            return self._selected(self.metric.evaluate(self.size))
        finally:
            self.metric.results[:] = results

    # torchmetrics' own `forward` merges states that were added by `add_state`; there are none.
    def forward(self, data_samples: Iterable[Any], data_batch: Any = None) -> Any:
        """Update with a batch and return the values of this batch, on this rank."""
        before = list(self.metric.results)
        self.metric.results.clear()
        self.update(data_samples, data_batch)
        metrics = self.metric.compute_metrics(to_cpu(self.metric.results))
        self.metric.results[:0] = before
        prefix = getattr(self.metric, "prefix", None)
        return self._selected({f"{prefix}/{k}" if prefix else k: v for k, v in metrics.items()})

    def reset(self) -> None:
        """Forget all results."""
        super().reset()
        self.metric.results.clear()

    def _selected(self, metrics: dict) -> Any:
        values = {name: self._scalar(value) for name, value in metrics.items()}
        if self.key is None:
            return values
        matches = [name for name in values if self.key in (name, name.rpartition("/")[2])]
        if len(matches) != 1:
            raise ArgumentError(
                f"key={self.key!r} is not one of {list(values)}: give one of these names."
            )
        return values[matches[0]]

    def _scalar(self, value: object) -> Any:
        if isinstance(value, (bool, int, float, np.number)):
            # On the metric's device, as the values of torchmetrics' own metrics are.
            return torch.tensor(float(value), device=self.device)
        return value
