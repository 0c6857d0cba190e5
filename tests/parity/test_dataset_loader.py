"""Loaders from the same dict give the same batches and draw the same random numbers."""

from __future__ import annotations

import random
from collections import namedtuple
from functools import partial

import numpy as np
import pytest
import torch

from mm2pl import dataset as ours

pytestmark = pytest.mark.parity
theirs = pytest.importorskip("mmengine.dataset")
runner = pytest.importorskip("mmengine.runner")

Point = namedtuple("Point", "x y")


class Random:
    """Samples that depend on the random state of the process that loads them."""

    def __len__(self) -> int:
        return 11

    def __getitem__(self, index: int) -> dict:
        drawn = (random.random(), np.random.rand(), torch.rand(1).item())
        return {"index": index, "drawn": drawn, "name": str(index)}


CONFIGS = {
    "default": {"sampler": {"type": "DefaultSampler"}, "batch_size": 4},
    "in order": {"sampler": {"type": "DefaultSampler", "shuffle": False}, "drop_last": True},
    "own seed": {"sampler": {"type": "DefaultSampler", "seed": 3, "round_up": False}},
    "stacked": {"sampler": {"type": "DefaultSampler"}, "collate_fn": {"type": "default_collate"}},
    "workers": {"sampler": {"type": "DefaultSampler"}, "num_workers": 2, "batch_size": 3},
    "quiet": {
        "sampler": {"type": "DefaultSampler"},
        "num_workers": 1,
        "persistent_workers": True,
        "disable_subprocess_warning": True,
    },
    "batches": {"sampler": {"type": "DefaultSampler"}, "num_batch_per_epoch": 2, "batch_size": 3},
}


def run(build, config, seed, diff_rank_seed) -> tuple:
    np.random.seed(1)
    random.seed(1)
    torch.manual_seed(1)
    quiet = {
        k: v for k, v in config.items() if seed is not None or k != "disable_subprocess_warning"
    }
    loader = build({"dataset": Random(), **quiet}, seed=seed, diff_rank_seed=diff_rank_seed)
    batches = [str(batch) for _ in range(2) for batch in loader]
    return batches, len(loader), random.random(), np.random.rand(), torch.rand(1).item()


@pytest.mark.parametrize(("seed", "diff_rank_seed"), [(7, False), (7, True), (None, False)])
@pytest.mark.parametrize("name", CONFIGS)
def test_batches(name, seed, diff_rank_seed):
    build = partial(run, config=CONFIGS[name], seed=seed, diff_rank_seed=diff_rank_seed)
    assert build(ours.build_dataloader) == build(runner.Runner.build_dataloader)


BATCHES = [
    [1, 2.5],
    ["a", "b"],
    [(1, "a"), (2, "b")],
    [[1, {"x": 2}], [3, {"x": 4}]],
    [Point(1, (2, 3)), Point(4, (5, 6))],
    [{"x": torch.ones(2), "y": np.zeros(2), "z": b"s"}] * 3,
    [{"x": [[1], [2]], "y": []}] * 2,
    [range(3), range(3)],
    [[], []],
]


@pytest.mark.parametrize("name", ["pseudo_collate", "default_collate"])
@pytest.mark.parametrize("batch", BATCHES, ids=str)
def test_collate(name, batch):
    mine, reference = (getattr(package, name)(batch) for package in (ours, theirs))
    assert str(mine) == str(reference)
    assert type(mine) is type(reference)


def test_worker_seeds():
    drawn = []
    for package in (ours, theirs):
        package.worker_init_fn(3, num_workers=4, rank=2, seed=11)
        drawn.append((random.random(), np.random.rand(), torch.rand(1).item()))
    assert drawn[0] == drawn[1]


def test_their_elements_and_samplers_are_accepted():
    element = pytest.importorskip("mmengine.structures").BaseDataElement()
    assert ours.default_collate([{"s": element}] * 2) == {"s": [element, element]}
    loader = ours.build_dataloader(
        {"dataset": Random(), "sampler": theirs.DefaultSampler(Random(), seed=1), "batch_size": 4}
    )
    whole = [batch["index"] for batch in loader]
    assert [batch["index"] for batch in ours.skip_batches(loader, 2)] == whole[2:]
