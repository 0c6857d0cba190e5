"""What an ``optim_wrapper`` may be, and its learning rate for another batch size."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import pytest
import torch
from torch import nn

from mm2pl.logging import MMLogger
from mm2pl.optim import (
    OptimWrapper,
    OptimWrapperDict,
    as_optim_wrapper,
    build_optim_wrapper,
    scale_lr,
)
from mm2pl.optim.optimizer import builder
from mm2pl.optim.scheduler import StepLR
from mm2pl.registry import OPTIMIZERS


def sgd(lr: float = 0.1) -> torch.optim.SGD:
    return torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=lr)


@pytest.mark.parametrize(
    "value",
    [
        OptimWrapper(sgd()),
        {"optimizer": {"type": "SGD", "lr": 0.1}},
        {"optimizer": sgd(), "accumulative_counts": 2},
        {"type": "AmpOptimWrapper", "dtype": "bfloat16", "optimizer": sgd()},
    ],
    ids=["wrapper", "config", "built optimizer", "amp"],
)
def test_one_wrapper(value: Any) -> None:
    wrapper = as_optim_wrapper(nn.Linear(1, 1), value)
    assert wrapper.get_lr() == {"lr": [0.1]}
    assert type(wrapper).__name__ == (
        value.get("type", "OptimWrapper") if isinstance(value, dict) else "OptimWrapper"
    )


def test_several_built_wrappers() -> None:
    wrappers = as_optim_wrapper(
        nn.Linear(1, 1), {"gen": OptimWrapper(sgd()), "disc": OptimWrapper(sgd(0.2))}
    )
    assert isinstance(wrappers, OptimWrapperDict)
    assert wrappers.get_lr() == {"gen.lr": [0.1], "disc.lr": [0.2]}


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        (sgd(), TypeError, "optimizer wrapper should be an OptimWrapper or a dict"),
        (
            {"gen": OptimWrapper(sgd()), "disc": {"optimizer": {}}},
            ValueError,
            r"\['disc'\] are not → for several optimizers give a constructor",
        ),
        ({"optimiser": {}}, ValueError, "Or is 'optimiser' a misspelt 'optimizer'"),
        ({"type": "SGD", "lr": 0.1}, ValueError, r"one level down: optim_wrapper=dict\(optimizer="),
    ],
    ids=["optimizer", "unbuilt", "misspelt", "one level too high"],
)
def test_refuses(value: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        as_optim_wrapper(nn.Linear(1, 1), value)


def test_the_config_is_not_changed() -> None:
    cfg = {
        "optimizer": {"type": "SGD", "lr": 0.1},
        "paramwise_cfg": {},
        "clip_grad": {"max_norm": 1},
    }
    build_optim_wrapper(nn.Linear(1, 1), cfg)
    assert list(cfg) == ["optimizer", "paramwise_cfg", "clip_grad"]


@pytest.mark.parametrize("name", ["SGD", "AdamW", "RMSprop", "Adadelta", "TorchAdafactor"])
def test_torchs_optimizers_are_registered(name: str) -> None:
    assert OPTIMIZERS.get(name) is getattr(torch.optim, name.removeprefix("Torch"))


@pytest.mark.parametrize("name", ["ApexOptimWrapper", "ColossalAIOptimWrapper"])
def test_replaced_wrappers_name_their_successor(name: str) -> None:
    cfg = {"type": name, "optimizer": {"type": "SGD", "lr": 0.1}, "opt_level": "O1"}
    with pytest.raises(NotImplementedError, match=f"{name} is not available → use type='"):
        build_optim_wrapper(nn.Linear(1, 1), cfg)


@pytest.mark.parametrize("auto_scale_lr", [None, {}, {"enable": False, "base_batch_size": 16}])
def test_the_lr_stays_unless_asked(auto_scale_lr: Any) -> None:
    wrapper = OptimWrapper(sgd())
    assert scale_lr(wrapper, auto_scale_lr, 64) == 1.0
    assert wrapper.get_lr() == {"lr": [0.1]}


def test_scales_every_lr_but_not_the_base(caplog: pytest.LogCaptureFixture) -> None:
    MMLogger.get_instance("scale").addHandler(caplog.handler)
    groups = [{"params": [nn.Parameter(torch.zeros(1))], "lr": lr} for lr in (0.1, 0.2)]
    wrappers = OptimWrapperDict(
        a=OptimWrapper(torch.optim.SGD(groups, lr=0.1)), b=OptimWrapper(sgd(0.4))
    )
    assert scale_lr(wrappers, {"enable": True, "base_batch_size": 16}, 64) == 4.0
    assert wrappers.get_lr() == {"a.base_lr": [0.1], "a.lr": [0.4, 0.8], "b.lr": [1.6]}
    assert caplog.messages == [
        "LR is set based on batch size of 16 and the current batch size is 64. "
        "Scaling the original LR by 4.0."
    ]


def test_the_factor_is_a_quotient_to_the_last_bit() -> None:
    wrapper = OptimWrapper(sgd(1.0))
    scale_lr(wrapper, {"enable": True, "base_batch_size": 48}, 14)
    assert wrapper.get_lr() == {"lr": [0.2916666666666667]}


def test_scaling_needs_a_base_and_comes_before_schedulers() -> None:
    wrapper = OptimWrapper(sgd())
    with pytest.raises(AssertionError, match="lacks `base_batch_size`"):
        scale_lr(wrapper, {"enable": True}, 64)
    StepLR(wrapper, 1)
    with pytest.raises(RuntimeError, match="before schedulers are built"):
        scale_lr(wrapper, {"enable": True, "base_batch_size": 16}, 64)


def test_names_by_package() -> None:
    assert {"SGD", "AdamW"} <= set(builder.TORCH_OPTIMIZERS)
    assert (["Lion"] if find_spec("lion_pytorch") else []) == builder.LION_OPTIMIZERS
    names = builder.BITSANDBYTES_OPTIMIZERS
    assert ("bnb_Adam" in names) == ("PagedLion" in names) == bool(find_spec("bitsandbytes"))
    with pytest.raises(AttributeError, match="no attribute 'APEX_OPTIMIZERS'"):
        builder.APEX_OPTIMIZERS  # noqa: B018
