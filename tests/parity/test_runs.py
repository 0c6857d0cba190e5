"""Whole runs, bit for bit: a covering set of optimizers × schedules × accumulation × clipping × loops."""

from __future__ import annotations

import pytest

from tests.scenarios import Scenario, assert_equal, record

pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("ignore")]

SGD = {"type": "SGD", "lr": 0.05, "momentum": 0.9, "weight_decay": 1e-4}
WARMUP = {"type": "LinearLR", "start_factor": 0.1, "by_epoch": False, "begin": 0, "end": 6}
EPOCHS = {"by_epoch": True, "max_epochs": 3}
ITERS = {"by_epoch": False, "max_iters": 23, "val_interval": 7}
ENDLESS = {"type": "InfiniteSampler", "shuffle": True}

SCENARIOS = {
    "sgd, warm-up + multistep": Scenario(
        optim_wrapper={"optimizer": SGD},
        param_scheduler=[WARMUP, {"type": "MultiStepLR", "milestones": [1, 2], "by_epoch": True}],
    ),
    "adamw, paramwise, clip, cosine by iteration": Scenario(
        optim_wrapper={
            "optimizer": {"type": "AdamW", "lr": 0.01, "weight_decay": 0.05},
            "paramwise_cfg": {"norm_decay_mult": 0.0, "custom_keys": {"net.4": {"lr_mult": 0.1}}},
            "clip_grad": {"max_norm": 0.5},
        },
        param_scheduler=[
            WARMUP,
            {
                "type": "CosineAnnealingLR",
                "by_epoch": True,
                "convert_to_iter_based": True,
                "eta_min_ratio": 0.1,
            },
        ],
    ),
    "adam, poly by iteration, accumulation that divides": Scenario(
        optim_wrapper={"optimizer": {"type": "Adam", "lr": 0.01}, "accumulative_counts": 3},
        param_scheduler={"type": "PolyLR", "by_epoch": False, "power": 0.9, "eta_min": 1e-4},
    ),
    "sgd by iteration, accumulation that does not divide": Scenario(
        optim_wrapper={"optimizer": SGD, "accumulative_counts": 4},
        train_cfg=ITERS,
        sampler=ENDLESS,
        param_scheduler={
            "type": "CosineRestartLR",
            "by_epoch": False,
            "periods": [5, 9, 9],
            "restart_weights": [1, 0.5, 0.2],
            "eta_min": 0.0,
        },
    ),
    "rmsprop, one-cycle, clip by value": Scenario(
        optim_wrapper={
            "optimizer": {"type": "RMSprop", "lr": 0.003, "momentum": 0.8},
            "clip_grad": {"type": "value", "clip_value": 0.2},
        },
        param_scheduler={
            "type": "OneCycleLR",
            "by_epoch": False,
            "eta_max": 0.02,
            "total_steps": 27,
        },
    ),
    "plateau on the metric": Scenario(
        optim_wrapper={"optimizer": SGD},
        train_cfg={"by_epoch": True, "max_epochs": 6},
        param_scheduler={
            "type": "ReduceOnPlateauLR",
            "by_epoch": True,
            "monitor": "accuracy",
            "rule": "greater",
            "patience": 1,
        },
    ),
    "momentum schedule of adam": Scenario(
        optim_wrapper={"optimizer": {"type": "Adam", "lr": 0.01}},
        param_scheduler=[
            WARMUP,
            {"type": "CosineAnnealingMomentum", "T_max": 20, "eta_min": 0.5, "by_epoch": False},
        ],
    ),
    "iterations over a finite sampler, dynamic intervals": Scenario(
        optim_wrapper={"optimizer": SGD},
        train_cfg={**ITERS, "val_begin": 3, "dynamic_intervals": [(10, 2)]},
        param_scheduler={"type": "ExponentialLR", "gamma": 0.9, "by_epoch": False},
    ),
    "epochs, val_begin and dynamic intervals": Scenario(
        optim_wrapper={"optimizer": SGD},
        train_cfg={
            "by_epoch": True,
            "max_epochs": 7,
            "val_begin": 2,
            "val_interval": 3,
            "dynamic_intervals": [(5, 1)],
        },
        param_scheduler={"type": "StepLR", "step_size": 2, "gamma": 0.5},
    ),
    "two workers": Scenario(
        optim_wrapper={"optimizer": SGD},
        workers=2,
        param_scheduler={"type": "ConstantLR", "factor": 0.5, "end": 2},
    ),
    "two workers by iteration": Scenario(
        optim_wrapper={"optimizer": SGD}, workers=2, train_cfg=ITERS, sampler=ENDLESS
    ),
    "own train_step": Scenario(
        optim_wrapper={"optimizer": SGD, "clip_grad": {"max_norm": 1.0, "norm_type": 1}},
        model="own_step",
    ),
    "two optimizers": Scenario(
        optim_wrapper={
            "generator": {"optimizer": {"type": "Adam", "lr": 1e-3}},
            "discriminator": {
                "optimizer": {"type": "SGD", "lr": 0.01, "momentum": 0.5},
                "accumulative_counts": 2,
            },
        },
        param_scheduler={
            "generator": [WARMUP],
            "discriminator": {"type": "MultiStepLR", "milestones": [1], "by_epoch": True},
        },
        model="pair",
    ),
    "scaled learning rate": Scenario(
        optim_wrapper={"optimizer": SGD},
        options={"auto_scale_lr": {"enable": True, "base_batch_size": 32}},
    ),
    "EMA": Scenario(
        optim_wrapper={"optimizer": SGD},
        custom_hooks=[{"type": "EMAHook", "momentum": 0.05, "begin_iter": 4}],
    ),
}


@pytest.mark.parametrize("name", SCENARIOS)
def test_same_bits_as_mmengine(name, tmp_path):
    pytest.importorskip("mmengine")
    theirs = record("mmengine", SCENARIOS[name], str(tmp_path / "theirs"))
    ours = record("mm2pl", SCENARIOS[name], str(tmp_path / "ours"))
    assert theirs["loss"], "MMEngine recorded nothing"
    assert_equal(ours, theirs)
