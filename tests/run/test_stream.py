"""The data streams a run feeds to the Trainer."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count, islice
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader

from mm2pl.dataset import InfiniteSampler
from mm2pl.hooks import Hook
from mm2pl.run.stream import EvalStream, TrainStream
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


class Forever:
    """A sampler without end that does not say so."""

    def __len__(self) -> int:
        return 12

    def __iter__(self) -> Iterator[int]:
        return (index * index % 70 for index in count())


@pytest.mark.parametrize(
    "sampler", [InfiniteSampler(Points(), seed=1), Forever()], ids=["told", "untold"]
)
@pytest.mark.parametrize("workers", [0, 2])
def test_an_epoch_goes_on_in_an_endless_sampler(sampler: Any, workers: int, capsys: Any) -> None:
    loader = DataLoader(Points(), batch_size=4, sampler=sampler, num_workers=workers)
    expected = [batch["labels"].tolist() for batch in islice(iter(loader), 9)]
    stream = TrainStream(loader, length=3, endless=False)
    got, states = [], []
    for _ in range(3):
        got += [batch["labels"].tolist() for batch in islice(iter(stream), 3)]
        stream.finish()
        states.append(stream.state_dict())
    assert got == expected
    said = capsys.readouterr()
    assert (said.out + said.err).count("of train_dataloader never ends") == 1
    for epochs, state in enumerate(states[:2], start=1):
        resumed = TrainStream(loader, length=3, endless=False)
        resumed.load_state_dict(state)
        batches = [batch["labels"].tolist() for batch in islice(iter(resumed), 3)]
        assert batches == expected[3 * epochs : 3 * epochs + 3]


def test_an_epoch_of_an_endless_sampler_is_resumed_inside() -> None:
    loader = DataLoader(Points(), batch_size=4, sampler=InfiniteSampler(Points(), seed=1))
    expected = [batch["labels"].tolist() for batch in islice(iter(loader), 6)]
    stream = TrainStream(loader, length=3, endless=False)
    list(islice(iter(stream), 3))
    list(islice(iter(stream), 1))
    resumed = TrainStream(loader, length=3, endless=False)
    resumed.load_state_dict(stream.state_dict())
    assert [batch["labels"].tolist() for batch in islice(iter(resumed), 2)] == expected[4:6]
