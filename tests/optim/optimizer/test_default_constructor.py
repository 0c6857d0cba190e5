"""Settings per parameter."""

from __future__ import annotations

import logging
import re
from collections import OrderedDict
from typing import Any

import pytest
import torch
from torch import nn

from mm2pl.logging import MMLogger, print_log
from mm2pl.optim import DefaultOptimWrapperConstructor, OptimWrapper, build_optim_wrapper
from mm2pl.registry import OPTIM_WRAPPER_CONSTRUCTORS


class ToyModel(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.ModuleDict({"layer0": nn.Linear(1, 1), "layer1": nn.Linear(1, 1)})
        self.head = nn.Sequential(OrderedDict(linear=nn.Linear(1, 1), bn=nn.BatchNorm1d(1)))


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    MMLogger.get_instance("constructor").addHandler(caplog.handler)
    return caplog.messages


def build(
    paramwise_cfg: Any, model: nn.Module | None = None, **optimizer: Any
) -> list[dict[str, Any]]:
    """Return the groups' names and settings that differ from the optimizer's."""
    settings = {"type": "SGD", "lr": 0.01, "weight_decay": 0.0001, **optimizer}
    cfg = {"optimizer": settings, "paramwise_cfg": paramwise_cfg}
    model = model or ToyModel()
    wrapper = build_optim_wrapper(model, cfg)
    names = {id(param): name for name, param in model.named_parameters()}
    defaults = wrapper.optimizer.defaults
    return [
        {"name": ", ".join(names[id(param)] for param in group["params"])}
        | {k: v for k, v in group.items() if k != "params" and (k, v) not in defaults.items()}
        for group in wrapper.optimizer.param_groups
    ]


def test_norm_layers_without_decay(caplog: pytest.LogCaptureFixture, lines: list[str]) -> None:
    groups = build({"norm_decay_mult": 0})
    assert len(groups) == 8
    assert groups[-2:] == [
        {"name": "head.bn.weight", "weight_decay": 0.0},
        {"name": "head.bn.bias", "weight_decay": 0.0},
    ]
    assert caplog.messages == [
        "paramwise_options -- head.bn.weight:weight_decay=0.0",
        "paramwise_options -- head.bn.bias:weight_decay=0.0",
    ]


def test_custom_keys(caplog: pytest.LogCaptureFixture, lines: list[str]) -> None:
    custom_keys = {
        "backbone.layer0": {"lr_mult": 0, "decay_mult": 0},
        "backbone": {"lr_mult": 1},
        "head": {"lr_mult": 0.1},
    }
    groups = build({"custom_keys": custom_keys})
    assert groups[0] == {
        **{"name": "backbone.layer0.weight", "lr": 0.0, "weight_decay": 0.0},
        **{"lr_mult": 0, "decay_mult": 0},
    }
    assert groups[2] == {"name": "backbone.layer1.weight", "lr_mult": 1}
    assert groups[7] == {"name": "head.bn.bias", "lr": 0.001, "lr_mult": 0.1}
    assert caplog.messages[:4] == [
        "paramwise_options -- backbone.layer0.weight:lr=0.0",
        "paramwise_options -- backbone.layer0.weight:weight_decay=0.0",
        "paramwise_options -- backbone.layer0.weight:lr_mult=0",
        "paramwise_options -- backbone.layer0.weight:decay_mult=0",
    ]
    assert len(caplog.messages) == 26


class Layers(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 2, 1)
        self.depthwise = nn.Conv2d(2, 2, 1, groups=2)
        self.norm = nn.GroupNorm(1, 2)
        self.scale = nn.Parameter(torch.ones(2))


RULES: dict[str, tuple[dict[str, Any], dict[str, dict[str, float]]]] = {
    "bias lr": (
        {"bias_lr_mult": 2.0},
        {"conv.bias": {"lr": 0.02}, "depthwise.bias": {"lr": 0.02}},
    ),
    "bias decay": (
        {"bias_decay_mult": 0.0},
        {name: {"weight_decay": 0.0} for name in ("conv.bias", "depthwise.bias", "norm.bias")},
    ),
    "norm, then bias": (
        {"bias_decay_mult": 0.0, "norm_decay_mult": 2.0},
        {
            "conv.bias": {"weight_decay": 0.0},
            "depthwise.bias": {"weight_decay": 0.0},
            "norm.weight": {"weight_decay": 0.0002},
            "norm.bias": {"weight_decay": 0.0002},
        },
    ),
    "depthwise": (
        {"dwconv_decay_mult": 0.0},
        {"depthwise.weight": {"weight_decay": 0.0}, "depthwise.bias": {"weight_decay": 0.0}},
    ),
    "flat": (
        {"flat_decay_mult": 0.0, "norm_decay_mult": None},
        {
            name: {"weight_decay": 0.0}
            for name in ("scale", "conv.bias", "depthwise.bias", "norm.weight", "norm.bias")
        },
    ),
    "depthwise, then flat": (
        {"dwconv_decay_mult": 0.5, "flat_decay_mult": 0.0},
        {
            "depthwise.weight": {"weight_decay": 0.00005},
            "depthwise.bias": {"weight_decay": 0.00005},
            **{
                name: {"weight_decay": 0.0}
                for name in ("scale", "conv.bias", "norm.weight", "norm.bias")
            },
        },
    ),
    "a custom key rules all others out": (
        {"bias_lr_mult": 2.0, "custom_keys": {"conv": {"decay_mult": 0.5, "momentum": 0.3}}},
        {
            "depthwise.bias": {"lr": 0.02},
            "conv.weight": {"weight_decay": 0.00005, "momentum": 0.3, "decay_mult": 0.5},
            "conv.bias": {"weight_decay": 0.00005, "momentum": 0.3, "decay_mult": 0.5},
        },
    ),
}


@pytest.mark.parametrize(("paramwise_cfg", "expected"), RULES.values(), ids=RULES)
def test_rules(paramwise_cfg: dict[str, Any], expected: dict[str, dict[str, float]]) -> None:
    groups = {group.pop("name"): group for group in build(paramwise_cfg, Layers())}
    assert {name: group for name, group in groups.items() if group} == expected


class DeformConv2d(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(2))
        self.conv_offset = nn.Conv2d(2, 2, 1)


DeformConv2d.__module__ = "mmcv.ops.deform_conv"


def test_offsets_of_deformable_convolutions() -> None:
    paramwise_cfg = {"dcn_offset_lr_mult": 0.1, "bias_lr_mult": 2.0, "bias_decay_mult": 0.0}
    assert build(paramwise_cfg, nn.Sequential(DeformConv2d())) == [
        {"name": "0.bias", "lr": 0.02, "weight_decay": 0.0},
        {"name": "0.conv_offset.weight", "lr": 0.001},
        {"name": "0.conv_offset.bias", "lr": 0.001},
    ]


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(1, 1, bias=False)
        self.again = self.first
        self.frozen = nn.Linear(1, 1, bias=False).requires_grad_(False)


def test_duplicates_and_frozen_parameters_are_left_out(
    caplog: pytest.LogCaptureFixture, lines: list[str]
) -> None:
    tied = nn.ModuleDict({"a": nn.Linear(1, 1, bias=False), "b": nn.Linear(1, 1, bias=False)})
    tied["b"].weight = tied["a"].weight
    tied["c"] = nn.Linear(1, 1, bias=False).requires_grad_(False)
    assert build({"bypass_duplicate": True}, tied) == [{"name": "a.weight"}]
    assert caplog.messages == [
        "b is duplicate. It is skipped since bypass_duplicate=True",
        "c.weight is skipped since its requires_grad=False",
    ]
    with pytest.raises(ValueError, match="parameters appear in more than one parameter group"):
        build({"norm_decay_mult": 0.0}, tied)


UNUSED = {
    "misspelt key": (
        {"custom_keys": {"backbone.layer_0": {}, "head": {}}},
        r"custom key 'backbone.layer_0' occurs in the name of no parameter.*mean 'backbone.layer0'",
    ),
    "misspelt multiplier": (
        {"custom_keys": {"head": {"lr_mul": 0.1, "momentum": 0.5}}},
        "'lr_mul' of custom key 'head' multiplies nothing. Did you mean 'lr_mult'",
    ),
    "nothing close": ({"custom_keys": {"zzz": {}}}, r"custom key 'zzz' .* no effect\.$"),
    "misspelt option": (
        {"norm_decay_mul": 0.0},
        "'norm_decay_mul' is not an option of .* Did you mean 'norm_decay_mult'",
    ),
    "an option of nobody": ({"lr_mult": 0.1}, "'lr_mult' is not an option .* has no effect"),
}


@pytest.mark.parametrize(("paramwise_cfg", "message"), UNUSED.values(), ids=UNUSED)
def test_what_has_no_effect_is_told(
    paramwise_cfg: dict[str, Any],
    message: str,
    caplog: pytest.LogCaptureFixture,
    lines: list[str],
) -> None:
    build(paramwise_cfg)
    warned = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert len(warned) == 1
    assert re.search(message, warned[0]), warned[0]


def test_a_key_that_only_occurs_with_a_leading_dot(
    caplog: pytest.LogCaptureFixture, lines: list[str]
) -> None:
    assert build({"custom_keys": {".scale": {"lr_mult": 2}}}, Layers())[0]["lr"] == 0.02
    assert "no effect" not in caplog.text


REFUSED: dict[str, tuple[Any, dict[str, Any], type[Exception], str]] = {
    "list": ([], {"lr": 1}, TypeError, r"paramwise_cfg=\[1\] must be a dict"),
    "keys": ({"custom_keys": ["a"]}, {}, TypeError, r"custom_keys=\['a'\] must be a dict"),
    "text": ({"bias_lr_mult": "2"}, {}, TypeError, "bias_lr_mult='2' must be a number"),
    "key": ({"custom_keys": {"a": 2}}, {}, TypeError, r"custom_keys\['a'\]=2 must be a dict"),
    "bias decay": (
        {"bias_decay_mult": 0.0},
        {"weight_decay": None},
        ValueError,
        "bias_decay_mult multiplies the weight decay → add weight_decay",
    ),
    "custom decay": (
        {"custom_keys": {"head": {"decay_mult": 0.0}}},
        {"weight_decay": None},
        ValueError,
        r"base_wd should not be None: custom_keys\['head'\]",
    ),
    "no lr": ({"bias_lr_mult": 2}, {"lr": None}, ValueError, "multiplies the lr → add lr"),
}


@pytest.mark.parametrize(
    ("paramwise_cfg", "optimizer", "error", "message"), REFUSED.values(), ids=REFUSED
)
def test_refuses(
    paramwise_cfg: Any, optimizer: dict[str, Any], error: type[Exception], message: str
) -> None:
    settings = {"type": "SGD", "lr": 0.1, "weight_decay": 0.1, **optimizer}
    settings = {key: value for key, value in settings.items() if value is not None}
    with pytest.raises(error, match=message):
        DefaultOptimWrapperConstructor({"optimizer": settings}, paramwise_cfg or [1])(ToyModel())


@pytest.mark.parametrize(
    ("cfg", "error", "message"),
    [
        ("SGD", TypeError, "optim_wrapper_cfg='SGD' must be a dict"),
        (
            {"type": "OptimWrapper"},
            AssertionError,
            r"must contain `optimizer`, but its keys are \['type'\]",
        ),
        ({"optimizer": "SGD"}, TypeError, "optimizer='SGD' must be a dict such as"),
        ({"optimizer": {"lr": 0.1}}, KeyError, "optimizer={'lr': 0.1} lacks `type`"),
        (
            {"optimizer": {"type": "SGD", "lr": "1e-3"}},
            TypeError,
            "optimizer has lr='1e-3', a text → .* YAML reads 1e-3 as a text and 1.0e-3 as a number",
        ),
    ],
    ids=["text", "no optimizer", "optimizer", "no type", "YAML's 1e-3"],
)
def test_refuses_the_wrappers_config(cfg: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        DefaultOptimWrapperConstructor(cfg)


def test_a_multiplier_of_nothing_comes_before_a_missing_type() -> None:
    with pytest.raises(ValueError, match="base_wd should not be None: bias_decay_mult multiplies"):
        DefaultOptimWrapperConstructor({"optimizer": {"lr": 0.1}}, {"bias_decay_mult": 1})


def test_without_options_there_is_one_group_frozen_ones_included() -> None:
    model = Tied()
    wrapper = build_optim_wrapper(model, {"optimizer": {"type": torch.optim.SGD, "lr": 0.1}})
    assert [len(group["params"]) for group in wrapper.param_groups] == [2]


def test_of_a_wrapped_model_the_inner_one_is_taken() -> None:
    model = ToyModel()
    wrapped = nn.DataParallel(model)
    groups = build({"norm_decay_mult": 0.0}, wrapped)
    assert groups[0]["name"] == "module.backbone.layer0.weight"


class OtherName(torch.optim.SGD):
    def __init__(self, model_params: Any, lr: float = 0.5) -> None:
        super().__init__(model_params, lr=lr)


def test_the_first_argument_of_an_optimizer_may_have_any_name() -> None:
    wrapper = build_optim_wrapper(nn.Linear(1, 1), {"optimizer": {"type": OtherName}})
    assert wrapper.get_lr() == {"lr": [0.5]}


def test_an_unknown_optimizer_is_told_with_names_like_it() -> None:
    with pytest.raises(KeyError, match="AdamW"):
        build_optim_wrapper(nn.Linear(1, 1), {"optimizer": {"type": "AdamWW", "lr": 0.1}})


def test_a_users_constructor_may_override_add_params(
    caplog: pytest.LogCaptureFixture, lines: list[str]
) -> None:
    @OPTIM_WRAPPER_CONSTRUCTORS.register_module()
    class LayerDecayOptimWrapperConstructor(DefaultOptimWrapperConstructor):
        def __init__(self, optim_wrapper_cfg: Any, paramwise_cfg: Any = None) -> None:
            super().__init__(optim_wrapper_cfg, paramwise_cfg=None)
            self.decay_factor = paramwise_cfg.get("decay_factor", 0.5)
            super().__init__(optim_wrapper_cfg, paramwise_cfg)

        def add_params(
            self, params: list, module: nn.Module, prefix: str = "", lr: Any = None
        ) -> None:  # type: ignore[override]
            lr = self.base_lr if lr is None else lr
            for name, param in module.named_parameters(recurse=False):
                params.append({"params": [param], "lr": lr})
                print_log(f"{prefix}.{name} : lr={lr}", logger="current")
            for name, child in module.named_children():
                path = f"{prefix}.{name}" if prefix else name
                self.add_params(params, child, path, lr=lr * self.decay_factor)

    model = nn.Module()
    model.layer = nn.ModuleDict({"linear": nn.Linear(1, 1)})
    model.linear = nn.Linear(1, 1)
    wrapper = build_optim_wrapper(
        model,
        {
            "optimizer": {"type": "SGD", "lr": 0.01, "weight_decay": 0.0001},
            "paramwise_cfg": {"decay_factor": 0.5},
            "constructor": "LayerDecayOptimWrapperConstructor",
        },
    )
    assert wrapper.get_lr()["lr"] == [0.0025, 0.0025, 0.005, 0.005]
    assert caplog.messages == [
        "layer.linear.weight : lr=0.0025",
        "layer.linear.bias : lr=0.0025",
        "linear.weight : lr=0.005",
        "linear.bias : lr=0.005",
    ]


def test_the_wrapper_is_of_the_type_and_with_the_arguments_given() -> None:
    cfg = {
        "type": "OptimWrapper",
        "optimizer": {"type": "Adam", "lr": 0.1},
        "accumulative_counts": 3,
        "clip_grad": {"max_norm": 2},
    }
    wrapper = build_optim_wrapper(nn.Linear(1, 1), cfg)
    assert type(wrapper) is OptimWrapper
    assert (wrapper._accumulative_counts, wrapper.clip_grad_kwargs) == (3, {"max_norm": 2})
    assert cfg["clip_grad"] == {"max_norm": 2}
