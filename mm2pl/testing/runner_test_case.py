"""A ``TestCase`` with a small network and data, on which runs and hooks can be tried."""

from __future__ import annotations

import copy
import logging
import os
import shutil
import tempfile
import unittest
from pathlib import Path
from typing import Any, ClassVar
from uuid import uuid4

import torch
from torch import nn
from torch.utils.data import Dataset

from mm2pl.config import Config
from mm2pl.evaluator import BaseMetric
from mm2pl.logging import MessageHub, MMLogger
from mm2pl.model import BaseModel
from mm2pl.registry import DATASETS, METRICS, MODELS, DefaultScope
from mm2pl.runner import Runner
from mm2pl.visualization import Visualizer


class ToyModel(BaseModel):
    """Two linear layers, ``(N, 2)`` to ``(N, 1)``."""

    def __init__(self, data_preprocessor: Any = None) -> None:
        super().__init__(data_preprocessor=data_preprocessor)
        self.linear1 = nn.Linear(2, 2)
        self.linear2 = nn.Linear(2, 1)

    def forward(self, inputs: Any, data_samples: Any = None, mode: str = "tensor") -> Any:
        """Return the outputs, or in ``mode="loss"`` the sum of their distances from ``data_samples``."""
        inputs, data_samples = (
            torch.stack(each) if isinstance(each, list) else each for each in (inputs, data_samples)
        )
        outputs = self.linear2(self.linear1(inputs))
        return {"loss": (data_samples - outputs).sum()} if mode == "loss" else outputs


class ToyDataset(Dataset):
    """Twelve random points with the label 1."""

    METAINFO: ClassVar[dict[str, Any]] = {}
    # MMEngine 0.10.7 draws from torch's own generator at import, which shifts all later random numbers.
    data = torch.randn(12, 2, generator=torch.Generator().manual_seed(0))
    label = torch.ones(12)

    @property
    def metainfo(self) -> dict[str, Any]:
        """What the data set says about itself: nothing."""
        return self.METAINFO

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return {"inputs": self.data[index], "data_samples": self.label[index]}


class ToyMetric(BaseMetric):
    """Always ``{"acc": 1}``."""

    def __init__(self, collect_device: str = "cpu", dummy_metrics: Any = None) -> None:
        super().__init__(collect_device=collect_device)
        self.dummy_metrics = dummy_metrics

    def process(self, data_batch: Any, predictions: Any) -> None:
        """Count the batch."""
        self.results.append({"acc": 1})

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Return the constant."""
        return {"acc": 1}


_TOYS = ((MODELS, ToyModel), (METRICS, ToyMetric), (DATASETS, ToyDataset))


def _loader(sampler: str, shuffle: bool) -> dict[str, Any]:
    return {
        "dataset": {"type": "ToyDataset"},
        "sampler": {"type": sampler, "shuffle": shuffle},
        "batch_size": 3,
        "num_workers": 0,
    }


def _epoch_based(work_dir: str) -> dict[str, Any]:
    evaluation = {
        f"{stage}_dataloader": _loader("DefaultSampler", False) for stage in ("val", "test")
    }
    return {
        "work_dir": work_dir,
        "model": {"type": "ToyModel"},
        "train_dataloader": _loader("DefaultSampler", True),
        **evaluation,
        "val_evaluator": [{"type": "ToyMetric"}],
        "test_evaluator": [{"type": "ToyMetric"}],
        "optim_wrapper": {"optimizer": {"type": "SGD", "lr": 0.1}},
        "train_cfg": {"by_epoch": True, "max_epochs": 2, "val_interval": 1},
        "val_cfg": {},
        "test_cfg": {},
        "default_hooks": {"logger": {"type": "LoggerHook", "interval": 1}},
        "custom_hooks": [],
        # MMEngine's value. Without a launcher no process group is made.
        "env_cfg": {"dist_cfg": {"backend": "nccl"}},
        "experiment_name": "test1",
    }


class RunnerTestCase(unittest.TestCase):
    """Give each test ``epoch_based_cfg`` and ``iter_based_cfg`` in a new folder, and clean up after it.

    The toys of this module are registered meanwhile. ``tearDown`` forgets every logger, message hub, visualizer and
    scope, so that the tests of one class do not see each other's.

    ``methodName`` is unittest's: the test that the object runs.
    """

    dist_cfg: ClassVar[dict[str, Any]] = {
        "MASTER_ADDR": "127.0.0.1",
        # A number, since setup_dist_env counts it up.
        "MASTER_PORT": 29600,
        "RANK": "0",
        "WORLD_SIZE": "1",
        "LOCAL_RANK": "0",
    }
    temp_dir: tempfile.TemporaryDirectory[str]
    epoch_based_cfg: Config
    iter_based_cfg: Config

    def setUp(self) -> None:
        """Make the folder and the two configs, and register the toys."""
        self.temp_dir = tempfile.TemporaryDirectory()
        for registry, toy in _TOYS:
            # force, since a test that fails in setUp never gets to tearDown.
            registry.register_module(module=toy, force=True)
        self.epoch_based_cfg = Config(_epoch_based(self.temp_dir.name))
        self.iter_based_cfg = copy.deepcopy(self.epoch_based_cfg)
        self.iter_based_cfg.merge_from_dict(
            {
                "train_dataloader.sampler.type": "InfiniteSampler",
                "log_processor": {"by_epoch": False},
                "default_hooks.checkpoint": {
                    "type": "CheckpointHook",
                    "interval": 12,
                    "by_epoch": False,
                },
            }
        )
        # Replaced and not merged, since max_epochs and max_iters exclude each other.
        self.iter_based_cfg.train_cfg = {"by_epoch": False, "max_iters": 12}

    def tearDown(self) -> None:
        """Remove the folder and what the runs have left in this process."""
        # Windows does not delete a log file that is open.
        logging.shutdown()
        for cls in (MMLogger, Visualizer, DefaultScope, MessageHub):
            cls._instance_dict.clear()
        for registry, toy in _TOYS:
            registry.module_dict.pop(toy.__name__, None)
        self.temp_dir.cleanup()
        # A run after setup_dist_env has made one.
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()

    def build_runner(self, cfg: Config) -> Runner:
        """Make the run of a config, under a name of its own."""
        cfg.experiment_name = self.experiment_name
        return Runner.from_cfg(cfg)

    @property
    def experiment_name(self) -> str:
        """A name that no other run of this process has."""
        # Loggers and hubs are kept by name, so a second run of this name would get the first one's.
        return f"{self._testMethodName}_{uuid4()}"

    def setup_dist_env(self) -> None:
        """Set the variables of a launcher with one process, on another port each time."""
        # In the dict of the class: the port of the test before may still be taken.
        self.dist_cfg["MASTER_PORT"] += 1
        os.environ.update({name: str(value) for name, value in self.dist_cfg.items()})

    def clear_work_dir(self) -> None:
        """Empty the folder."""
        logging.shutdown()
        for path in Path(self.temp_dir.name).iterdir():
            if path.is_file():
                path.unlink()
            else:
                shutil.rmtree(path)
