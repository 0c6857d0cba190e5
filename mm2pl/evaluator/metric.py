"""Metrics that collect something per sample and compute at the end."""

from __future__ import annotations

import logging
from abc import ABCMeta, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch

from mm2pl.dist import broadcast_object_list, collect_results, is_main_process
from mm2pl.errors import ArgumentError
from mm2pl.fileio import dump
from mm2pl.logging import print_log
from mm2pl.registry import METRICS
from mm2pl.structures import is_data_element


class BaseMetric(metaclass=ABCMeta):
    """Collect results batch by batch, then compute; stands for `mmengine.evaluator.BaseMetric`.

    A subclass appends to ``self.results`` in :meth:`process`, best one item per sample, and turns
    the items of all ranks into a dict of values in :meth:`compute_metrics`.

    Args:
        collect_device: Gather the ranks' results through files (``'cpu'``) or by communication
            (``'gpu'``).
        prefix: Metric names become ``prefix/name``; default: the class's ``default_prefix``.
        collect_dir: Directory, shared by all ranks, for the files of ``'cpu'``.

    Example:
    >>> class Hits(BaseMetric):
    ...     default_prefix = "top1"
    ...     def process(self, data_batch, data_samples):
    ...         self.results += [sample["pred"] == sample["label"] for sample in data_samples]
    ...     def compute_metrics(self, results):
    ...         return {"hits": 100 * sum(results) / len(results)}
    >>> metric = Hits()
    >>> metric.process(None, [{"pred": 3, "label": 3}, {"pred": 1, "label": 2}])
    >>> metric.evaluate(size=2)
    {'top1/hits': 50.0}

    Raises:
        ArgumentError: ``collect_dir`` without ``collect_device='cpu'``.
    """

    default_prefix: ClassVar[str | None] = None

    def __init__(
        self,
        collect_device: str = "cpu",
        prefix: str | None = None,
        collect_dir: str | None = None,
    ) -> None:
        if collect_dir is not None and collect_device != "cpu":
            raise ArgumentError(
                f"collect_dir={collect_dir!r} could only be configured when collect_device='cpu', "
                f"but that is {collect_device!r}: leave one of them out."
            )
        self._dataset_meta: dict | None = None
        self.collect_device = collect_device
        self.collect_dir = collect_dir
        self.results: list[Any] = []
        # `or`, as in MMEngine: prefix="" means the class's own prefix too.
        self.prefix = prefix or self.default_prefix
        if self.prefix is None:
            print_log(
                f"The prefix is not set in metric class {type(self).__name__}.",
                logger="current",
                level=logging.WARNING,
            )

    @property
    def dataset_meta(self) -> dict | None:
        """The data set's ``metainfo``, set before the first batch."""
        return self._dataset_meta

    @dataset_meta.setter
    def dataset_meta(self, dataset_meta: dict | None) -> None:
        self._dataset_meta = dataset_meta

    @abstractmethod
    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Append to ``self.results`` what one batch contributes.

        Args:
            data_batch: What the loader yielded.
            data_samples: The model's predictions, data elements turned into dicts.
        """

    @abstractmethod
    def compute_metrics(self, results: list) -> dict:
        """Return the values by name, from the results of all ranks in the sampler's order.

        ``results`` holds what :meth:`process` has appended, cut to the length of the data set. Tensors are on the CPU.
        Only rank 0 calls this.
        """

    def evaluate(self, size: int) -> dict:
        """Gather, compute on rank 0, tell all ranks, and forget the results.

        Args:
            size: Length of the data set; what a sampler added to it is cut off.
        """
        # No error: a rank may have no batch at all.
        if not self.results:
            warn_empty(self)
        # The directory is passed only with 'cpu': collect_results refuses it otherwise.
        directory = {"tmpdir": self.collect_dir} if self.collect_device == "cpu" else {}
        results = collect_results(self.results, size, self.collect_device, **directory)
        metrics: list[Any] = [None]
        if is_main_process():
            # On rank 0 alone: `collect_results` gives None to the others.
            metrics = [self._prefixed(self.compute_metrics(to_cpu(results)))]
        # Every rank needs the values: ReduceOnPlateau, EarlyStoppingHook and "save best" decide on each.
        broadcast_object_list(metrics)
        # In place: a subclass, or an adapter, may hold the same list.
        self.results.clear()
        return metrics[0]

    def _prefixed(self, metrics: dict) -> dict:
        if not self.prefix or not isinstance(metrics, Mapping):  # the Evaluator says what is wrong
            return metrics
        return {f"{self.prefix}/{name}": value for name, value in metrics.items()}


@METRICS.register_module()
class DumpResults(BaseMetric):
    """Write all predictions to a pickle file; stands for `mmengine.evaluator.DumpResults`.

    Args:
        out_file_path: Ends with ``.pkl`` or ``.pickle``.
        collect_device: As in `BaseMetric`.
        collect_dir: As in `BaseMetric`.

    Raises:
        ValueError: The file has another ending than a pickle's.
    """

    def __init__(
        self, out_file_path: str, collect_device: str = "cpu", collect_dir: str | None = None
    ) -> None:
        super().__init__(collect_device=collect_device, collect_dir=collect_dir)
        if not out_file_path.endswith((".pkl", ".pickle")):
            raise ArgumentError(
                f"The output file must be a pkl file, but got out_file_path={out_file_path!r}: give a "
                "name that ends with .pkl or .pickle."
            )
        self.out_file_path = out_file_path

    # MMEngine's parameter name, unlike the base class's.
    def process(self, data_batch: Any, predictions: Sequence[dict]) -> None:
        """Keep the predictions, on the CPU."""
        # At once: the predictions of a whole data set would fill the GPU.
        self.results.extend(to_cpu(predictions))

    def compute_metrics(self, results: list) -> dict:
        """Write the file; there are no values."""
        dump(results, self.out_file_path)
        print_log(f"Results has been saved to {self.out_file_path}.", logger="current")
        return {}


def warn_empty(metric: object) -> None:
    """Log that a metric is evaluated though ``process`` added nothing."""
    print_log(
        f"{type(metric).__name__} got empty `self.results`. Please ensure that the processed "
        "results are properly added into `self.results` in `process` method.",
        logger="current",
        level=logging.WARNING,
    )


def to_cpu(data: Any) -> Any:
    """Move the tensors and data elements in nested lists, tuples and dicts to the CPU."""
    if isinstance(data, torch.Tensor) or is_data_element(data):
        return data.to("cpu")
    # Exactly MMEngine's kinds: anything else, such as a set or an object of a user's own, stays on its device.
    if isinstance(data, (list, tuple)):
        moved = [to_cpu(item) for item in data]
        return moved if isinstance(data, list) else tuple(moved)
    if isinstance(data, dict):
        return {key: to_cpu(value) for key, value in data.items()}
    return data


_to_cpu = to_cpu
"""MMEngine's name of it, which toolboxes import."""
