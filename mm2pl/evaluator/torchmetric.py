"""torchmetrics' metrics in an Evaluator, and MMEngine-style metrics as torchmetrics' ones.

torchmetrics is imported only where one of its classes is in use.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch

from mm2pl.dist import all_gather_object, get_dist_info
from mm2pl.errors import ArgumentError
from mm2pl.evaluator.metric import BaseMetric, warn_empty
from mm2pl.registry import METRICS
from mm2pl.registry.build_functions import construct, resolve
from mm2pl.utils.misc import to_lists

if TYPE_CHECKING:
    from torchmetrics import Metric

OWN_KEYS = ("preds", "target", "prefix")
"""Keys of a torchmetrics config that are not for torchmetrics."""


class TorchMetric(BaseMetric):
    """Feed a torchmetrics metric, on the device of the predictions.

    In a config: ``dict(type='torchmetrics.MulticlassAccuracy', num_classes=10)``, with the further
    optional keys ``preds``, ``target`` and ``prefix``. The values are called by the class's name
    (``MulticlassAccuracy``; one value per class ``MulticlassAccuracy_0``, …) or by the metric's own
    keys.

    With several processes torchmetrics reduces the states; samples that a sampler added to make
    the shares equal do not count, so the value is that of one process.

    Args:
        metric: A `torchmetrics.Metric` or `MetricCollection`.
        preds: Where in a sample's prediction the first argument of ``update`` is, as a path of keys,
            indices and attributes (``'pred_score'``, ``'pred_instances.scores'``).
        target: The same for the second argument; None with ``preds``: there is only one. If both are
            None, the model must return a pair ``(preds, target)``, of batches or per sample.
        prefix: Metric names become ``prefix/name``.

    Raises:
        ArgumentError: Of ``preds`` and ``target`` only the latter is given.
    """

    # Not None, for which BaseMetric warns: the metric's own names do not need a prefix.
    default_prefix: ClassVar[str | None] = ""

    def __init__(
        self,
        metric: Any,
        preds: str | None = None,
        target: str | None = None,
        prefix: str | None = None,
    ) -> None:
        super().__init__(prefix=prefix)
        if target is not None and preds is None:
            raise ArgumentError(f"target={target!r} without preds: give both paths, or neither.")
        self.metric = metric
        self.paths = [path for path in (preds, target) if path is not None]
        self._seen = 0
        # One batch is held back, since only the end tells how much of the last one is padding.
        self._held: list[Any] | None = None

    def process(self, data_batch: Any, data_samples: Sequence[Any]) -> None:
        """Update the metric; with several processes by one batch late, as the last may be padded."""
        arguments = self._arguments(data_samples)
        self._seen += len(arguments[0])
        # A single process has no padding.
        if get_dist_info()[1] == 1:
            self._update(arguments)
            return
        if self._held is not None:
            self._update(self._held)
        self._held = arguments

    def evaluate(self, size: int) -> dict:
        """Return the values over all ranks, the same on all of them, and reset the metric."""
        rank, world_size = get_dist_info()
        if not self._seen:
            warn_empty(self)
        held = self._held
        if held is not None:
            # Rank r has the places r, r + W, … of the sampler's order; those from size on are padding.
            padded = max(0, self._seen - max(0, -((rank - size) // world_size)))
            held = [argument[: max(0, len(argument) - padded)] for argument in held]
        self._held, self._seen = None, 0
        # All ranks see the same `size` and `world_size`, so all take the same branch of collectives.
        if size < world_size:
            # torchmetrics would wait for ever for a rank without samples: all take all samples.
            with _unsynced(self.metric):
                for part in all_gather_object(held):
                    self._update(part)
                metrics = self.compute_metrics([])
        else:
            self._update(held)
            metrics = self.compute_metrics([])
        # torchmetrics keeps its states: without this the next validation would add to them.
        self.metric.reset()
        return self._prefixed(metrics)

    def compute_metrics(self, results: list) -> dict:
        """Return what the metric computes as plain numbers."""
        # `results` is not used: torchmetrics gathers its own states in `compute`.
        value = self.metric.compute()
        named = value if isinstance(value, Mapping) else {type(self.metric).__name__: value}
        metrics: dict[str, Any] = {}
        for name, item in named.items():
            plain = to_lists(item)
            if isinstance(plain, list) and all(isinstance(p, (int, float)) for p in plain):
                metrics.update({f"{name}_{index}": p for index, p in enumerate(plain)})
            else:
                metrics[name] = plain
        return metrics

    def _update(self, arguments: list[Any] | None) -> None:
        if arguments is None or not len(arguments[0]):
            return
        tensor = next((a for a in arguments if isinstance(a, torch.Tensor)), None)
        if tensor is not None:
            # Its states begin on the CPU, and nobody moves the metric: it is not a child of the model.
            self.metric.to(tensor.device)
        self.metric.update(*arguments)

    def _arguments(self, data_samples: Sequence[Any]) -> list[Any]:
        """Return the arguments of ``update``, each with one entry per sample."""
        if self.paths:
            return [_batch([_take(s, path) for s in data_samples]) for path in self.paths]
        if len(data_samples) == 2 and all(_is_array(part) for part in data_samples):
            return [torch.as_tensor(part) for part in data_samples]
        if all(isinstance(s, (tuple, list)) and len(s) == 2 for s in data_samples):
            return [_batch([s[index] for s in data_samples]) for index in (0, 1)]
        raise ArgumentError(
            f"{type(self.metric).__name__} needs (preds, target), but the model returned "
            f"{_describe(data_samples)}: return such a pair in mode='predict', or say where they "
            "are, as in dict(type='torchmetrics.…', preds='pred_score', target='gt_label')."
        )


def build_metric(metric: object) -> Any:
    """Return the metric that a config, a torchmetrics metric or a metric object means.

    Raises:
        ArgumentError: It is none of these.
    """
    if isinstance(metric, Mapping) or hasattr(metric, "_cfg_dict"):
        return _build_from_config(getattr(metric, "_cfg_dict", metric))
    if is_torchmetric(metric):
        return TorchMetric(metric)
    if isinstance(metric, type) or not (hasattr(metric, "process") and hasattr(metric, "evaluate")):
        raise ArgumentError(
            f"metric={metric!r}: give a config such as dict(type='Accuracy'), or an object with "
            "process(data_batch, data_samples) and evaluate(size), such as a BaseMetric."
        )
    return metric


def is_torchmetric(metric: object) -> bool:
    """Return whether an object is a metric, or a collection of metrics, of torchmetrics."""
    return _is_torchmetrics(type(metric))


def _build_from_config(cfg: Any) -> Any:
    if "type" not in cfg:
        return METRICS.build(cfg)  # says what is missing
    with METRICS.switch_scope_and_registry(cfg.get("_scope_")) as registry:
        metric_cls = resolve(cfg["type"], registry)
        if not _is_torchmetrics(metric_cls):
            return METRICS.build(cfg)
        own = {key: cfg[key] for key in OWN_KEYS if key in cfg}
        rest = {k: v for k, v in cfg.items() if k not in (*OWN_KEYS, "type", "_scope_")}
        return TorchMetric(construct(metric_cls, rest, registry), **own)


def as_torchmetric(metric: object, size: int | None = None, key: str | None = None) -> Metric:
    """Turn a `BaseMetric` (ours or MMEngine's) or its config into a `torchmetrics.Metric`.

    Args:
        metric: What an `Evaluator` takes.
        size: Length of the data set; with several processes, what a sampler added to it is cut off.
            None: nothing is.
        key: Let ``compute()`` return this one value as a scalar tensor, for
            ``self.log('acc', metric)``, instead of the dict of all.
    """
    from mm2pl.evaluator.torchmetric_adapter import TorchMetricAdapter

    return TorchMetricAdapter(build_metric(metric), size, key)


def _is_torchmetrics(cls: Any) -> bool:
    # Not imported: a class or an object of it can only exist if somebody else has done so.
    module = sys.modules.get("torchmetrics")
    return (
        module is not None
        and isinstance(cls, type)
        and issubclass(cls, (module.Metric, module.MetricCollection))
    )


@contextmanager
def _unsynced(metric: Any) -> Iterator[None]:
    """Let a metric, and the metrics in it, compute what this process alone has seen."""
    # A MetricCollection has no such function itself, but each of its metrics has.
    parts = [part for part in metric.modules() if hasattr(part, "distributed_available_fn")]
    before = [part.distributed_available_fn for part in parts]
    for part in parts:
        part.distributed_available_fn = _never
    try:
        yield
    finally:
        for part, function in zip(parts, before, strict=True):
            part.distributed_available_fn = function


def _never() -> bool:
    return False


def _is_array(value: object) -> bool:
    return isinstance(value, (torch.Tensor, np.ndarray)) and value.ndim > 0


def _take(sample: object, path: str) -> Any:
    """Follow a path of keys, indices and attributes into one prediction."""
    found = sample
    for part in path.split("."):
        try:
            if isinstance(found, Mapping):
                found = found[part]
            elif isinstance(found, Sequence):
                found = found[int(part)]
            else:
                found = getattr(found, part)
        except (KeyError, IndexError, ValueError, AttributeError) as error:
            raise ArgumentError(
                f"{path!r}: no {part!r} in {_describe(found)}: give the path to it in one sample's "
                "prediction, in the metric's config."
            ) from error
    return found


def _batch(values: list[Any]) -> Any:
    """Stack tensors, arrays and numbers of one shape, ``(1,)`` counting as a number; else a list."""
    if not all(isinstance(v, (torch.Tensor, np.ndarray, np.generic, int, float)) for v in values):
        return values
    tensors = [torch.as_tensor(value) for value in values]
    # MMPretrain's `gt_label` has the shape (1,), and torchmetrics wants (N,).
    tensors = [t.reshape(()) if t.shape == (1,) else t for t in tensors]
    return torch.stack(tensors) if len({t.shape for t in tensors}) == 1 else tensors


def _describe(value: object) -> str:
    """Say in a few words what a prediction is."""
    if isinstance(value, Mapping):
        return f"a {type(value).__name__} with the keys {list(value)}"
    if isinstance(value, (list, tuple)):
        kinds = ", ".join(sorted({_describe(v) for v in value[:3]})) or "nothing"
        return f"a {type(value).__name__} of {len(value)}: {kinds}"
    shape = f" of shape {tuple(value.shape)}" if hasattr(value, "shape") else ""
    return f"{type(value).__name__}{shape}"
