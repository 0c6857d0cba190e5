"""States of a file find their schedules by kind and arguments."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from mm2pl.optim import build_param_schedulers
from mm2pl.optim.scheduler.matching import matches

WARMUP = {"type": "LinearLR", "start_factor": 0.1, "by_epoch": False, "end": 5}
STEPS = {"type": "MultiStepLR", "milestones": [1, 2]}
LATER = {"type": "MultiStepLR", "milestones": [5, 6], "begin": 4}
DECAY = {"type": "ExponentialLR", "gamma": 0.9}
COSINE = {"type": "CosineAnnealingLR"}
MOMENTUM = {"type": "MultiStepMomentum", "milestones": [1, 2]}
AS_PARAM = {"type": "MultiStepParamScheduler", "param_name": "lr", "milestones": [1, 2]}


def states(*cfg: Any) -> list[dict[str, Any]]:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1, momentum=0.9)
    return [
        each.state_dict() for each in build_param_schedulers(list(cfg), optimizer, max_epochs=9)
    ]


TABLE: dict[str, tuple[list, list, list]] = {
    "the same list": ([WARMUP, STEPS], [WARMUP, STEPS], [0, 1]),
    "other arguments": ([{**STEPS, "gamma": 0.5, "milestones": [3]}], [STEPS], [0]),
    "another end": ([{**COSINE, "end": 30}], [COSINE], [0]),
    "one less": ([DECAY], [WARMUP, DECAY], [1]),
    "one more in front": ([WARMUP, DECAY], [DECAY], [None, 0]),
    "replaced": ([DECAY], [STEPS], [None]),
    "turned round": ([LATER, STEPS], [STEPS, LATER], [1, 0]),
    "the first of two is gone": ([LATER], [STEPS, LATER], [1]),
    "two alike": ([DECAY, DECAY], [DECAY, DECAY], [0, 1]),
    "another clock": ([{**DECAY, "by_epoch": False}], [DECAY], [None]),
    "another entry": ([MOMENTUM], [STEPS], [None]),
    "the general class": ([AS_PARAM], [STEPS], [0]),
}


@pytest.mark.parametrize(("own", "file", "expected"), TABLE.values(), ids=TABLE)
def test_the_state_of_the_same_kind_with_the_most_equal_arguments(own, file, expected):
    assert matches(states(*own), states(*file)) == expected


CLASSES = {
    "same": (["StepLR"], ["StepLR"], [0]),
    "general": (["StepParamScheduler"], ["StepLR"], [0]),
    "a user's": (["MyStepLR"], ["StepLR"], [None]),
}


@pytest.mark.parametrize(("own", "file", "expected"), CLASSES.values(), ids=CLASSES)
def test_class_names_of_newer_files_tell_more_than_attributes(own, file, expected):
    step = {"type": "StepLR", "step_size": 2}
    assert matches(states(step), states(step), (own, file)) == expected


@pytest.mark.parity
@pytest.mark.parametrize("cfg", [WARMUP, STEPS, DECAY, COSINE, MOMENTUM], ids=lambda c: c["type"])
def test_states_of_mmengine_are_of_the_same_kind(cfg):
    from mmengine.optim import OptimWrapper
    from mmengine.registry import PARAM_SCHEDULERS

    sgd = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1, momentum=0.9)
    theirs = PARAM_SCHEDULERS.build({**cfg, "optimizer": OptimWrapper(sgd)})
    assert matches(states(cfg), [theirs.state_dict()]) == [0]
