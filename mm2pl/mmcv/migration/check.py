"""The first batches of an old config and of the migrated one, side by side: samples, rates, losses, gradients."""

from __future__ import annotations

import contextlib
import copy
import logging
import random
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from mm2pl.config import Config
from mm2pl.errors import ArgumentError
from mm2pl.hooks import Hook
from mm2pl.mmcv.adapters import MMCVConcatDataset, MMCVRepeatDataset
from mm2pl.mmcv.migration.comparison import Record, Row, compared, of_samples
from mm2pl.registry import DATASETS, MODELS, DefaultScope
from mm2pl.runner import Runner

_ITERATIONS = 2  # the second loss shows that the first step was the same


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
        """Return whether both sides ran and are equal."""
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
    samples in order, each drawn with a seed of its own; nothing is validated, custom hooks and visualizers stay out,
    and files go to a scratch folder.

    Args:
        old: The 1.x config.
        new: The migrated one.
    """
    runtime, side = _runtime()
    name = "old"
    with tempfile.TemporaryDirectory() as folder:
        try:
            size = _batch_size(old)
            name = "new"
            cfg = _shortened(new, folder)
            runner = Runner.from_cfg(cfg)
            dataset = runner.build_dataloader(cfg.train_dataloader).dataset
            samples = _drawn(dataset, size)
            name = "old"
            model = MODELS.build(copy.deepcopy(dict(old["model"])))
            before = _dataset(old["data"]["train"])
            before_samples = _drawn(before, size)
            weights = copy.deepcopy(model.state_dict())
            name = "new"
            cfg.train_dataloader["dataset"] = _First(dataset, samples)
            new_run = _new(Runner.from_cfg(cfg), weights)
            name = "old"
            # Where the new side was: 1.x' scripts move the model themselves.
            model.to(new_run.device)
            # 1.x' registries of runners and hooks stand apart; the new side's scope would hide them.
            with DefaultScope.overwrite_default_scope("mmcv"):
                old_run = _old(old, model, _First(before, before_samples), runtime, folder)
            name = "comparison"
            rows = (of_samples(before_samples, samples), *compared(old_run, new_run))
        except Exception as error:  # a user's code may raise anything
            what = name if name == "comparison" else f"{name} side"
            why = f"{type(error).__name__}: {error}"
            return Check(side=side, error=f"not compared: the {what} does not run: {why}")
    return Check(side=side, rows=rows)


def _runtime() -> tuple[str, str]:
    """Return the package that the old side runs on, and how to call it."""
    # By its runner, not by its version: projects that ask for MMCV 1.x may be told a version that they accept.
    with contextlib.suppress(ImportError, AttributeError):
        import_module("mmcv.runner")
        return "mmcv", f"MMCV {import_module('mmcv').__version__}"
    return "mm2pl.mmcv", "mm2pl.mmcv, as MMCV 1.x is not installed"


def _shortened(new: Mapping[str, Any], folder: str) -> Any:
    """Return the config without what is not compared."""
    cfg = Config(copy.deepcopy(dict(new)))
    # A visualizer may open a run of a service. 1.x' runner cannot call hooks of today.
    for key in (
        *("val_cfg", "val_dataloader", "val_evaluator", "test_cfg", "test_dataloader"),
        *("visualizer", "vis_backends", "custom_hooks"),
    ):
        cfg[key] = None
    cfg.update(test_evaluator=None, work_dir=folder, load_from=None, resume=False, launcher="none")
    cfg.log_level = "ERROR"
    loader = cfg.train_dataloader
    # The same order as the old side, which no sampler of a project need be able to give.
    in_order = {"type": "DefaultSampler", "shuffle": False}
    loader.update(num_workers=0, persistent_workers=False, sampler=in_order, batch_sampler=None)
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
    for part in (data.get("train_dataloader") or {}, data):
        if "samples_per_gpu" in part:
            return int(part["samples_per_gpu"])
    raise ArgumentError("data has no samples_per_gpu → give it, or data.train_dataloader its own")


def _drawn(dataset: Any, size: int) -> list[Any]:
    """Return the first samples, each with a seed of its own."""
    samples = []
    for index in range(min(len(dataset), _ITERATIONS * size)):
        _seed(index)
        samples.append(dataset[index])
    return samples


def _seed(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed)  # what 1.x' transforms draw from
    torch.manual_seed(seed)


def _old(old: Mapping[str, Any], model: Any, dataset: _First, runtime: str, folder: str) -> Record:
    """Train by 1.x' runner and hooks."""
    api, parallel = import_module(f"{runtime}.runner"), import_module(f"{runtime}.parallel")
    record = Record()

    class Recorder(api.Hook):  # type: ignore[name-defined]
        def before_run(self, runner: Any) -> None:
            record.watch(model, _optimizers(runner.optimizer))

        def before_train_iter(self, runner: Any) -> None:
            record.begin(model, _optimizers(runner.optimizer))
            _seed(len(record.losses))

        def after_train_iter(self, runner: Any) -> None:
            record.end(runner.outputs.get("log_vars") or runner.outputs)
            if len(record.losses) == _ITERATIONS:
                raise _Enough

    size = _batch_size(old)
    loader = DataLoader(
        dataset, batch_size=size, collate_fn=partial(parallel.collate, samples_per_gpu=size)
    )
    device = next(model.parameters()).device
    ids = {"device_ids": [device.index or 0]} if device.type == "cuda" else {}
    length = old.get("runner") or {
        "type": "EpochBasedRunner",
        "max_epochs": old.get("total_epochs"),
    }
    runner = api.build_runner(
        dict(length),
        default_args={
            "model": parallel.MMDataParallel(model.train(), **ids),
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
    return record


def _new(runner: Runner, weights: Mapping[str, Any]) -> Record:
    """Train by the runner of today."""
    record = Record()

    class Recorder(Hook):
        def before_train(self, runner: Any) -> None:
            # The last hook: what init_weights and load_from have done is replaced.
            runner.model.load_state_dict(weights)
            record.watch(runner.model, _optimizers(runner.optim_wrapper))

        def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
            record.begin(runner.model, _optimizers(runner.optim_wrapper))
            _seed(len(record.losses))

        def after_train_iter(
            self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
        ) -> None:
            record.end(outputs)
            if len(record.losses) == _ITERATIONS:
                raise _Enough

    runner.register_hook(Recorder(), priority="LOWEST")
    with contextlib.suppress(_Enough):
        runner.train()
    return record


def _optimizers(found: Any) -> list[torch.optim.Optimizer]:
    """Return torch's optimizers of a runner: one or several, of 1.x or wrapped."""
    several = list(found.values()) if hasattr(found, "values") else [found]
    return [getattr(each, "optimizer", each) for each in several]
