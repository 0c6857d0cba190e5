"""Resuming far into a large data set costs what starting costs: batches are skipped by index."""

from __future__ import annotations

import time
from typing import Any

import pytest
import torch
from torch.utils.data import Dataset

from mm2pl.hooks import Hook
from tests.scenarios import Scenario, build

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

DONE = 100_000


class Million(Dataset):
    """A million samples; says how often it was read."""

    read = 0

    def __len__(self) -> int:
        return 1_000_000

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        type(self).read += 1
        return {"inputs": torch.full((8,), index / 1e6), "labels": torch.tensor(index % 4)}


class StopAtOnce(Hook):
    """Note when the first iteration begins, and end the run after it."""

    began = 0.0
    first: Any = None

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        type(self).began = time.process_time()
        type(self).first = (runner.iter, data_batch["inputs"][:, 0].tolist())

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        runner.train_loop.stop_training = runner.trainer.should_stop = True


def time_to_first_iteration(scenario: Scenario, work_dir: Any, **options: Any) -> float:
    loader = {
        "batch_size": 8,
        "num_workers": 0,
        "dataset": Million(),
        "sampler": dict(scenario.sampler),
        "collate_fn": {"type": "default_collate"},
    }
    nothing: dict[str, list] = {k: [] for k in ("loss", "lr", "momentum", "place")}
    scenario.custom_hooks = [StopAtOnce()]
    no_validation = {"val_dataloader": None, "val_cfg": None, "val_evaluator": None}
    began = time.process_time()
    runner = build(
        "mm2pl",
        scenario,
        str(work_dir),
        nothing,
        train_dataloader=loader,
        **no_validation,
        **options,
    )
    runner.train()
    return StopAtOnce.began - began


@pytest.mark.parametrize(
    "scenario",
    [
        Scenario(
            optim_wrapper={"optimizer": {"type": "SGD", "lr": 0.01}},
            train_cfg={"by_epoch": False, "max_iters": 200_000},
            sampler={"type": "InfiniteSampler", "shuffle": True},
        ),
        Scenario(
            optim_wrapper={"optimizer": {"type": "SGD", "lr": 0.01}},
            train_cfg={"by_epoch": True, "max_epochs": 2},
        ),
    ],
    ids=["iterations", "inside an epoch"],
)
def test_resuming_is_as_fast_as_starting(tmp_path, scenario):
    saving = {"type": "CheckpointHook", "by_epoch": False, "interval": 1, "save_last": False}
    scenario.default_hooks = {"checkpoint": saving}
    time_to_first_iteration(scenario, tmp_path / "a")
    checkpoint = torch.load(tmp_path / "a" / "iter_1.pth", weights_only=True)
    checkpoint["meta"]["iter"] = DONE
    (stream,) = checkpoint["mm2pl"]["stream"]  # of one process
    checkpoint["mm2pl"]["batch_idx"] = stream["consumed"] = DONE
    torch.save(checkpoint, tmp_path / "far.pth")

    scenario.default_hooks = {"checkpoint": None}
    resume = {"load_from": str(tmp_path / "far.pth"), "resume": True}
    starts, resumes = [], []
    for attempt in range(5):
        starts.append(time_to_first_iteration(scenario, tmp_path / f"start{attempt}"))
        Million.read = 0
        resumes.append(time_to_first_iteration(scenario, tmp_path / f"resume{attempt}", **resume))
        assert StopAtOnce.first[0] == DONE
        assert Million.read <= 16, "skipped samples were loaded"
    assert min(resumes) <= 1.2 * min(starts)
