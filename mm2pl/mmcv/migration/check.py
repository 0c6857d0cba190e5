"""The first batches of an old config and of the migrated one, side by side: samples, learning rates and losses."""

from __future__ import annotations

import contextlib
import copy
import logging
import random
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from mm2pl.config import Config
from mm2pl.hooks import Hook
from mm2pl.mmcv.adapters import MMCVConcatDataset, MMCVRepeatDataset
from mm2pl.registry import DATASETS, MODELS, DefaultScope
from mm2pl.runner import Runner

_ITERATIONS = 2  # the second loss shows that the first step was the same
_CLOSE = 1e-6


@dataclass(frozen=True, kw_only=True)
class Row:
    """One thing that was compared.

    Args:
        what: What it is.
        old: What the old side has.
        new: What the new side has.
        difference: Where they differ; empty if they do not.
    """

    what: str
    old: str
    new: str
    difference: str = ""

    def __str__(self) -> str:
        verdict = f"DIFFERS: {self.difference}" if self.difference else "equal"
        return f"  {self.what}: {self.old} | {self.new}  {verdict}"


@dataclass(frozen=True, kw_only=True)
class Check:
    """What the comparison found.

    Args:
        side: What the old side ran on.
        rows: What was compared.
        error: Why a side did not run; empty if both did.
    """

    side: str
    rows: tuple[Row, ...] = ()
    error: str = ""

    @property
    def passed(self) -> bool:
        """Whether both sides ran and are equal."""
        return not self.error and not any(row.difference for row in self.rows)

    def __str__(self) -> str:
        head = f"check: the old config on {self.side} | the new one on mm2pl.runner.Runner"
        return "\n".join([head, *map(str, self.rows), *([f"  {self.error}"] if self.error else [])])


class _Enough(Exception):
    """The iterations that are compared have run."""


class _First(Dataset):
    """A data set whose first samples have been drawn already.

    Args:
        dataset: The data set.
        samples: Its first samples; they come again after the last of them.
    """

    def __init__(self, dataset: Any, samples: list[Any]) -> None:
        self.dataset = dataset
        self.samples = samples

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        # A copy: transforms and collate functions may change a sample in place.
        return copy.deepcopy(self.samples[index % len(self.samples)])


def check_migration(old: Mapping[str, Any], new: Mapping[str, Any]) -> Check:
    """Train two iterations of both configs, with equal weights, samples and seeds, and compare them.

    This runs the project's code, which must be importable, as the codemod has rewritten it. Both sides take the first
    samples in order, each drawn with a seed of its own; nothing is validated, and files go to a scratch folder.

    Args:
        old: The 1.x config.
        new: The migrated one.
    """
    runtime, side = _runtime()
    with tempfile.TemporaryDirectory() as folder:
        name = "new"
        try:
            cfg = _shortened(new, folder)
            runner = Runner.from_cfg(cfg)
            samples, dataset = _drawn(runner.build_dataloader(cfg.train_dataloader).dataset, old)
            name = "old"
            model = MODELS.build(copy.deepcopy(dict(old["model"])))
            before_samples, before_set = _drawn(_dataset(old["data"]["train"]), old)
            weights = copy.deepcopy(model.state_dict())
            first = _First(before_set, before_samples)
            # 1.x' registries of runners and hooks stand apart; the new side's scope would hide them.
            with DefaultScope.overwrite_default_scope("mmcv"):
                old_run = _old(old, model, first, runtime, folder)
            name = "new"
            cfg.train_dataloader["dataset"] = _First(dataset, samples)
            new_run = _new(Runner.from_cfg(cfg), weights)
        except Exception as error:  # a user's code may raise anything
            why = f"{type(error).__name__}: {error}"
            return Check(side=side, error=f"not compared: the {name} side does not run: {why}")
    rows = [_of_samples(before_samples, samples)]
    for what in ("learning rates", "losses"):
        rows.append(_of_values(what, old_run[what], new_run[what]))
    return Check(side=side, rows=tuple(rows))


def _runtime() -> tuple[str, str]:
    """Return the package that the old side runs on, and how to call it."""
    try:
        version = str(import_module("mmcv").__version__)
    except (ImportError, AttributeError):
        version = ""
    if version.startswith("1."):
        return "mmcv", f"MMCV {version}"
    return "mm2pl.mmcv", "mm2pl.mmcv, as MMCV 1.x is not installed"


def _shortened(new: Mapping[str, Any], folder: str) -> Any:
    """Return the config without what is not compared."""
    cfg = Config(copy.deepcopy(dict(new)))
    for key in ("val_cfg", "val_dataloader", "val_evaluator", "test_cfg", "test_dataloader"):
        cfg[key] = None
    cfg.update(test_evaluator=None, work_dir=folder, load_from=None, resume=False, launcher="none")
    cfg.log_level = "ERROR"
    loader = cfg.train_dataloader
    loader.update(num_workers=0, persistent_workers=False)
    if loader.get("sampler") is not None:
        loader.sampler["shuffle"] = False
    cfg.default_hooks = {**(cfg.get("default_hooks") or {}), "checkpoint": None}
    return cfg


def _dataset(config: Any) -> Any:
    """Build a 1.x data set, with the wrappers that each toolbox had in its ``build_dataset``."""
    if isinstance(config, list | tuple):
        return MMCVConcatDataset([_dataset(each) for each in config])
    if isinstance(config, Mapping) and config.get("type") == "RepeatDataset":
        return MMCVRepeatDataset(_dataset(config["dataset"]), config["times"])
    if isinstance(config, Mapping) and config.get("type") == "ConcatDataset":
        return MMCVConcatDataset([_dataset(each) for each in config["datasets"]])
    return DATASETS.build(copy.deepcopy(dict(config)))


def _batch_size(old: Mapping[str, Any]) -> int:
    data = old["data"]
    return int((data.get("train_dataloader") or {}).get("samples_per_gpu", data["samples_per_gpu"]))


def _drawn(dataset: Any, old: Mapping[str, Any]) -> tuple[list[Any], Any]:
    """Return the first samples, each with a seed of its own, and the data set."""
    samples = []
    for index in range(min(len(dataset), _ITERATIONS * _batch_size(old))):
        _seed(index)
        samples.append(dataset[index])
    return samples, dataset


def _seed(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed)  # what 1.x' transforms draw from
    torch.manual_seed(seed)


def _old(
    old: Mapping[str, Any], model: Any, dataset: _First, runtime: str, folder: str
) -> dict[str, list[float]]:
    """Train by 1.x' runner and hooks."""
    api, parallel = import_module(f"{runtime}.runner"), import_module(f"{runtime}.parallel")
    rates: list[float] = []
    losses: list[float] = []

    class Recorder(api.Hook):  # type: ignore[name-defined]
        def before_train_iter(self, runner: Any) -> None:
            found = runner.current_lr()
            rates.append(next(iter(found.values()))[0] if isinstance(found, dict) else found[0])
            _seed(len(losses))

        def after_train_iter(self, runner: Any) -> None:
            losses.append(_loss(runner.outputs.get("log_vars") or runner.outputs))
            if len(losses) == _ITERATIONS:
                raise _Enough

    size = _batch_size(old)
    loader = DataLoader(
        dataset, batch_size=size, collate_fn=partial(parallel.collate, samples_per_gpu=size)
    )
    length = old.get("runner") or {
        "type": "EpochBasedRunner",
        "max_epochs": old.get("total_epochs"),
    }
    runner = api.build_runner(
        dict(length),
        default_args={
            "model": parallel.MMDataParallel(model.train()),
            "optimizer": api.build_optimizer(model, copy.deepcopy(dict(old["optimizer"]))),
            "work_dir": folder,
            "logger": logging.getLogger("mm2pl.check"),
            "meta": {},
        },
    )
    steps = old.get("optimizer_config")
    if old.get("fp16") is not None:
        steps = api.Fp16OptimizerHook(**(steps or {}), **old["fp16"], distributed=False)
    runner.register_training_hooks(
        copy.deepcopy(old.get("lr_config")),
        copy.deepcopy(steps),
        momentum_config=copy.deepcopy(old.get("momentum_config")),
    )
    runner.register_hook(Recorder(), priority="LOWEST")
    with contextlib.suppress(_Enough):
        runner.run([loader], [("train", 1)])
    return {"learning rates": rates, "losses": losses}


def _new(runner: Runner, weights: Mapping[str, Any]) -> dict[str, list[float]]:
    """Train by the runner of today."""
    rates: list[float] = []
    losses: list[float] = []

    class Recorder(Hook):
        def before_train(self, runner: Any) -> None:
            # The last hook: what init_weights and load_from have done is replaced.
            runner.model.load_state_dict(weights)

        def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
            found = runner.optim_wrapper.get_lr()
            rates.append(found.get("lr", next(iter(found.values())))[0])
            _seed(len(losses))

        def after_train_iter(
            self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
        ) -> None:
            losses.append(_loss(outputs))
            if len(losses) == _ITERATIONS:
                raise _Enough

    runner.register_hook(Recorder(), priority="LOWEST")
    with contextlib.suppress(_Enough):
        runner.train()
    return {"learning rates": rates, "losses": losses}


def _loss(values: Mapping[str, Any]) -> float:
    if "loss" in values:
        return float(values["loss"])
    return float(sum(float(value) for name, value in values.items() if "loss" in name))


def _of_values(what: str, old: Sequence[float], new: Sequence[float]) -> Row:
    worst = max(
        (abs(a - b) / max(abs(a), 1e-12) for a, b in zip(old, new, strict=False)), default=0.0
    )
    difference = f"relative difference {worst:.1e}" if worst > _CLOSE else ""
    if len(old) != len(new):
        difference = f"{len(old)} and {len(new)} iterations"
    return Row(what=what, old=_shown(old), new=_shown(new), difference=difference)


def _shown(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.6g}" for value in values)


def _of_samples(old: list[Any], new: list[Any]) -> Row:
    found = list(_differences(old, new, ""))
    difference = "; ".join(found[:3]) + (f"; and {len(found) - 3} more" if len(found) > 3 else "")
    return Row(
        what="samples",
        old=f"the first {len(old)}",
        new=f"the first {len(new)}",
        difference=difference,
    )


def _differences(old: Any, new: Any, path: str) -> Iterator[str]:
    """Yield where two samples differ."""
    old, new = (v.data if hasattr(v, "cpu_only") else v for v in (old, new))
    place = path.lstrip(".") or "the whole"
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in (*old, *(key for key in new if key not in old)):
            if key not in old or key not in new:
                yield f"{path.lstrip('.')} {key!r} is only in the {'old' if key in old else 'new'}".strip()
            else:
                yield from _differences(old[key], new[key], f"{path}.{key}")
    elif isinstance(old, list | tuple) and isinstance(new, list | tuple):
        if len(old) != len(new):
            yield f"{place}: {len(old)} and {len(new)} items"
        for index, (a, b) in enumerate(zip(old, new, strict=False)):
            yield from _differences(a, b, f"{path}[{index}]")
    elif isinstance(old, torch.Tensor | np.ndarray) and isinstance(new, torch.Tensor | np.ndarray):
        a, b = torch.as_tensor(old), torch.as_tensor(new)
        if a.shape != b.shape:
            yield f"{place}: shapes {tuple(a.shape)} and {tuple(b.shape)}"
        elif not torch.equal(a, b.to(a.dtype)):
            yield f"{place}: up to {(a.double() - b.double()).abs().max():.3g}"
    elif type(old) is not type(new) or (_is_plain(old) and old != new):
        yield f"{place}: {old!r} and {new!r}"


def _is_plain(value: object) -> bool:
    # Objects of a project may compare by identity.
    return isinstance(value, str | int | float | bool | None)
