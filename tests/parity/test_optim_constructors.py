"""`DefaultOptimWrapperConstructor` against MMEngine's: groups, order, log lines."""

from __future__ import annotations

import copy
import importlib
import itertools
import logging
import random
import sys
import types
from typing import Any

import pytest
import torch
from torch import nn

import mm2pl.logging
import mm2pl.optim as ours

pytestmark = pytest.mark.parity
theirs = pytest.importorskip("mmengine.optim", reason="needs mmengine")
LOGGERS = {
    ours: mm2pl.logging.MMLogger,
    theirs: importlib.import_module("mmengine.logging").MMLogger,
}


class DeformConv2d(nn.Module):
    """Has the name and the offsets of mmcv's."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(2, 2, 3, 3))
        self.bias = nn.Parameter(torch.zeros(2))
        self.conv_offset = nn.Conv2d(2, 18, 3)


class ModulatedDeformConv2d(DeformConv2d):
    pass


DeformConv2d.__module__ = ModulatedDeformConv2d.__module__ = "mmcv.ops"


@pytest.fixture(autouse=True)
def _mmcv_with_ops(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let MMEngine believe that mmcv is installed with its operators."""
    constructor = importlib.import_module("mmengine.optim.optimizer.default_constructor")
    monkeypatch.setattr(constructor, "mmcv_full_available", lambda: True)
    mmcv, ops = types.ModuleType("mmcv"), types.ModuleType("mmcv.ops")
    vars(ops).update(DeformConv2d=DeformConv2d, ModulatedDeformConv2d=ModulatedDeformConv2d)
    monkeypatch.setitem(sys.modules, "mmcv", mmcv)
    monkeypatch.setitem(sys.modules, "mmcv.ops", ops)


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 2, 3, groups=2)
        self.norm = nn.BatchNorm2d(2)
        self.dcn = DeformConv2d()
        self.layer_norm = nn.LayerNorm(2)
        self.scale = nn.Parameter(torch.ones(2))


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.zeros(3))
        self.backbone = nn.Sequential(Block(), nn.GroupNorm(1, 2), nn.Conv2d(2, 2, 1))
        self.frozen = nn.Linear(2, 2).requires_grad_(False)
        self.head = nn.ModuleDict(
            {"linear": nn.Linear(2, 2), "norm": nn.InstanceNorm2d(2, affine=True)}
        )
        self.shared = self.backbone[2]
        self.tied = nn.Linear(2, 2)
        self.tied.weight = self.head["linear"].weight
        self.mdcn = ModulatedDeformConv2d()


def built(package: Any, model: nn.Module, cfg: dict[str, Any]) -> tuple[Any, list[str]]:
    """Return the groups by parameter name, in order, and the lines that were logged."""
    LOGGERS[package]._instance_dict.clear()
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    logger = LOGGERS[package].get_instance("constructor")
    logger.addHandler(handler)
    try:
        wrapper = package.build_optim_wrapper(model, copy.deepcopy(cfg))
    except ValueError as error:
        return f"ValueError: {'base_wd' in str(error)}", []
    finally:
        logger.removeHandler(handler)
    names = {id(param): name for name, param in model.named_parameters()}
    groups = [
        {**group, "params": [names[id(param)] for param in group["params"]]}
        for group in wrapper.optimizer.param_groups
    ]
    base = wrapper.base_param_settings
    lines = [line for line in lines if not line.startswith(("An `", "Get class", "paramwise_cfg:"))]
    return (groups, {k: v for k, v in (base or {}).items() if k != "params"}), lines


OPTIONS: dict[str, list[Any]] = {
    "bias_lr_mult": [None, 2.0, 0],
    "bias_decay_mult": [None, 0.0],
    "norm_decay_mult": [None, 0.5],
    "flat_decay_mult": [None, 0.3],
    "dwconv_decay_mult": [None, 0.1],
    "dcn_offset_lr_mult": [None, 0.7],
    "custom_keys": [
        None,
        {"backbone": {"lr_mult": 0.1}},
        {"backbone": {"lr_mult": 0.1}, "backbone.0": {"decay_mult": 0.0}, "norm": {}},
        {"ab": {"lr_mult": 3}, ".query": {"lr_mult": 0.3}, "bias": {"lr_mult": 2, "momentum": 0.5}},
    ],
}


def random_paramwise(seed: int) -> dict[str, Any]:
    rng = random.Random(seed)
    chosen = {key: rng.choice(values) for key, values in OPTIONS.items()}
    return {k: v for k, v in chosen.items() if v is not None} | {"bypass_duplicate": True}


@pytest.mark.parametrize("seed", range(60))
def test_random_options(seed: int) -> None:
    optimizer = {"type": "SGD", "lr": 0.0123, "momentum": 0.9, "weight_decay": 5e-4}
    if seed % 7 == 0:
        del optimizer["weight_decay"]
    cfg = {"optimizer": optimizer, "paramwise_cfg": random_paramwise(seed)}
    model = Model()
    assert built(ours, model, cfg) == built(theirs, model, cfg)


SINGLE = [{key: value} for key, values in OPTIONS.items() for value in values if value is not None]


@pytest.mark.parametrize("paramwise_cfg", SINGLE, ids=[str(i) for i in range(len(SINGLE))])
def test_single_options_without_duplicates(paramwise_cfg: dict[str, Any]) -> None:
    cfg = {"optimizer": {"type": "AdamW", "lr": 1e-3, "weight_decay": 0.05}}
    model = nn.ModuleDict({"backbone": Block(), "ab": nn.Linear(2, 2)})
    cfg["paramwise_cfg"] = paramwise_cfg
    assert built(ours, model, cfg) == built(theirs, model, cfg)


@pytest.mark.parametrize("paramwise_cfg", [None, {}], ids=["none", "empty"])
def test_without_options_there_is_one_group(paramwise_cfg: Any) -> None:
    cfg = {"optimizer": {"type": "SGD", "lr": 0.1}, "paramwise_cfg": paramwise_cfg}
    model = Model()
    assert built(ours, model, cfg) == built(theirs, model, cfg)


def test_longest_key_then_alphabet() -> None:
    keys = ["head.linear", "linear.bias", "near.weigh", "d.linear", "head"]
    model = nn.ModuleDict({"head": nn.ModuleDict({"linear": nn.Linear(1, 1)})})
    for order in itertools.islice(itertools.permutations(keys), 0, 120, 13):
        custom = {key: {"lr_mult": 0.1 * (keys.index(key) + 1)} for key in order}
        cfg = {"optimizer": {"type": "SGD", "lr": 0.1}, "paramwise_cfg": {"custom_keys": custom}}
        assert built(ours, model, cfg) == built(theirs, model, cfg)
