"""Several metrics, fed and evaluated together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from mm2pl.dataset.utils import pseudo_collate
from mm2pl.errors import ArgumentError
from mm2pl.evaluator.torchmetric import build_metric
from mm2pl.registry import EVALUATOR
from mm2pl.structures import is_data_element


@EVALUATOR.register_module()
class Evaluator:
    """Compose metrics; stands for `mmengine.evaluator.Evaluator`.

    Args:
        metrics: Metrics or their configs, one or a sequence. Any object with ``process`` and
            ``evaluate`` is a metric; so is any class of torchmetrics, by its dotted name, see
            `TorchMetric`.

    Example:
        >>> Evaluator([]).evaluate(size=0)
        {}
    """

    def __init__(self, metrics: Any) -> None:
        self._dataset_meta: dict | None = None
        if not isinstance(metrics, Sequence):
            metrics = [metrics]
        self.metrics: list[Any] = [build_metric(metric) for metric in metrics]

    @property
    def dataset_meta(self) -> dict | None:
        """The data set's ``metainfo``; setting it sets it in all metrics."""
        return self._dataset_meta

    @dataset_meta.setter
    def dataset_meta(self, dataset_meta: dict | None) -> None:
        # Metrics take it only here: they are built from the config, before there is a data set.
        self._dataset_meta = dataset_meta
        for metric in self.metrics:
            metric.dataset_meta = dataset_meta

    def process(self, data_samples: Iterable[Any], data_batch: Any = None) -> None:
        """Give one batch to all metrics, positionally, as ``process(data_batch, data_samples)``.

        Args:
            data_samples: The model's predictions; data elements among them become dicts.
            data_batch: What the loader yielded.
        """
        # Once for all metrics, as in MMEngine: they share the dicts, and none may change one.
        samples = [s.to_dict() if is_data_element(s) else s for s in data_samples]
        for metric in self.metrics:
            # By position: toolboxes name the second parameter as they like, and so does MMEngine's own DumpResults.
            metric.process(data_batch, samples)

    def evaluate(self, size: int) -> dict:
        """Return the values of all metrics by name.

        Args:
            size: Length of the data set; what a sampler added to it is cut off.

        Raises:
            TypeError: A metric does not return a dict.
            ValueError: Two metrics have a value of the same name.
        """
        metrics: dict[str, Any] = {}
        for metric in self.metrics:
            results = metric.evaluate(size)
            # MMEngine 0.10.7 fails here with an AttributeError of NoneType, and names no metric.
            if not isinstance(results, Mapping):
                raise ArgumentError(
                    f"{type(metric).__name__}.compute_metrics returned {results!r:.80}: "
                    "return a dict of the values by name, {} if there are none."
                )
            # Before `update`, which would let the second metric win silently.
            for name in results:
                if name in metrics:
                    raise ArgumentError(
                        "There are multiple evaluation results with the same metric name "
                        f"{name!r}, the second from {type(metric).__name__}. Please make sure all "
                        "metrics have different prefixes: add prefix='…' to one of them."
                    )
            metrics.update(results)
        return metrics

    def offline_evaluate(
        self, data_samples: Sequence, data: Sequence | None = None, chunk_size: int = 1
    ) -> dict:
        """Evaluate stored predictions.

        Args:
            data_samples: One prediction per sample.
            data: The samples themselves, for metrics that look at ``data_batch``.
            chunk_size: Samples per call of ``process``.

        Raises:
            ArgumentError: ``data`` and ``data_samples`` are of unequal length, or ``chunk_size``
                is not positive.
        """
        if chunk_size < 1:
            raise ArgumentError(f"chunk_size={chunk_size!r}: give a number of samples, >= 1.")
        batches = None
        if data is not None:
            if len(data_samples) != len(data):
                raise ArgumentError(
                    "data_samples and data should have the same length, but got data_samples "
                    f"length: {len(data_samples)} data length: {len(data)}. Give the prediction "
                    "of every sample, in the same order."
                )
            batches = _chunks(data, chunk_size)
        size = 0
        for chunk in _chunks(data_samples, chunk_size):
            # Always pseudo_collate, even if the loader has another function: MMEngine's choice.
            batch = None if batches is None else pseudo_collate(next(batches))
            # Counted, since `data_samples` may be an iterator where there is no `data`.
            size += len(chunk)
            self.process(chunk, batch)
        return self.evaluate(size)


def _chunks(items: Iterable[Any], size: int) -> Iterator[list]:
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk
