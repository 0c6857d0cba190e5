from __future__ import annotations

import math

import pytest
import torch

from mm2pl.hooks import LoggerHook
from mm2pl.hooks.loss_watch import POINTS, LossWatch
from mm2pl.logging import MessageHub


def lines(name: str, losses: dict[str, list[float]], every: int = 2) -> list[str | None]:
    """Return what is said at each line of a log that has one every so many iterations."""
    hub, watch, said = MessageHub(name), LossWatch(), []
    for i, values in enumerate(zip(*losses.values(), strict=True), 1):
        for key, value in zip(losses, values, strict=True):
            hub.update_scalar(f"train/{key}", torch.tensor(value))
        if i % every == 0:
            shown = {key: hub.get_scalar(f"train/{key}").mean(every) for key in losses}
            said.append(watch.look(shown, lambda: hub.log_scalars, i))
    return said


BAD = math.nan


def test_it_is_said_once_after_some_lines_with_where_it_began():
    losses = {
        "loss": [1.0, 1.0, 1.0, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD],
        "loss_cls": [1.0] * 12,
        "loss_box": [1.0, 1.0, 1.0, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD],
        "loss_late": [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, BAD, BAD, BAD, BAD, BAD, BAD],
    }
    said = lines("began", losses)
    assert [text is not None for text in said] == [False, False, False, True, False, False]
    assert said[3].startswith("loss_box is nan since iteration 4, for 5 iterations now: ")


@pytest.mark.parametrize(
    ("losses", "expected"),
    [
        ({"loss": [math.inf] * 6}, "loss is inf since iteration 1"),
        ({"loss": [1.0, BAD, 1.0, 1.0, 1.0, BAD]}, None),
        ({"loss": [BAD, BAD, BAD, BAD, 1.0, 1.0]}, None),
        ({"loss": [1.0] * 6, "accuracy": [BAD] * 6}, None),
    ],
    ids=["inf", "now-and-then", "recovered", "no-loss"],
)
def test_what_counts(losses, expected):
    last = lines("counts", losses)[POINTS - 1]
    assert (last is None) == (expected is None)
    assert (last or "").startswith(expected or "")


def test_the_log_says_it(make_runner):
    runner = make_runner(LoggerHook(interval=1), epochs=2)
    runner.log_processor.get_log_after_iter = lambda r, i, mode: ({"loss": BAD}, "line")
    for _ in range(6):
        runner.message_hub.update_scalar("train/loss", BAD)
    runner.train()
    assert sum("loss is nan since iteration" in line for line in runner.logger) == 1
