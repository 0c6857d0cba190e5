"""LogProcessor and LoggerHook next to MMEngine's, byte for byte, over random histories."""

from __future__ import annotations

import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from mm2pl.hooks import LoggerHook
from mm2pl.logging import MessageHub
from mm2pl.run.log_processor import LogProcessor

pytestmark = pytest.mark.parity
their_runner = pytest.importorskip("mmengine.runner")
their_hooks = pytest.importorskip("mmengine.hooks")
their_logging = pytest.importorskip("mmengine.logging")


def runner_for(hub, rng, trains):
    rng = random.Random(rng)
    sizes = {mode: rng.choice([1, 7, 20, 1563]) for mode in ("train", "val", "test")}
    loops = {f"{m}_loop": SimpleNamespace(dataloader=range(n)) for m, n in sizes.items()}
    numbers = ("epoch", "iter", "max_epochs", "max_iters")
    return SimpleNamespace(
        message_hub=hub,
        model=torch.nn.Linear(1, 1),
        _train_loop=loops["train_loop"] if trains else None,
        **loops,
        **{name: rng.choice([0, 8, 99, 1999, 160000]) for name in numbers},
        **{f"{m}_dataloader": range(n) for m, n in sizes.items()},
    )


def fill(hub, rng):
    rng = random.Random(rng)
    names = ["lr", "base_lr", "d.lr", "time", "data_time", "loss", "loss_cls", "acc", "grad_norm"]
    for mode in ("train", "val", "test"):
        for name in rng.sample(names, rng.randint(0, len(names))) + ["n"] * (rng.random() < 0.5):
            for _ in range(rng.randint(1, 25)):
                value = rng.choice([rng.random(), 10 ** rng.uniform(-8, 8), rng.randint(0, 9)])
                count = rng.choice([1, 1, 3])
                kind = rng.choice([lambda v: v, np.float64, lambda v: torch.tensor(float(v))])
                hub.update_scalar(f"{mode}/{name}", kind(value), count)
        if rng.random() < 0.4:
            hub.update_info(f"{mode}/table", rng.choice(["a", [1, 2], np.eye(2), torch.ones(2)]))
    if rng.random() < 0.8:
        hub.update_info("eta", rng.uniform(0, 1e6))


def arguments_for(rng):
    rng = random.Random(rng)
    by_epoch = rng.random() < 0.6
    windows = [2, 1000, "global", *(["epoch"] if by_epoch else [])]
    custom = [
        {
            "data_src": source,
            "method_name": rng.choice(["mean", "max", "min"]),
            "window_size": rng.choice(windows),
            **({"log_name": f"{source}_{i}"} if i else {}),
        }
        for i, source in enumerate(rng.choices(["loss", "time", "acc", "nothing"], k=3))
    ]
    return {
        "by_epoch": by_epoch,
        "window_size": rng.choice([1, 10, 50]),
        "num_digits": rng.choice([2, 4, 6]),
        "log_with_hierarchy": rng.random() < 0.4,
        "custom_cfg": rng.choice([None, custom]),
        **({"mean_pattern": "acc"} if rng.random() < 0.3 else {}),
    }


def plain(tag):
    return [(key, str(value), isinstance(value, float)) for key, value in tag.items()]


@pytest.mark.parametrize("seed", range(120))
def test_lines_and_scalars(seed):
    outcomes = []
    for processor, hub in (
        (LogProcessor, MessageHub("ours")),
        (their_runner.LogProcessor, their_logging.MessageHub("theirs")),
    ):
        fill(hub, seed)
        runner = runner_for(hub, seed, trains=seed % 3 != 0)
        formatter = processor(**arguments_for(seed))
        index = seed % 7
        lines = []
        for mode in ("train", "val", "test"):
            if mode == "train" and runner._train_loop is None:
                continue
            tag, line = formatter.get_log_after_iter(runner, index, mode)
            lines.append((line, plain(tag)))
        for mode in ("val", "test"):
            tag, line = formatter.get_log_after_epoch(runner, 9, mode, seed % 2 == 0)
            lines.append((line, plain(tag)))
        outcomes.append(lines)
    assert outcomes[0] == outcomes[1]


@pytest.mark.parametrize("seed", range(30))
def test_when_the_logger_hook_speaks(seed):
    rng = random.Random(seed)
    arguments = {
        "interval": rng.choice([1, 2, 3, 10]),
        "ignore_last": rng.random() < 0.5,
        "interval_exp_name": rng.choice([3, 1000]),
        "log_metric_by_epoch": rng.random() < 0.5,
    }
    length, epochs = rng.choice([1, 2, 5, 10, 13]), 3
    outcomes = []
    for hook in (LoggerHook(**arguments), their_hooks.LoggerHook(**arguments)):
        heard: list = []
        runner = SimpleNamespace(
            timestamp="t",
            experiment_name="e",
            epoch=0,
            iter=0,
            train_dataloader=range(length),
            val_dataloader=range(length),
            logger=SimpleNamespace(info=heard.append),
            visualizer=SimpleNamespace(add_scalars=lambda *a, h=heard, **k: h.append((a, k))),
            log_processor=SimpleNamespace(
                get_log_after_iter=lambda r, i, m: ({"i": i}, f"{m}{i}"),
                get_log_after_epoch=lambda r, i, m: ({"n": i}, f"{m}of{i}"),
            ),
        )
        runner._train_loop = object()
        hook.before_run(runner)
        for _ in range(epochs):
            for idx in range(length):
                hook.after_train_iter(runner, idx)
                runner.iter += 1
            runner.epoch += 1
            for idx in range(length):
                hook.after_val_iter(runner, idx)
            hook.after_val_epoch(runner, {})
        outcomes.append(heard)
    assert outcomes[0] == outcomes[1]
