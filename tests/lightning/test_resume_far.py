"""Resuming far into a large data set costs what resuming near its start costs: batches are skipped by index."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils.data import Dataset

from mm2pl.hooks import Hook
from tests.calls import calls
from tests.scenarios import Scenario, build

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

FAR = 100_000


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

    first: Any = None

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        type(self).first = (runner.iter, data_batch["inputs"][:, 0].tolist())

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        runner.train_loop.stop_training = runner.trainer.should_stop = True


def run_one_iteration(scenario: Scenario, work_dir: Any, **options: Any) -> None:
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
def test_far_is_as_near(tmp_path, scenario):
    saving = {"type": "CheckpointHook", "by_epoch": False, "interval": 1, "save_last": False}
    scenario.default_hooks = {"checkpoint": saving}
    run_one_iteration(scenario, tmp_path / "a")
    checkpoint = torch.load(tmp_path / "a" / "iter_1.pth", weights_only=True)
    scenario.default_hooks = {"checkpoint": None}
    made = {}
    for done in (1, 10, FAR):  # the first run makes what is made once in a process
        checkpoint["meta"]["iter"] = done
        (stream,) = checkpoint["mm2pl"]["stream"]  # of one process
        checkpoint["mm2pl"]["batch_idx"] = stream["consumed"] = done
        torch.save(checkpoint, tmp_path / "file.pth")
        Million.read = 0
        resume = {"load_from": str(tmp_path / "file.pth"), "resume": True}
        made[done] = calls(run_one_iteration, scenario, tmp_path / str(done), **resume)
        assert StopAtOnce.first[0] == done
        assert Million.read <= 16, "skipped samples were loaded"
    assert made[FAR] <= 1.05 * made[10]
