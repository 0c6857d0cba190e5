"""Several wrappers by name."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from mm2pl.optim import OptimWrapper, OptimWrapperDict


def wrapper(lr: float, groups: int = 1) -> OptimWrapper:
    params = [{"params": [nn.Parameter(torch.zeros(1))]} for _ in range(groups)]
    return OptimWrapper(torch.optim.SGD(params, lr=lr, momentum=0.9))


def two() -> OptimWrapperDict:
    return OptimWrapperDict(gen=wrapper(0.1), disc=wrapper(0.2, groups=2))


def test_collects_what_each_has() -> None:
    wrappers = two()
    assert wrappers.get_lr() == {"gen.lr": [0.1], "disc.base_lr": [0.2], "disc.lr": [0.2, 0.2]}
    assert wrappers.get_momentum() == {"gen.momentum": [0.9], "disc.momentum": [0.9, 0.9]}
    assert {name: len(groups) for name, groups in wrappers.param_groups.items()} == {
        "gen": 1,
        "disc": 3,
    }


def test_is_a_mapping() -> None:
    wrappers = two()
    assert list(wrappers.keys()) == ["gen", "disc"]
    assert dict(wrappers.items()) == wrappers.optim_wrappers
    assert list(wrappers.values()) == [wrappers["gen"], wrappers["disc"]]
    assert ("gen" in wrappers, "x" in wrappers, len(wrappers)) == (True, False, 2)
    assert repr(wrappers).startswith("name: gen\nType: OptimWrapper")


def test_saves_and_restores_all() -> None:
    wrappers, others = two(), two()
    wrappers["gen"].param_groups[0]["lr"] = 7.0
    others.load_state_dict(wrappers.state_dict())
    assert others.get_lr() == wrappers.get_lr()


def test_zeroes_all_and_counts_nothing() -> None:
    wrappers = two()
    for each in wrappers.values():
        each.backward(each.param_groups[0]["params"][0].sum())
    wrappers.zero_grad()
    wrappers.initialize_count_status(nn.Module(), 5, 10)
    assert [each.param_groups[0]["params"][0].grad for each in wrappers.values()] == [None, None]
    assert [each.inner_count for each in wrappers.values()] == [1, 1]


@pytest.mark.parametrize(
    ("method", "args"),
    [
        ("update_params", (torch.zeros(1),)),
        ("backward", (torch.zeros(1),)),
        ("step", ()),
        ("optim_context", (nn.Module(),)),
    ],
)
def test_updating_is_left_to_each(method: str, args: tuple[Any, ...]) -> None:
    with pytest.raises(NotImplementedError, match=rf"name\].{method}.*\['gen', 'disc'\]"):
        getattr(two(), method)(*args)


@pytest.mark.parametrize("error", [KeyError, AssertionError])
def test_a_missing_name_lists_those_there_are(error: type[Exception]) -> None:
    with pytest.raises(error, match=r"no optimizer wrapper 'generator'.*\['gen', 'disc'\]"):
        two()["generator"]
    with pytest.raises(error, match="no optimizer wrapper 'x'"):
        two().load_state_dict({"x": {}})


def test_only_takes_wrappers() -> None:
    with pytest.raises(AssertionError, match="gen=SGD → `OptimWrapperDict` only accepts OptimWr"):
        OptimWrapperDict(gen=wrapper(0.1).optimizer)
