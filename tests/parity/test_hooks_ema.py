"""EMAHook and EarlyStoppingHook next to MMEngine's, bit for bit."""

from __future__ import annotations

import copy
import random
import warnings
from types import SimpleNamespace

import pytest
import torch

from mm2pl.hooks import EarlyStoppingHook, EMAHook

pytestmark = pytest.mark.parity
theirs = pytest.importorskip("mmengine.hooks")


def model():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))


def drive(hook, net, epochs=3, batches=4):
    """Perturb the weights each iteration, look at them in validation, save at the end."""
    generator = torch.Generator().manual_seed(1)
    runner = SimpleNamespace(
        model=net, epoch=0, iter=0, max_epochs=epochs, max_iters=epochs * batches, _resume=True
    )
    seen = []
    hook.before_run(runner)
    hook.before_train(runner)
    for _ in range(epochs):
        for idx in range(batches):
            for parameter in net.parameters():
                parameter.data += torch.randn(parameter.shape, generator=generator)
            net.train()(torch.randn(5, 3, generator=generator))
            hook.after_train_iter(runner, idx)
            runner.iter += 1
        runner.epoch += 1
        hook.before_val_epoch(runner)
        seen += [value.clone() for value in net.state_dict().values()]
        hook.after_val_epoch(runner)
        seen += [value.clone() for value in net.state_dict().values()]
    checkpoint = {"state_dict": copy.deepcopy(net.state_dict())}
    hook.before_save_checkpoint(runner, checkpoint)
    seen += [*checkpoint["state_dict"].values(), *checkpoint["ema_state_dict"].values()]
    keys = [*checkpoint["state_dict"], *checkpoint["ema_state_dict"]]
    hook.after_load_checkpoint(runner, checkpoint)
    seen += [*checkpoint["state_dict"].values(), *hook.ema_model.state_dict().values()]
    return keys, seen


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"momentum": 0.3, "update_buffers": True},
        {"begin_iter": 5},
        {"begin_epoch": 2, "interval": 2},
        {"ema_type": "StochasticWeightAverage"},
        {"ema_type": "MomentumAnnealingEMA", "gamma": 3},
    ],
    ids=str,
)
def test_averages(arguments):
    ours = drive(EMAHook(**arguments), model())
    other = drive(theirs.EMAHook(**arguments), model())
    assert ours[0] == other[0]
    assert all(torch.equal(a, b) for a, b in zip(ours[1], other[1], strict=True))


@pytest.mark.parametrize("seed", range(40))
def test_early_stopping(seed):
    rng = random.Random(seed)
    arguments = {
        "monitor": "acc",
        "rule": rng.choice([None, "greater", "less"]),
        "min_delta": rng.choice([0.0, 0.1, 0.3]),
        "patience": rng.choice([1, 2, 5]),
        "check_finite": rng.random() < 0.5,
        "stopping_threshold": rng.choice([None, 0.9, 0.05]),
    }
    nan = rng.choice([0.5, 0.5, float("inf")])
    scores = [rng.choice([rng.random(), nan, 0.5]) for _ in range(12)]
    outcomes = []
    for hook in (EarlyStoppingHook(**arguments), theirs.EarlyStoppingHook(**arguments)):
        lines: list[str] = []
        runner = SimpleNamespace(
            train_loop=SimpleNamespace(stop_training=False),
            logger=SimpleNamespace(info=lines.append),
        )
        trace = []
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for score in scores:
                hook.after_val_epoch(runner, {"acc": score})
                trace.append((runner.train_loop.stop_training, hook.wait_count, hook.best_score))
        outcomes.append((trace, lines))
    assert str(outcomes[0]) == str(outcomes[1])
