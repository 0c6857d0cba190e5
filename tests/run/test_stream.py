"""The data streams a run feeds to the Trainer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader

from mm2pl.hooks import Hook
from mm2pl.run.stream import EvalStream
from tests.scenarios import Points, Scenario, build


class Tidy:
    """A batch sampler that tidies up after its last batch, as MMDetection's ``AspectRatioBatchSampler`` does."""

    def __init__(self, passes: list[str]) -> None:
        self.passes = passes

    def __len__(self) -> int:
        return 3

    def __iter__(self) -> Iterator[list[int]]:
        self.passes.append("begun")
        for start in (0, 8, 16):
            yield list(range(start, start + 8))
        self.passes.append("ended")


@pytest.mark.filterwarnings("ignore:Converting a tensor with requires_grad")
@pytest.mark.parametrize("workers", [0, 1])
def test_a_loader_comes_to_its_end_in_every_epoch(tmp_path: Any, workers: int) -> None:
    passes: list[str] = []

    class Watch(Hook):
        def after_train_epoch(self, runner: Any) -> None:
            passes.append("after_train_epoch")

    book: dict[str, list] = {
        key: [] for key in ("loss", "lr", "momentum", "metrics", "place", "validated_at")
    }
    scenario = Scenario(
        optim_wrapper={"optimizer": {"type": "SGD", "lr": 0.1}},
        train_cfg={"by_epoch": True, "max_epochs": 2},
        custom_hooks=[Watch()],
    )
    loader = DataLoader(Points(), batch_sampler=Tidy(passes), num_workers=workers)
    build("mm2pl", scenario, str(tmp_path), book, train_dataloader=loader).train()
    assert len(book["loss"]) == 6
    assert passes == ["begun", "ended", "after_train_epoch"] * 2


def test_a_validation_loader_comes_to_its_end() -> None:
    passes: list[str] = []
    stream = iter(EvalStream(DataLoader(Points(), batch_sampler=Tidy(passes))))
    batches = [next(stream) for _ in range(3)]
    assert passes == ["begun", "ended"]
    assert torch.equal(batches[2]["labels"], Points().labels[16:24])
