"""Whole runs, bit for bit: every pair of an optimizer, a schedule, clipping, accumulation, …

The other runs of this folder are chosen by hand; these are drawn until every pair of two settings is
in at least one run. The network always has batch norm and dropout, the data random flips.
"""

from __future__ import annotations

import copy
import random
from itertools import combinations
from typing import Any

import pytest

from tests.scenarios import Scenario, assert_equal, record

pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("ignore")]

WARMUP = {"type": "LinearLR", "start_factor": 0.1, "by_epoch": False, "begin": 0, "end": 6}
COSINE = {"type": "CosineAnnealingLR", "by_epoch": True, "convert_to_iter_based": True}
RESTARTS = {"periods": [7, 11, 13], "restart_weights": [1, 0.5, 0.2], "eta_min_ratio": 0.01}

FACTORS: dict[str, dict[str, Any]] = {
    "optimizer": {
        "SGD": {"type": "SGD", "lr": 0.05, "momentum": 0.9, "weight_decay": 1e-4},
        "Adam": {"type": "Adam", "lr": 0.01, "weight_decay": 1e-4},
        "AdamW": {"type": "AdamW", "lr": 0.01, "weight_decay": 0.05},
        "RMSprop": {"type": "RMSprop", "lr": 0.003, "momentum": 0.8, "weight_decay": 1e-4},
    },
    "schedule": {
        "warm-up + multistep": [WARMUP, {"type": "MultiStepLR", "milestones": [1, 2]}],
        "converted cosine": [{**COSINE, "eta_min_ratio": 0.1}],
        "poly by iteration": {"type": "PolyLR", "by_epoch": False, "power": 0.9, "eta_min": 1e-4},
        "restarts": {"type": "CosineRestartLR", "by_epoch": False, **RESTARTS},
        "one-cycle": {"type": "OneCycleLR", "by_epoch": False, "eta_max": 0.02, "total_steps": 31},
        "plateau": {
            **{"type": "ReduceOnPlateauLR", "monitor": "accuracy", "rule": "greater"},
            **{"patience": 0, "factor": 0.5, "threshold_rule": "abs", "threshold": 0.01},
        },
        "momentum": [WARMUP, {"type": "StepMomentum", "step_size": 5, "by_epoch": False}],
    },
    "paramwise": {
        "none": None,
        "rules": {"norm_decay_mult": 0.0, "bias_lr_mult": 2.0},
        "custom keys": {"custom_keys": {"4": {"lr_mult": 0.1}, "1": {"decay_mult": 0.0}}},
    },
    "clip": {
        "none": None,
        "norm 1": {"max_norm": 1.0, "norm_type": 1},
        "norm 2": {"max_norm": 0.5},
        "norm inf": {"max_norm": 0.1, "norm_type": "inf"},
        "value": {"type": "value", "clip_value": 0.2},
        "bare value": {"clip_value": 0.02},
    },
    "accumulation": {"none": 1, "divides": 3, "does not divide": 4},
    "loop": {
        "epochs": {"by_epoch": True, "max_epochs": 3},  # 27 iterations
        "iterations": {"by_epoch": False, "max_iters": 30, "val_interval": 7},
    },
    "model": {"plain": "plain", "own train_step": "doubled_loss", "GAN": "pair"},
    "workers": {"0": 0, "2": 2},
}
Row = dict[str, str]
Pair = tuple[tuple[str, str], tuple[str, str]]


def all_pairs() -> set[Pair]:
    return {
        ((first, one), (second, other))
        for first, second in combinations(FACTORS, 2)
        for one in FACTORS[first]
        for other in FACTORS[second]
    }


def pairs(row: Row) -> set[Pair]:
    return set(combinations(row.items(), 2))


def covering_rows() -> list[Row]:
    """Draw rows, each time the one of fifty that has most pairs that are still missing.

    Starting workers takes longer than all the rest of a run, so there are few rows with them.
    """
    rng = random.Random(0)
    missing, rows = all_pairs(), []
    while missing:
        needed = dict(rng.choice(sorted(missing)))
        drawn = [
            {name: needed.get(name) or rng.choice(list(values)) for name, values in FACTORS.items()}
            for _ in range(50)
        ]
        gain = {i: len(pairs(r) & missing) - 4 * int(r["workers"]) for i, r in enumerate(drawn)}
        rows.append(drawn[max(gain, key=lambda index: gain[index])])
        missing -= pairs(rows[-1])
    return rows


ROWS = covering_rows()


def scenario(row: Row, package: str) -> Scenario:
    """Return the run of a row; MMEngine does not know a clip_value without a type."""
    chosen = copy.deepcopy({name: FACTORS[name][value] for name, value in row.items()})
    if package == "mmengine" and row["clip"] == "bare value":
        chosen["clip"]["type"] = "value"
    wrapper = {
        "optimizer": chosen["optimizer"],
        "paramwise_cfg": chosen["paramwise"],
        "clip_grad": chosen["clip"],
        "accumulative_counts": chosen["accumulation"],
    }
    other = {"optimizer": {"type": "Adam", "lr": 1e-3}}
    gan = row["model"] == "GAN"
    return Scenario(
        optim_wrapper={"generator": other, "discriminator": wrapper} if gan else wrapper,
        param_scheduler={"generator": [WARMUP], "discriminator": chosen["schedule"]}
        if gan
        else chosen["schedule"],
        train_cfg=chosen["loop"],
        model=chosen["model"],
        workers=chosen["workers"],
    )


def test_every_pair_is_in_a_row() -> None:
    assert set().union(*map(pairs, ROWS)) == all_pairs()


@pytest.mark.parametrize("row", ROWS, ids=[", ".join(row.values()) for row in ROWS])
def test_same_bits_as_mmengine(row, tmp_path):
    pytest.importorskip("mmengine")
    theirs = record("mmengine", scenario(row, "mmengine"), str(tmp_path / "theirs"))
    ours = record("mm2pl", scenario(row, "mm2pl"), str(tmp_path / "ours"))
    assert theirs["loss"], "MMEngine recorded nothing"
    assert_equal(ours, theirs)
