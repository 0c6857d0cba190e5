"""What migrated configs name and MMEngine has not: 1.x data sets and their batches, optimizers by sub-module."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn
from torch.utils.data import ConcatDataset, Dataset

from mm2pl.errors import ArgumentError
from mm2pl.evaluator import BaseMetric
from mm2pl.logging import MMLogger
from mm2pl.mmcv.parallel import collate, scatter
from mm2pl.mmcv.runner.optimizer import build_optimizer
from mm2pl.optim import OptimWrapper, OptimWrapperDict, build_optim_wrapper
from mm2pl.registry import DATASETS, FUNCTIONS, METRICS, OPTIM_WRAPPER_CONSTRUCTORS, OPTIM_WRAPPERS


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class MMCVOptimWrapperConstructor:
    """Build one wrapper per sub-module, as 1.x toolboxes' ``build_optimizers`` built optimizers.

    Args:
        optim_wrapper_cfg: Wrapper configs by the name of the model's attribute that each optimizes.
        paramwise_cfg: Must be None; each wrapper has its own.

    Raises:
        ValueError: One ``paramwise_cfg`` is given for several optimizers.

    Example:
        >>> model = nn.ModuleDict(dict(generator=nn.Linear(1, 1), critic=nn.Linear(1, 1)))
        >>> wrapper = dict(type="OptimWrapper", optimizer=dict(type="SGD", lr=0.1))
        >>> cfg = dict(generator=wrapper, critic=wrapper)
        >>> sorted(MMCVOptimWrapperConstructor(cfg)(model).keys())
        ['critic', 'generator']
    """

    def __init__(self, optim_wrapper_cfg: dict[str, Any], paramwise_cfg: Any = None) -> None:
        if paramwise_cfg is not None:
            # MMEngine 0.10.7's constructors apply one `paramwise_cfg` to
            # one optimizer; here it would be unclear which optimizer it is for.
            raise ArgumentError(
                f"paramwise_cfg={paramwise_cfg!r} for several optimizers → each wrapper takes its own: "
                "move it into them."
            )
        self.cfgs = copy.deepcopy(optim_wrapper_cfg)

    def __call__(self, model: nn.Module) -> OptimWrapperDict:
        """Return the wrappers under their names."""
        model = getattr(model, "module", model)
        # `_modules`, not getattr: a method or buffer of that name has nothing to optimize.
        parts = model if isinstance(model, nn.ModuleDict) else vars(model)["_modules"]
        missing = [name for name in self.cfgs if name not in parts]
        if missing:
            raise ArgumentError(
                f"optim_wrapper has {missing!r}, but the model only {list(parts)!r} → name each wrapper "
                "as the attribute of the model that it optimizes."
            )
        wrappers = {name: build_optim_wrapper(parts[name], cfg) for name, cfg in self.cfgs.items()}
        return OptimWrapperDict(**wrappers)


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class MMCVOptimizerConstructor:
    """Build the optimizer by a constructor of 1.x, which a project has registered in its OPTIMIZER_BUILDERS.

    Args:
        optim_wrapper_cfg: The wrapper's config; its optimizer's ``constructor`` is the name of the constructor of 1.x.
        paramwise_cfg: Given to that one.

    Raises:
        ValueError: ``optimizer`` is missing, or is not a dict.

    Example:
        >>> optimizer = dict(type="SGD", lr=0.1, constructor="DefaultOptimizerConstructor")
        >>> MMCVOptimizerConstructor(dict(optimizer=optimizer))(nn.Linear(1, 1)).get_lr()
        {'lr': [0.1]}
    """

    def __init__(self, optim_wrapper_cfg: dict[str, Any], paramwise_cfg: Any = None) -> None:
        if not isinstance(optim_wrapper_cfg.get("optimizer"), Mapping):
            raise ArgumentError(
                f"optim_wrapper={dict(optim_wrapper_cfg)!r} → its optimizer must be a dict such as "
                "dict(type='SGD', lr=0.01, constructor='MyConstructor')."
            )
        self.cfg = {"type": "OptimWrapper", **optim_wrapper_cfg}
        self.optimizer_cfg = {**self.cfg.pop("optimizer"), "paramwise_cfg": paramwise_cfg}

    def __call__(self, model: nn.Module) -> OptimWrapper:
        """Return the wrapper of what the constructor builds."""
        optimizer = build_optimizer(model, self.optimizer_cfg)
        wrapper: OptimWrapper = OPTIM_WRAPPERS.build({**self.cfg, "optimizer": optimizer})
        return wrapper


@METRICS.register_module()
class MMCVDatasetMetric(BaseMetric):
    """Let the data set evaluate the predictions, as MMCV's `EvalHook` did.

    The predictions of all samples, in the data set's order, go to ``dataset.evaluate(results, logger=…)``.

    Args:
        dataset: The data set, or its config.
        collect_device: See `BaseMetric`, as the arguments after it.
        prefix: See ``collect_device``; none unless given, so the names are the data set's.
        collect_dir: See ``collect_device``.
        evaluate_args: The other arguments of ``evaluate``, such as ``metric``.

    Raises:
        TypeError: The data set cannot evaluate itself.
    """

    # 1.x configs name results as the data set does, such as save_best='acc'. A prefix would hide them.
    default_prefix = ""

    def __init__(
        self,
        dataset: Any,
        collect_device: str = "cpu",
        prefix: str | None = None,
        collect_dir: str | None = None,
        **evaluate_args: Any,
    ) -> None:
        super().__init__(collect_device, prefix, collect_dir)
        # A metric does not see the loader, so it builds the data set a second time.
        self.dataset = _built(dataset)
        if not hasattr(self.dataset, "evaluate"):
            raise ArgumentError(
                f"dataset={type(self.dataset).__name__} has no evaluate(results) → write a metric that "
                "derives from BaseMetric instead."
            )
        self.evaluate_args = evaluate_args

    def process(self, data_batch: Any, data_samples: Sequence[Any]) -> None:
        """Keep the predictions."""
        # 1.x models return a list with one entry per sample, of any
        # type. `evaluate` expects them in the data set's order.
        self.results.extend(data_samples)

    def compute_metrics(self, results: list) -> dict:
        """Return what the data set's ``evaluate`` returns."""
        values = self.dataset.evaluate(
            results, logger=MMLogger.get_current_instance(), **self.evaluate_args
        )
        # Some 1.x data sets only print their results and return None.
        return dict(values or {})


@FUNCTIONS.register_module()
def mmcv_collate(data_batch: Sequence[Any]) -> Any:
    """Stack tensors and unpack data containers, as MMCV's ``collate`` and parallel wrapper together did.

    Example:
        >>> mmcv_collate([dict(x=1, name="a"), dict(x=2, name="b")])
        {'x': tensor([1, 2]), 'name': ['a', 'b']}
    """
    # One group for the whole batch, as one process has one device.
    # -1 keeps it on the CPU: this runs in the loader's worker processes, which must not touch CUDA.
    return scatter(collate(data_batch, len(data_batch)), [-1])[0]


class _OfDatasets:
    """A data set made of 1.x ones, which need nothing but ``__len__`` and ``__getitem__``; it has their attributes."""

    first: Any

    def __getattr__(self, name: str) -> Any:
        # Copying and unpickling ask for attributes before `first` exists, which would recurse without end.
        if name == "first":
            raise AttributeError(name)
        return getattr(self.first, name)


@DATASETS.register_module()
# MMEngine 0.10.7's ConcatDataset asks its parts for `metainfo` and `full_init`, which 1.x data sets do not have.
class MMCVConcatDataset(_OfDatasets, ConcatDataset):
    """One data set after the other.

    Args:
        datasets: Data sets, or their configs.
    """

    def __init__(self, datasets: Sequence[Any]) -> None:
        built = [_built(dataset) for dataset in datasets]
        self.first = built[0]
        super().__init__(built)


@DATASETS.register_module()
class MMCVRepeatDataset(_OfDatasets, Dataset):
    """A data set several times over.

    Args:
        dataset: The data set, or its config.
        times: How often.
    """

    def __init__(self, dataset: Any, times: int) -> None:
        self.first = _built(dataset)
        self.times = times

    def __len__(self) -> int:
        return self.times * len(self.first)

    def __getitem__(self, index: int) -> Any:
        return self.first[index % len(self.first)]


def _built(dataset: object) -> Any:
    return DATASETS.build(dataset) if isinstance(dataset, Mapping) else dataset
