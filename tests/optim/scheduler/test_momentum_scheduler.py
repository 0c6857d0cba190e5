"""Momentum, which is SGD's or the first of Adam's betas."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from mm2pl.optim import OptimWrapper
from mm2pl.optim.scheduler import LinearMomentum, ReduceOnPlateauMomentum, StepMomentum


def params() -> list[torch.nn.Parameter]:
    return [torch.nn.Parameter(torch.zeros(1))]


def test_schedules_sgds_momentum() -> None:
    optimizer = torch.optim.SGD(params(), lr=0.1, momentum=0.8)
    scheduler = StepMomentum(optimizer, step_size=1, gamma=0.5)
    optimizer.step()
    scheduler.step()
    assert optimizer.param_groups[0]["momentum"] == 0.4
    assert optimizer.param_groups[0]["lr"] == 0.1


@pytest.mark.parametrize("wrap", [lambda o: o, lambda o: OptimWrapper(optimizer=o)])
def test_schedules_adams_first_beta(wrap: Any) -> None:
    optimizer = torch.optim.Adam(params(), betas=(0.8, 0.99))
    scheduler = LinearMomentum(wrap(optimizer), start_factor=0.5, end=2)
    assert optimizer.param_groups[0]["betas"] == (0.4, 0.99)
    optimizer.step()
    scheduler.step()
    assert optimizer.param_groups[0]["betas"] == (0.8, 0.99)


def test_plateau_reduces_adams_first_beta() -> None:
    optimizer = torch.optim.Adam(params(), betas=(0.8, 0.99))
    scheduler = ReduceOnPlateauMomentum(optimizer, monitor="loss", patience=0, factor=0.5)
    for loss in (1.0, 2.0):
        scheduler.step({"loss": loss})
    assert optimizer.param_groups[0]["betas"] == (0.4, 0.99)


def test_refuses_an_optimizer_without_momentum() -> None:
    with pytest.raises(
        ValueError, match=r"optimizer must support momentum .* but Adagrad has none: use"
    ):
        StepMomentum(torch.optim.Adagrad(params()), step_size=1)
