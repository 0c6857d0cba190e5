"""Optimizer wrappers whose classes derive from nothing of ours: what they can do decides."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lightning.pytorch.strategies import DeepSpeedStrategy
from torch import nn

from mm2pl.config import ConfigDict
from mm2pl.lightning import MMLightningModule
from mm2pl.lightning.executor import Follower
from mm2pl.optim import (
    OptimWrapper,
    OptimWrapperDict,
    as_optim_wrapper,
    build_param_schedulers,
    scale_lr,
)
from mm2pl.optim.abilities import has_executor, holds_several, is_optim_wrapper, wrappers_of
from tests.bridges import loader, module, trainer
from tests.scenarios import models

pytestmark = pytest.mark.filterwarnings(
    "ignore::lightning.fabric.utilities.warnings.PossibleUserWarning"
)


class Own:
    """One optimizer, stepped in each iteration."""

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self.optimizer = optimizer

    def update_params(self, loss: torch.Tensor) -> None:
        self.backward(loss)
        self.optimizer.step()
        self.optimizer.zero_grad()

    def backward(self, loss: torch.Tensor) -> None:
        loss.backward()

    def optim_context(self, model: nn.Module) -> AbstractContextManager[None]:
        return nullcontext()

    def initialize_count_status(self, model: nn.Module, done: int, whole: int) -> None:
        self.counts = done, whole

    @property
    def param_groups(self) -> Any:
        return self.optimizer.param_groups

    def get_lr(self) -> dict[str, list[float]]:
        return {"lr": [group["lr"] for group in self.param_groups]}

    def get_momentum(self) -> dict[str, list[float]]:
        return {"momentum": [0.0]}

    def state_dict(self) -> dict[str, Any]:
        return self.optimizer.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.optimizer.load_state_dict(state_dict)


class OwnDict(Own):
    """Several of them by name."""

    def __init__(self, **wrappers: Own) -> None:
        self.wrappers = wrappers

    def items(self) -> Any:
        return self.wrappers.items()

    def __getitem__(self, name: str) -> Own:
        return self.wrappers[name]

    @property
    def param_groups(self) -> Any:
        return {name: each.param_groups for name, each in self.items()}

    def get_lr(self) -> dict[str, list[float]]:
        return {f"{name}.lr": each.get_lr()["lr"] for name, each in self.items()}


def own(part: nn.Module | None = None, lr: float = 0.1, kind: Any = Own) -> Any:
    return kind(torch.optim.SGD((part or nn.Linear(1, 1)).parameters(), lr=lr))


def pair(model: Any, several: Any, one: Any) -> Any:
    return several(
        generator=own(model.generator, kind=one), discriminator=own(model.discriminator, kind=one)
    )


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (own(), (True, False)),
        (OwnDict(a=own()), (True, True)),
        (own(kind=OptimWrapper), (True, False)),
        (OptimWrapperDict(a=own(kind=OptimWrapper)), (True, True)),
        (OptimWrapperDict(a=own()), (True, True)),
        (Own, (False, False)),
        (torch.optim.SGD(nn.Linear(1, 1).parameters()), (False, False)),
        (ConfigDict(optimizer={"type": "SGD"}), (False, False)),
        (None, (False, False)),
    ],
    ids=["own", "own dict", "ours", "our dict", "own in our dict", "class", "torch's", "config", "none"],
)  # fmt: skip
def test_what_it_is(value: Any, expected: tuple[bool, bool]) -> None:
    assert (is_optim_wrapper(value), holds_several(value)) == expected


def test_several_are_scaled_and_scheduled_by_name() -> None:
    wrappers = OwnDict(a=own(), b=own(lr=0.2))
    assert as_optim_wrapper(nn.Linear(1, 1), wrappers) is wrappers
    assert scale_lr(wrappers, {"enable": True, "base_batch_size": 16}, 32) == 2.0
    made = build_param_schedulers({"type": "ConstantLR", "factor": 0.5}, wrappers, max_epochs=3)
    assert {name: [each.end for each in group] for name, group in made.items()} == {
        "a": [3],
        "b": [3],
    }  # type: ignore[union-attr]
    assert wrappers.get_lr() == {"a.lr": [0.1], "b.lr": [0.2]}


@pytest.mark.parametrize("name", ["pair", "plain"])
def test_a_fit_is_that_of_our_own_wrappers(name: str) -> None:
    results = []
    for one, several in ((Own, OwnDict), (OptimWrapper, OptimWrapperDict)):
        torch.manual_seed(3)
        model = models("mm2pl")[name]()
        made = pair(model, several, one) if name == "pair" else own(model, kind=one)
        bridge = MMLightningModule(model, optim_wrapper=made)
        run = trainer(max_epochs=2)
        run.fit(bridge, loader())
        results.append((run.global_step, model.state_dict()))
    (steps, weights), (our_steps, ours) = results
    assert steps == our_steps == (32 if name == "pair" else 16)
    assert all(torch.equal(weights[key], ours[key]) for key in ours)


def test_a_wrapper_that_was_followed_is_as_before() -> None:
    bridge = module("plain", optim_wrapper=None)
    bridge.optim_wrapper = wrapper = own(bridge.model)
    trainer(max_epochs=1).fit(bridge, loader())
    assert not has_executor(wrapper)
    assert not {"backward", "optim_context"} & vars(wrapper).keys()
    assert not wrapper.optimizer._optimizer_step_post_hooks


def test_an_engine_that_must_act_is_refused() -> None:
    run: Any = SimpleNamespace(strategy=object.__new__(DeepSpeedStrategy))
    with pytest.raises(
        ValueError, match=r"test_abilities.Own runs backward and steps itself.*Deep"
    ):
        Follower(own(), run)


def test_wrappers_by_name() -> None:
    one = own()
    assert wrappers_of(one) == {"": one}
    assert wrappers_of(OwnDict(a=one)) == {"a": one}
