"""DataLoaders from config dicts."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch.utils.data import DataLoader

from mm2pl.config import as_config
from mm2pl.dataset.utils import pseudo_collate, worker_init_fn
from mm2pl.dist import get_dist_info
from mm2pl.errors import ArgumentError, ReadableKeyError, refused_values, under_key
from mm2pl.registry import DATA_SAMPLERS, DATASETS, FUNCTIONS
from mm2pl.registry.build_functions import resolve


def build_dataloader(
    dataloader: Any, seed: int | None = None, diff_rank_seed: bool = False
) -> DataLoader:
    """Build a loader from its config; stands for `mmengine.runner.Runner.build_dataloader`.

    Besides `DataLoader`'s arguments a config has ``dataset``, ``sampler`` and ``batch_sampler``
    (dicts, or objects, which are used as they are), ``collate_fn`` and ``worker_init_fn`` (a
    registered name, a dict with the function's further arguments, or a callable),
    ``num_batch_per_epoch`` and ``disable_subprocess_warning``. Without a sampler torch's own, which is not aware of
    ranks, follows ``shuffle``. The data set is built, and its
    annotations are loaded, before the sampler.

    Args:
        dataloader: Such a config (not changed), or a loader, which is returned as it is.
        seed: Seed of the sampler and the workers; None leaves both to chance.
        diff_rank_seed: The ranks have different seeds, so the sampler must agree on one by itself.

    Raises:
        ReadableKeyError: ``dataset`` is missing.
        ArgumentError: An argument is of a wrong kind or unknown.
    """
    if isinstance(dataloader, DataLoader) or _looks_like_loader(dataloader):
        return dataloader
    cfg = _own_copy(dataloader)
    dataset = _build_dataset(cfg)
    # With a seed per rank the ranks would shuffle differently, and some samples would be missing.
    sampler = _build_sampler(cfg, dataset, None if diff_rank_seed else seed)
    batch_sampler = cfg.pop("batch_sampler", None)
    if isinstance(batch_sampler, dict):
        defaults = {"sampler": sampler}
        if "batch_size" in cfg:
            # Popped, because torch's DataLoader refuses a batch size next to a batch sampler.
            defaults["batch_size"] = cfg.pop("batch_size")
        with under_key("batch_sampler"):
            batch_sampler = DATA_SAMPLERS.build(batch_sampler, default_args=defaults)
    init_fn = _build_worker_init_fn(cfg, seed)
    # MMEngine's default, unlike torch's: images may differ in size, and the model's preprocessor stacks them.
    collate_fn = _function(cfg.pop("collate_fn", pseudo_collate), "collate_fn")
    # Without CUDA torch would warn and not pin; the config is written for machines that have it.
    cfg["pin_memory"] = bool(cfg.get("pin_memory")) and torch.cuda.is_available()
    given = ", ".join(f"{key}={value!r}" for key, value in cfg.items())
    with refused_values(f"a dataloader with {given}"):
        return DataLoader(
            dataset=dataset,
            # torch refuses both; the batch sampler holds the sampler.
            sampler=sampler if batch_sampler is None else None,
            batch_sampler=batch_sampler,
            collate_fn=collate_fn,
            worker_init_fn=init_fn,
            **cfg,
        )


def _looks_like_loader(value: Any) -> bool:
    return (
        # A ConfigDict has its keys as attributes, so `cfg.dataset` exists too.
        not isinstance(value, Mapping) and hasattr(value, "dataset") and hasattr(value, "__iter__")
    )


def _own_copy(dataloader: Any) -> dict:
    """Copy a config, but not the objects that stand in it: the data set may be large."""
    cfg = getattr(dataloader, "_cfg_dict", dataloader)
    if not isinstance(cfg, dict):
        raise ArgumentError(
            f"dataloader={dataloader!r}: give a DataLoader, or a dict with the keys dataset, "
            "sampler and batch_size."
        )
    # `deepcopy` returns what its memo holds for an id, and copies the rest.
    kept = {id(value): value for value in cfg.values() if not isinstance(value, (dict, list))}
    return dict(copy.deepcopy(cfg, kept))


def _pop_required(cfg: dict, key: str, example: str) -> Any:
    if key not in cfg:
        raise ReadableKeyError(
            f"A dataloader config with the keys {sorted(cfg)} has no {key!r}: add {example}, or "
            "pass a built torch.utils.data.DataLoader instead of a dict."
        )
    return cfg.pop(key)


def _build_dataset(cfg: dict) -> Any:
    dataset = _pop_required(cfg, "dataset", "dataset=dict(type=…)")
    if isinstance(dataset, dict):
        with under_key("dataset"):
            dataset = DATASETS.build(dataset)
            if hasattr(dataset, "full_init"):
                # Here and not later: each worker would read the annotations for itself.
                dataset.full_init()
    batches = cfg.pop("num_batch_per_epoch", None)
    if batches is None:
        return dataset
    # Before the sampler is built, which takes its length from the data set.
    return _SlicedDataset(dataset, batches * batch_size_of(cfg) * get_dist_info()[1])


def _build_sampler(cfg: dict, dataset: Any, seed: int | None) -> Any:
    # MMEngine 0.10.7 takes None for a missing one, since ConfigDict.pop does; then torch makes the sampler.
    sampler = cfg.pop("sampler", None)
    if sampler is None:
        return None
    if cfg.get("shuffle"):
        raise ArgumentError(
            f"shuffle={cfg['shuffle']!r} in a dataloader config that has a sampler: the sampler "
            "shuffles. Remove it and write sampler=dict(type='DefaultSampler', shuffle=True)."
        )
    if not isinstance(sampler, dict):
        return sampler
    # Only defaults: a `seed` in the sampler's config wins.
    with under_key("sampler"):
        return DATA_SAMPLERS.build(sampler, default_args={"dataset": dataset, "seed": seed})


def _build_worker_init_fn(cfg: dict, seed: int | None) -> Callable | None:
    # Popped in any case. MMEngine 0.10.7 leaves it without a seed, and DataLoader refuses the argument.
    quiet = cfg.pop("disable_subprocess_warning", False)
    if not isinstance(quiet, bool):
        raise ArgumentError(f"disable_subprocess_warning={quiet!r}: give True or False.")
    if "worker_init_fn" in cfg:
        given = cfg.pop("worker_init_fn")
        # None switches the seeding off; MMEngine 0.10.7 takes only a dict.
        return None if given is None else _function(given, "worker_init_fn")
    # torch seeds Python, NumPy and itself in each worker anyway, from a number that it draws at each pass.
    if seed is None:
        return None
    return partial(
        worker_init_fn,
        num_workers=cfg.get("num_workers", 0),
        rank=get_dist_info()[0],
        seed=seed,
        disable_subprocess_warning=quiet,
    )


def _function(given: Any, key: str) -> Callable:
    """Return the function that a name, a dict with further arguments or a callable means."""
    if isinstance(given, str):
        try:
            return resolve(given, FUNCTIONS)
        except KeyError as error:
            raise ArgumentError(
                f"{key} should be a dict or callable object, or the name of a registered function. {error}"
            ) from error
    if isinstance(given, dict):
        arguments = dict(given)
        if "type" not in arguments:
            raise ReadableKeyError(f"{key}={given!r} has no 'type': add type='pseudo_collate' or …")
        return partial(resolve(arguments.pop("type"), FUNCTIONS), **arguments)
    if callable(given):
        return given
    raise ArgumentError(
        f"{key}={given!r}: give a registered name, a dict with 'type', or a callable."
    )


def batch_size_of(dataloader: Any) -> int:
    """Return the batch size (per process) of ``dataloader``, a loader or its config.

    Raises:
        ArgumentError: It has none.
    """
    if isinstance(dataloader, dict):
        inner = dataloader.get("batch_sampler")
        for cfg in (dataloader, inner if isinstance(inner, dict) else {}):
            if "batch_size" in cfg:
                return cfg["batch_size"]
        raise ArgumentError(
            f"A dataloader config with the keys {sorted(dataloader)} has no batch_size: set it "
            "there or in its batch_sampler."
        )
    for holder in (dataloader, getattr(dataloader, "batch_sampler", None)):
        if (batch_size := getattr(holder, "batch_size", None)) is not None:
            return batch_size
    raise ArgumentError(
        f"{dataloader!r} has no batch size: give a DataLoader or its config; a batch sampler of "
        "your own needs the attribute batch_size."
    )


class _SlicedDataset:
    """The first ``length`` samples of a data set, for ``num_batch_per_epoch``."""

    def __init__(self, dataset: Any, length: int) -> None:
        self._dataset = dataset
        self._length = length

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # asked for before there is a data set, when unpickled
            raise AttributeError(name)
        return getattr(self._dataset, name)

    def __getitem__(self, index: int) -> Any:
        return self._dataset[index]

    def __len__(self) -> int:
        return self._length


def loader_config(loader: Any) -> Any:
    """Give the dict ``loader`` attributes, as :func:`as_config` does; a data set that is not a dict stays as it is.

    >>> type(loader_config({"dataset": [{"inputs": 1}], "batch_size": 1})["dataset"][0])
    <class 'dict'>
    """
    if isinstance(loader, list):
        return [loader_config(each) for each in loader]
    if not isinstance(loader, dict) or isinstance(loader.get("dataset", {}), dict):
        return as_config(loader)
    made = as_config({**loader, "dataset": None})
    # ConfigDict's own `__setitem__` would convert the dicts in a list of samples.
    dict.__setitem__(made, "dataset", loader["dataset"])
    return made
