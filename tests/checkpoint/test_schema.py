from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch

from mm2pl.checkpoint.loader import CheckpointLoader
from mm2pl.checkpoint.reader import CheckpointError
from mm2pl.checkpoint.schema import (
    MAPPING,
    NUMBER,
    REQUIRED,
    SERIES,
    SWITCHES,
    TABLE,
    TENSOR,
    TEXT,
    check,
)

GROUP = {
    **{"params": [0, 1], "lr": 0.1, "initial_lr": 0.1, "weight_decay": 0},
    **dict.fromkeys(SWITCHES, False),
}
WINDOW = {"inner_count": 3, "grads": [{"0.0": torch.ones(2)}, {}]}
STATE = {
    "param_groups": [GROUP],
    "accumulation": WINDOW,
    "state": {0: {"step": torch.ones(())}},
}
GOOD: dict[str, Any] = {
    "state_dict": {"w": torch.ones(1)},
    "ema_state_dict": {"w": torch.ones(1)},
    "meta": {"epoch": 1, "iter": np.int64(2), "seed": None, "hook_msgs": {}},
    "message_hub": {
        "log_scalars": {},
        "runtime_info": {
            **{"epoch": 1, "iter": 2, "max_epochs": 3, "max_iters": 9, "best_score": 0.5},
            **{"best_ckpt": "b.pth", "last_ckpt": "a.pth"},
            **{"keep_ckpt_ids": [1], "outdated_ckpts": []},
        },
        "resumed_keys": {"epoch": True},
    },
    "optimizer": STATE,
    "optimizer_states": [copy.deepcopy(STATE)],
    "param_schedulers": [{"last_step": 1}],
    **{"epoch": 1, "global_step": 2, "pytorch-lightning_version": "2.6.0"},
    "loops": {"fit_loop": {}},
    **{
        "callbacks": {},
        "lr_schedulers": [],
        "hyper_parameters": {},
        "datamodule_hyper_parameters": {},
        "hparams_name": "kwargs",
        "mm2pl_facts": {
            **{"loop": "by epoch", "max_epochs": 3, "max_iters": 27, "epoch_length": 9},
            **{"batch_size": 8, "data_length": 70, "seed": 0, "processes": 1},
            "versions": {"torch": "2.6"},
            "optimizers": {"": "SGD"},
            "schedules": {"": ["StepLR"]},
        },
    },
    "mm2pl": {
        "batch_idx": 0,
        "ticks_due": {},
        "loops": {},
        **{"epoch_unfinished": True, "validation_pending": False},
        "stream": [{"passes": 1, "consumed": 2, "before": 0}],
        **{"workers": [{"states": {}}], "rng": [None], "buffers": []},
        "histories": {
            "lr": {"log": torch.ones(2), "count": torch.ones(2), "max_length": 9, "resumed": None}
        },
    },
}
WRONG = {"text": "three", "number": -1.5, "list": [object], "dict": {3: "x"}, "two": torch.ones(2)}


TAKEN = {MAPPING: dict, NUMBER: float, TEXT: str, SERIES: torch.Tensor, TENSOR: torch.Tensor}
"""Which of these a rule takes all the same."""


def put(content: Any, path: list[str], value: object) -> list[str] | None:
    """Put a value where a path of the table leads; return the path as keys, None if nothing is there."""
    key: Any = path[0]
    if key == "*":
        key = next(iter(content), None) if isinstance(content, dict) else 0
    if not isinstance(content, dict | list) or (isinstance(content, dict) and key not in content):
        return None
    if len(path) == 1:
        content[key] = value
        return [str(key)]
    rest = put(content[key], path[1:], value)
    return None if rest is None else [str(key), *rest]


def test_what_is_right_is_accepted():
    assert check(GOOD, "x.pth") is None
    assert check({"w": torch.ones(1), "meta": 5}, "x.pth") is None  # a bare state dict
    several = {"g": STATE, "d": STATE}
    assert check({**GOOD, "optimizer": several, "param_schedulers": {"g": [{}]}}, "x.pth") is None
    assert check({key: GOOD[key] if key in REQUIRED else None for key in GOOD}, "x") is None


@pytest.mark.parametrize("value", WRONG.values(), ids=WRONG)
@pytest.mark.parametrize("path", TABLE)
def test_each_place_of_the_table(path, value):
    content = copy.deepcopy(GOOD)
    if path.startswith("optimizer.*"):
        content["optimizer"] = {"g": copy.deepcopy(STATE)}
    place = put(content, path.split("."), value)
    assert place is not None
    taken = isinstance(value, TAKEN.get(TABLE[path], ()))
    assert TABLE[path].accepts(value) is taken
    if taken:
        return
    with pytest.raises(CheckpointError, match=rf"^x\.pth: {'.'.join(place)} is .* → .* is needed$"):
        check(content, "x.pth")


@pytest.mark.parametrize("value", [None, [], 3])
def test_weights_are_needed(tmp_path, value):
    torch.save({"state_dict": value, "meta": {}}, tmp_path / "x.pth")
    with pytest.raises(
        CheckpointError, match=r"x\.pth: state_dict is .* → a dict by names is needed"
    ):
        CheckpointLoader.load_checkpoint(str(tmp_path / "x.pth"))


def test_the_message_is_short_whatever_was_found():
    value: Any = (1,)
    for _ in range(60):
        value = (value, value)
    with pytest.raises(CheckpointError, match=r"meta\.epoch is \(\(.*\.\.\.") as error:
        check({"state_dict": {}, "meta": {"epoch": value}}, "x.pth")
    assert len(str(error.value)) < 200
