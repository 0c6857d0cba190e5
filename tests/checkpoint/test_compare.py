"""The lines of "checkpoint ↔ this run"."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from mm2pl.checkpoint.compare import (
    FILE,
    HERE,
    KEY,
    block,
    compare,
    facts_of_file,
    groups_of,
    schedule_lines,
)

GROUP = {"lr": 0.01, "initial_lr": 0.1, "weight_decay": 0.0, "params": [0]}
RUN: dict[str, Any] = {
    "loop": "by epoch",
    "max_epochs": 3,
    "max_iters": 30,
    "epoch_length": 10,
    "batch_size": 8,
    "data_length": 80,
    "seed": 1,
    "processes": 2,
    "versions": {"mm2pl": "1", "torch": "2"},
    "optimizers": {"": "SGD"},
    "groups": {"": groups_of([GROUP])},
}

TABLE = {
    "nothing": ({}, []),
    "loop": (
        {"loop": "by iteration"},
        ["loop: checkpoint by epoch ↔ here by iteration → this run's"],
    ),
    "length": (
        {"max_epochs": 6, "max_iters": 60},
        ["length: checkpoint 3 epochs, 30 iterations ↔ here 6 epochs, 60 iterations → this run's"],
    ),
    "batches": (
        {"batch_size": 4, "epoch_length": 20, "data_length": 81},
        [
            "epoch length: checkpoint 10 iterations ↔ here 20 iterations → this run's",
            "batch size: checkpoint 8 ↔ here 4 → this run's",
            "data set: checkpoint 80 samples ↔ here 81 samples → this run's",
        ],
    ),
    "seed": ({"seed": 2}, ["seed: checkpoint 1 ↔ here 2 → the checkpoint's"]),
    "processes": ({"processes": 1}, ["processes: checkpoint 2 ↔ here 1 → this run's"]),
    "versions": (
        {"versions": {"mm2pl": "1", "torch": "3"}},
        ["versions: checkpoint mm2pl 1, torch 2 ↔ here mm2pl 1, torch 3 → this run's"],
    ),
    "class": (
        {"optimizers": {"": "NAdam"}},
        ["optimizer class: checkpoint SGD ↔ here NAdam → this run's"],
    ),
    "rates": (
        {"groups": {"": [{"lr": 0.2, "weight_decay": 0.5}]}},
        [
            "lr: checkpoint 0.1 ↔ here 0.2 → the checkpoint's",
            "weight_decay: checkpoint 0.0 ↔ here 0.5 → the checkpoint's",
        ],
    ),
    "not known here": ({"batch_size": None, "seed": None}, []),
}


@pytest.mark.parametrize(("other", "expected"), TABLE.values(), ids=TABLE)
def test_each_fact_that_differs_has_a_line(other, expected):
    assert compare(RUN, {**RUN, **other}) == expected


def test_rates_of_several_optimizers_are_named_and_the_choice_told():
    file = {"groups": {"g": [{"lr": 1, "weight_decay": 0}], "d": [{"lr": 2, "weight_decay": 0}]}}
    here = {"groups": {"g": [{"lr": 3, "weight_decay": 0}], "d": [{"lr": 2, "weight_decay": 0}]}}
    assert compare(file, here, {"lr": HERE}) == ["g: lr: checkpoint 1 ↔ here 3 → this run's"]


FILES = {
    "of this version": ({KEY: {"batch_size": 8}}, {"batch_size": 8, "groups": {}}),
    "MMEngine's": (
        {
            "meta": {"seed": 5},
            "message_hub": {"runtime_info": {"max_epochs": 3, "max_iters": 30, "iter": 9}},
            "optimizer": {"state": {}, "param_groups": [GROUP]},
        },
        {"max_epochs": 3, "max_iters": 30, "seed": 5}
        | {"groups": {"": [{"lr": 0.1, "weight_decay": 0.0}]}},
    ),
    "two optimizers": (
        {"optimizer": {"a": {"param_groups": [GROUP]}}},
        {"groups": {"a": [{"lr": 0.1, "weight_decay": 0.0}]}},
    ),
    "of Lightning": ({"state_dict": {}, "epoch": 1}, {"groups": {}}),
}


@pytest.mark.parametrize(("checkpoint", "expected"), FILES.values(), ids=FILES)
def test_facts_are_read_where_a_file_has_them(checkpoint, expected):
    assert facts_of_file(checkpoint) == expected


def test_schedules():
    steps = {"milestones": Counter([2]), "end": 3}
    pairs = [
        ("MultiStepLR", {"milestones": {4: 1}, "end": 3}, steps),
        ("StepLR", {"end": 3}, {"end": 3}),
        ("PolyLR", None, {"end": 3}),
    ]
    assert schedule_lines(pairs, ["LinearLR"], FILE, "begins now") == [
        "schedule MultiStepLR: checkpoint milestones={4: 1} ↔ here milestones={2: 1} → the checkpoint's",
        "schedule PolyLR: not in the checkpoint → begins now",
        "schedule LinearLR of the checkpoint: not in this run → dropped",
    ]


def test_one_line_where_nothing_differs_and_a_block_else():
    assert block([]).count("\n") == 0
    assert block(["a", "b"]).splitlines()[1:] == ["  a", "  b"]
