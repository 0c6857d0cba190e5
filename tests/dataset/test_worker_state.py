"""A pass that is continued in new processes, random augmentation in workers included."""

from __future__ import annotations

import io
import random
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, RandomSampler

from mm2pl.dataset import DefaultSampler, WorkerStates, build_dataloader, skip_batches
from mm2pl.dataset.utils import MissingSampleError
from mm2pl.dataset.worker_state import Reporting, Restoring

LENGTH, BATCH = 22, 3
BATCHES = 8


class Augmented:
    """Each sample depends on all that its worker has drawn before; every third draws nothing."""

    def __len__(self) -> int:
        return LENGTH

    def __getitem__(self, index: int) -> tuple:
        if index % 3 == 0:
            return (index, 0.0, 0.0, 0.0)
        return (index, random.gauss(0, 1), np.random.randn(), torch.rand(1).item())


def make(sampler: str, workers: int, persistent: bool, seed: int | None) -> DataLoader:
    dataset = Augmented()
    samplers = {
        "default": {"type": "DefaultSampler", "seed": 5},
        "random": RandomSampler(dataset),
        "infinite": {"type": "InfiniteSampler", "seed": 5},
    }
    config = {"dataset": dataset, "sampler": samplers[sampler], "batch_size": BATCH}
    return build_dataloader(
        {**config, "num_workers": workers, "persistent_workers": persistent}, seed=seed
    )


def in_a_file(state: dict) -> dict:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=True)


class Run:
    """Two epochs, from anywhere; ``at_open`` and ``now`` are states of the main process."""

    def __init__(self, loader: DataLoader) -> None:
        self.loader = loader
        self.workers = WorkerStates()

    def go(self, epoch: int, skip: int, stop: tuple[int, int] | None) -> tuple[list, dict]:
        batches = []
        for current in range(epoch, 2):
            if stop == (current, 0):
                return batches, self.state()
            if hasattr(self.loader.sampler, "set_epoch"):
                self.loader.sampler.set_epoch(current)
            if not skip or current > epoch:
                self.at_open = torch.get_rng_state()
                iterator = skip_batches(self.loader, 0, self.workers)
            else:
                iterator = self.iterator
            for number in range(skip if current == epoch else 0, BATCHES):
                if stop == (current, number):
                    return batches, self.state()
                batches.append(str(next(iterator)))
        return batches, {}

    def state(self) -> dict:
        workers = self.workers.state_dict()
        return in_a_file({"open": self.at_open, "now": torch.get_rng_state(), "workers": workers})

    def resume(self, epoch: int, skip: int, state: dict) -> tuple[list, dict]:
        self.workers.load_state_dict(state["workers"])
        if skip:
            if hasattr(self.loader.sampler, "set_epoch"):
                self.loader.sampler.set_epoch(epoch)
            torch.set_rng_state(state["open"])
            self.iterator = skip_batches(self.loader, skip, self.workers)
        torch.set_rng_state(state["now"])
        return self.go(epoch, skip, None)


@pytest.mark.parametrize(
    ("sampler", "workers", "persistent", "seed"),
    [
        ("default", 2, False, 1),
        ("default", 3, True, 1),
        ("random", 2, False, None),
        ("random", 3, True, None),
    ],
)
@pytest.mark.filterwarnings("ignore:This DataLoader will create 3 worker processes")
def test_a_continued_run_equals_an_uninterrupted_one(sampler, workers, persistent, seed):
    options = (sampler, workers, persistent, seed)
    torch.manual_seed(0)
    whole, _ = Run(make(*options)).go(0, 0, None)
    for stop in ((0, 1), (0, 5), (1, 0), (1, 1), (1, 4)):
        torch.manual_seed(0)
        before, state = Run(make(*options)).go(0, 0, stop)
        torch.manual_seed(77)
        assert before == whole[: len(before)]
        epoch, skip = stop
        after, _ = Run(make(*options)).resume(epoch, skip, state)
        assert after == whole[len(before) :], stop


def test_batches_are_what_the_loader_yields():
    loader = make("default", 2, False, 1)
    plain = [str(batch) for batch in loader]
    states = WorkerStates()
    for _ in range(2):
        assert [str(batch) for batch in skip_batches(loader, 0, states)] == plain
    assert sorted(states.states) == [0, 1]
    assert [str(batch) for batch in loader] == plain  # nothing of it stays in the loader


def test_without_workers_there_is_nothing_to_tell():
    states = WorkerStates()
    loader = DataLoader(range(4), batch_size=2, sampler=DefaultSampler(range(4), shuffle=False))
    assert [b.tolist() for b in skip_batches(loader, 1, states)] == [[2, 3]]
    assert states.state_dict() == {"lived_on": False, "states": {}}


def test_a_state_is_told_only_if_it_changed():
    reporting = Reporting(list)
    assert "state" in reporting([1])
    assert "state" not in reporting([2])
    random.random()
    report = reporting([3])
    drawn = random.random()
    assert report["batch"] == [3]
    assert reporting([]) == {}
    Restoring(None, {4: report["state"]})(4)
    assert random.random() == drawn
    seeds = []
    Restoring(seeds.append, {4: report["state"]})(5)
    assert seeds == [5]
    assert random.random() != drawn


@pytest.mark.parametrize(
    ("persistent", "alive", "loaded", "lived_on"),
    [
        (True, True, False, True),
        (True, False, True, True),  # they lived in the process that wrote the checkpoint
        (True, False, False, False),  # a hook has sent them home
        (False, False, True, False),
    ],
)
def test_new_workers_begin_with_seeds_of_their_own(persistent, alive, loaded, lived_on):
    states = WorkerStates()
    told = Reporting(list)([1])["state"]
    states.states[0] = told
    states.loaded = loaded
    states.new_pass(persistent, alive=alive)
    assert states.lived_on is lived_on
    assert states.states == ({0: told} if lived_on else {})
    assert not states.loaded


class Gaps(Augmented):
    """Sample 7 is missing."""

    def __getitem__(self, index: int) -> Any:
        return None if index == 7 else {"x": torch.ones(1)}


@pytest.mark.parametrize("persistent", [False, True])
@pytest.mark.parametrize("skip", [0, 1])
def test_a_missing_sample_is_named_by_its_index_in_the_data_set(persistent, skip):
    config = {"dataset": Gaps(), "batch_size": BATCH, "persistent_workers": persistent}
    loader = build_dataloader({**config, "num_workers": 2}, seed=0)
    workers = WorkerStates()
    batches = skip_batches(loader, skip, workers)
    with pytest.raises(
        MissingSampleError, match=r"^sample 7 of the data set is None → the data"
    ) as error:
        list(batches)
    assert "Traceback" not in str(error.value)
    with pytest.raises(MissingSampleError, match=r"^sample \d of .* is None"):
        list(skip_batches(loader, 0, WorkerStates()))
