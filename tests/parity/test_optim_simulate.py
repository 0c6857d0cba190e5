"""``simulate`` against schedulers that MMEngine's Runner builds and steps."""

from __future__ import annotations

import random
import warnings
from typing import Any

import pytest

from mm2pl.optim import simulate
from tests.parity import optim_corpus

theirs = pytest.importorskip("mmengine.optim", reason="needs mmengine")
comparison = pytest.importorskip("tests.parity.test_optim_schedulers")
pytestmark = pytest.mark.parity
make_optimizer, random_policy = comparison.make_optimizer, comparison.random_policy
Stack = list[dict[str, Any]]


def random_config(rng: random.Random, max_epochs: int, epoch_length: int, by_epoch: bool) -> Stack:
    """Draw a ``param_scheduler`` of up to four schedules, as in a config."""
    stack: Stack = []
    for _ in range(rng.randint(0, 4)):
        clock = rng.random() < 0.5
        kind, args = random_policy(rng, clock)
        suffix = rng.choice(["LR", "LR", "Momentum", "ParamScheduler"])
        if suffix == "ParamScheduler":
            args["param_name"] = rng.choice(["lr", "weight_decay"])
        if clock and rng.random() < 0.5:
            args["convert_to_iter_based"] = True
        stack.append({"type": kind + suffix, "by_epoch": clock, **args})
    if rng.random() < 0.15:
        steps = max_epochs * epoch_length + 1
        args = {"eta_max": rng.uniform(0.1, 1), "total_steps": steps, "by_epoch": False}
        if by_epoch and max_epochs > 6 and rng.random() < 0.5:
            args |= {"by_epoch": True, "convert_to_iter_based": True, "total_steps": max_epochs + 1}
        stack.append({"type": "OneCycleLR", "pct_start": 0.4, **args})
    return stack


def live(cfg: Stack, kind: str, epochs: int, epoch_length: int, by_epoch: bool) -> dict[str, list]:
    """Return lr, momentum and weight decay during each iteration of a run of MMEngine's."""
    optimizer = make_optimizer(kind)
    del optimizer.param_groups[1]
    wrapper = theirs.OptimWrapper(optimizer)
    iters = epochs * epoch_length
    schedulers = optim_corpus.build(
        "mmengine", cfg, wrapper, epochs if by_epoch else 1, iters, by_epoch, epoch_length
    )
    seen: dict[str, list] = {"lr": [], "momentum": [], "weight_decay": []}
    for iteration in range(1, iters + 1):
        for name, values in seen.items():
            (group,) = optimizer.param_groups
            values.append(
                group["betas"][0] if name == "momentum" and "betas" in group else group[name]
            )
        clocks = [False, True] if by_epoch and iteration % epoch_length == 0 else [False]
        for clock in clocks:
            for scheduler in schedulers:
                if scheduler.by_epoch is clock:
                    scheduler.step()
    return seen


def outcome(function: Any, *args: Any, **kwargs: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return function(*args, **kwargs)
        except ZeroDivisionError:
            return "ZeroDivisionError"
        except ValueError:  # ours is of a kind of its own
            return "ValueError"


@pytest.mark.parametrize("part", range(4))
def test_random_configs(part: int) -> None:
    rng = random.Random(50 + part)
    for index in range(250):
        epochs, epoch_length = rng.randint(1, 9), rng.randint(1, 7)
        by_epoch = rng.random() < 0.7
        kind = rng.choice(["SGD", "AdamW"])
        cfg = random_config(rng, epochs, epoch_length, by_epoch)
        expected = outcome(live, cfg, kind, epochs, epoch_length, by_epoch)
        bases = {"lr": 0.1, "momentum": 0.9 if kind == "SGD" else 0.87, "weight_decay": 5e-4}
        for name, base in bases.items():
            more = {"param_name": name, "by_epoch": by_epoch}
            mine = outcome(simulate, cfg, base, epochs * epoch_length, epoch_length, **more)
            if isinstance(expected, str) or isinstance(mine, str):
                # Which schedules fail does not depend on what is looked at.
                assert mine == expected, (part, index, cfg)
            else:
                same = [value.hex() for value in map(float, expected[name])]
                assert [value.hex() for value in map(float, mine)] == same, (part, index, name, cfg)
