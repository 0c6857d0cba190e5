"""Reducing when a metric stalls."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from mm2pl.logging import MMLogger
from mm2pl.optim import OptimWrapper
from mm2pl.optim.scheduler import ReduceOnPlateauLR


def sgd(groups: int = 1) -> torch.optim.SGD:
    return torch.optim.SGD(
        [{"params": [torch.nn.Parameter(torch.zeros(1))]} for _ in range(groups)], lr=1.0
    )


LOSSES = [1.0, 0.9, 0.9, 0.95, 0.9, 0.5, 0.5, 0.5, 0.5]
PLAYED = {
    "patience 0": ({"patience": 0}, [1, 1, 0.5, 0.25, 0.125, 0.125, 0.0625, 0.03125, 0.015625]),
    "patience 1": ({"patience": 1}, [1, 1, 1, 0.5, 0.5, 0.5, 0.5, 0.25, 0.25]),
    "cooldown": ({"patience": 0, "cooldown": 2}, [1, 1, 0.5, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25]),
    "greater": (
        {"patience": 0, "rule": "greater"},
        [1, 0.5, 0.25, 0.125, 2**-4, *[2.0**-k for k in (5, 6, 7, 8)]],
    ),
    "abs": (
        {"patience": 0, "threshold": 0.2, "threshold_rule": "abs"},
        [1, 0.5, 0.25, 0.125, 2**-4, 2**-4, 2**-5, 2**-6, 2**-7],
    ),
    "min_value": ({"patience": 0, "min_value": 0.2}, [1, 1, 0.5, 0.25, *[0.2] * 5]),
    "begin and end": ({"patience": 0, "begin": 3, "end": 5}, [1, 1, 1, 0.5, *[0.5] * 5]),
}


@pytest.mark.parametrize(("args", "expected"), PLAYED.values(), ids=PLAYED)
def test_reduces(args: dict[str, Any], expected: list[float]) -> None:
    optimizer = sgd()
    scheduler = ReduceOnPlateauLR(optimizer, monitor="loss", factor=0.5, **args)
    seen = []
    for loss in LOSSES:
        scheduler.step()
        scheduler.step({"loss": loss, "other": 3})
        seen.append(optimizer.param_groups[0]["lr"])
    assert seen == expected


def test_bounds_per_group_include_the_wrappers_own() -> None:
    scheduler = ReduceOnPlateauLR(OptimWrapper(sgd(2)), min_value=[0.1, 0.2])
    assert scheduler.min_values == [0.1, 0.2, 0.2]


def test_needs_metrics() -> None:
    scheduler = ReduceOnPlateauLR(sgd(), monitor="acc")
    assert scheduler.need_val_args
    with pytest.raises(TypeError, match="must be a dict"):
        scheduler.step(0.5)
    with pytest.raises(KeyError, match=r"monitor='acc' is not among .*\['accu'\].*mean 'accu'"):
        scheduler.step({"accu": 1.0})


@pytest.mark.parametrize("value", ["high", torch.ones(2), np.ones(2), [0.5], {}], ids=repr)
def test_a_metric_that_is_no_number(value: Any) -> None:
    with pytest.raises(TypeError, match=r"metric 'acc' is .* → to be compared it must be one"):
        ReduceOnPlateauLR(sgd(), monitor="acc").step({"acc": value})


def test_a_metric_that_is_none() -> None:
    with pytest.raises(KeyError, match="metric 'acc' is None → ReduceOnPlateauLR needs a number"):
        ReduceOnPlateauLR(sgd(), monitor="acc").step({"acc": None})


@pytest.mark.parametrize("value", [0.5, torch.ones(1, 1), np.ones(1), torch.tensor(2.0)], ids=repr)
def test_one_number_of_any_shape(value: Any) -> None:
    scheduler = ReduceOnPlateauLR(sgd(), monitor="acc", rule="greater")
    scheduler.step({"acc": value})
    assert scheduler.best is value


def test_state_is_plain() -> None:
    scheduler = ReduceOnPlateauLR(sgd(), monitor="loss")
    scheduler.step({"loss": np.float64(0.25)})
    state = scheduler.state_dict()
    assert (state["best"], type(state["best"])) == (0.25, float)
    resumed = ReduceOnPlateauLR(sgd(), monitor="loss", patience=0)
    resumed.load_state_dict(state)
    assert (resumed.best, resumed.patience) == (0.25, 10)


def test_verbose_names_the_epoch(caplog: pytest.LogCaptureFixture) -> None:
    MMLogger.get_instance("plateau").addHandler(caplog.handler)
    scheduler = ReduceOnPlateauLR(sgd(), patience=0, factor=0.5, verbose=True)
    scheduler.step({"loss": 1.0})
    scheduler.step({"loss": 1.0})
    assert caplog.messages == ["Adjusting parameter value of group 0 to 5.0000e-01 in epoch 1."]
