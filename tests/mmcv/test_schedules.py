"""Learning rates and momenta as MMCV 1.7.2 set them, iteration for iteration.

`data/mmcv_lr_curves.json` was recorded from MMCV's own hooks (`MMCV_WITH_OPS=0 pip install
--no-build-isolation --no-deps mmcv==1.7.2`, with setuptools < 70 and torch 2.13): every distinct schedule of the
configs of MMDetection 2.28.2 and MMSegmentation 0.30.0, and each policy with each warm-up.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from torch import nn
from torch.optim import SGD, Adam

from mm2pl.mmcv import Status, migrate_config, migrate_with_report
from mm2pl.mmcv.schedules import MMCVLR, MMCVMomentum
from mm2pl.optim import simulate

CURVES = json.loads((Path(__file__).parents[1] / "data/mmcv_lr_curves.json").read_text())
KEYS = ("lr_config", "momentum_config", "runner")


def name(record: dict) -> str:
    config = record.get("momentum_config") or record["lr_config"]
    short = {k: v for k, v in config.items() if k in ("policy", "warmup", "by_epoch", "step")}
    run = "-".join(str(v) for v in record["runner"].values())
    return f"{run}-" + "-".join(str(v) for v in short.values()) + f"-{record['base_lr']}"


def records() -> list:
    slow = pytest.mark.slow
    return [
        pytest.param(r, id=name(r), marks=[slow] if r["iters_run"] > 20_000 else []) for r in CURVES
    ]


@pytest.mark.parametrize("record", records())
def test_equals_mmcv(record):
    old = {key: record[key] for key in KEYS if key in record}
    schedulers = migrate_config(old)["param_scheduler"]
    run = (record["iters_run"], record["epoch_length"])
    for what, base in (("lr", record["base_lr"]), ("momentum", record.get("base_momentum"))):
        if what in record:
            curve = simulate(schedulers, base, *run, param_name=what)
            assert [curve[i] for i in record["iters"]] == pytest.approx(record[what], rel=1e-6)


EPOCHS, ITERS = (
    {"type": "EpochBasedRunner", "max_epochs": 12},
    {"type": "IterBasedRunner", "max_iters": 9},
)


@pytest.mark.parametrize(
    ("runner", "lr_config", "expected"),
    [
        pytest.param(
            EPOCHS,
            {
                "policy": "step",
                "step": [8, 11],
                "warmup": "linear",
                "warmup_iters": 500,
                "warmup_ratio": 0.001,
            },
            [
                {
                    "type": "LinearLR",
                    "start_factor": 0.001,
                    "by_epoch": False,
                    "begin": 0,
                    "end": 501,
                },
                {
                    "type": "MultiStepLR",
                    "by_epoch": True,
                    "begin": 0,
                    "end": 12,
                    "milestones": [8, 11],
                    "gamma": 0.1,
                },
            ],
            id="the-detector's",
        ),
        pytest.param(
            ITERS,
            {"policy": "poly", "power": 0.9, "min_lr": 1e-4, "by_epoch": False},
            [
                {
                    "type": "PolyLR",
                    "by_epoch": False,
                    "power": 0.9,
                    "eta_min": 1e-4,
                    "begin": 0,
                    "end": 10,
                }
            ],
            id="the-segmentor's",
        ),
        pytest.param(
            EPOCHS,
            {"policy": "CosineAnnealing", "min_lr": 0.01, "by_epoch": False},
            [
                {
                    "type": "CosineAnnealingLR",
                    "by_epoch": True,
                    "convert_to_iter_based": True,
                    "eta_min": 0.01,
                    "begin": 0,
                    "T_max": 12,
                    "end": 12,
                }
            ],
            id="by-iteration-in-an-epoch-run",
        ),
        pytest.param(ITERS, {"policy": "fixed"}, None, id="fixed"),
        pytest.param(
            ITERS, {"policy": "step", "step": [2], "by_epoch": True}, None, id="never-acted-in-1.x"
        ),
        pytest.param(
            EPOCHS,
            {"policy": "inv", "gamma": 1, "warmup": "exp", "warmup_iters": 2},
            [
                {
                    "type": "MMCVLR",
                    "policy": "inv",
                    "gamma": 1,
                    "warmup": "exp",
                    "warmup_iters": 2,
                    "warmup_ratio": 0.1,
                    "progress": "epoch",
                    "by_epoch": True,
                    "convert_to_iter_based": True,
                }
            ],
            id="closed-form",
        ),
    ],
)
def test_schedulers_written(runner, lr_config, expected):
    assert migrate_config({"lr_config": lr_config, "runner": runner})["param_scheduler"] == expected


@pytest.mark.parametrize(
    ("lr_config", "runner", "reason"),
    [
        pytest.param({"policy": "YOLOX"}, EPOCHS, "quadratic warm-up", id="toolbox-policy"),
        pytest.param({"policy": "wobble"}, EPOCHS, "not MMCV's", id="unknown-policy"),
        pytest.param({"policy": "step"}, EPOCHS, "step needs step", id="no-step"),
        pytest.param({"policy": "CosineAnnealing"}, EPOCHS, "exactly one of min_lr", id="no-min-lr"),
        pytest.param({"policy": "poly"}, None, "how long the run is", id="no-length"),
        pytest.param({"policy": "OneCycle"}, EPOCHS, "needs max_lr", id="no-max-lr"),
        pytest.param(
            {"policy": "OneCycle", "max_lr": {"gen": 1}}, EPOCHS, "dict of lists", id="lr-by-optimizer"
        ),
        pytest.param(
            {"policy": "CosineRestart", "periods": [4], "min_lr": 0}, ITERS, "MMCV fails", id="short-periods"
        ),
        pytest.param({"policy": "cyclic", "cyclic_times": 10}, ITERS, "MMCV fails", id="short-cycles"),
        pytest.param(
            {"policy": "fixed", "warmup": "linear", "warmup_iters": 1, "warmup_by_epoch": True},
            ITERS, "MMCV 1.7.2 fails here", id="epochs-in-an-iteration-run",
        ),
        pytest.param({"policy": "fixed", "stride": 1}, EPOCHS, "no argument", id="unknown-argument"),
    ],
)  # fmt: skip
def test_what_needs_the_user(lr_config, runner, reason):
    old = dict(lr_config=lr_config, **({"runner": runner} if runner else {}))
    needs = migrate_with_report(old).report.of(Status.NEEDS_YOU)
    assert any(reason in entry.note and entry.write for entry in needs)


def optimizer(cls, **kwargs):
    return cls(nn.Linear(1, 1).parameters(), lr=0.1, **kwargs)


def test_every_group_from_its_own_base():
    groups = [{"params": [nn.Parameter(nn.Linear(1, 1).weight)], "lr": lr} for lr in (0.1, 0.4)]
    sgd = SGD(groups, lr=0.1)
    schedule = MMCVLR(sgd, "step", step=1, gamma=0.5, eta_min=0.06, by_epoch=False)
    assert schedule.get_last_value() == [0.1, 0.4]
    sgd.step()
    schedule.step()
    assert schedule.get_last_value() == [0.06, 0.2]


def test_a_list_has_one_value_per_group():
    groups = [{"params": [nn.Parameter(nn.Linear(1, 1).weight)]} for _ in range(2)]
    cycle = MMCVLR(SGD(groups, lr=1), "OneCycle", length=9, max_lr=[0.5, 5], by_epoch=False)
    assert cycle.get_last_value() == pytest.approx([0.02, 0.2])


@pytest.mark.parametrize(
    "lr_config",
    [
        pytest.param({"policy": "poly", "power": 0.9, "warmup": "exp"}, id="poly"),
        pytest.param({"policy": "CosineRestart", "periods": [4, 5], "min_lr": 0, "restart_weights": [1, 1]},
                     id="restart"),
        pytest.param({"policy": "FlatCosineAnnealing", "start_percent": 0.99, "min_lr": 0, "warmup": "exp"},
                     id="flat"),
        pytest.param({"policy": "cyclic", "step_ratio_up": 0.0}, id="cyclic"),
        pytest.param({"policy": "OneCycle", "max_lr": 1, "warmup": "exp"}, id="one-cycle"),
    ],
)  # fmt: skip
def test_the_tick_after_the_last_iteration(lr_config):
    old = {"runner": ITERS, "lr_config": {"warmup_iters": 20, **lr_config}}
    (config,) = migrate_config(old)["param_scheduler"]
    assert config.pop("type") == "MMCVLR"
    schedule = MMCVLR(optimizer(SGD), **config)
    schedule.optimizer.step()
    for _ in range(ITERS["max_iters"]):
        schedule.step()
    assert 0 <= schedule.get_last_value()[0] <= 1


def test_momentum_goes_to_betas():
    adam = optimizer(Adam, betas=(0.8, 0.99))
    MMCVMomentum(adam, "fixed", warmup="constant", warmup_iters=2, warmup_ratio=0.5, by_epoch=False)
    assert adam.param_groups[0]["betas"] == (1.6, 0.99)


def test_state_continues_the_schedule():
    def build():
        return MMCVLR(optimizer(SGD), "poly", length=10, by_epoch=False)

    whole, first, second = build(), build(), build()
    for schedule in (whole, first):
        schedule.optimizer.step()
        for _ in range(3):
            schedule.step()
    second.load_state_dict(first.state_dict())
    second.optimizer.step()
    for schedule in (whole, second):
        schedule.step()
    assert whole.get_last_value() == second.get_last_value() == [pytest.approx(0.06)]


@pytest.mark.parametrize(
    ("kwargs", "match"),
    [
        ({"policy": "Poly", "length": 1}, "policy='Poly' is none of MMCV's"),
        (
            {"policy": "fixed", "warmup": "cosine", "by_epoch": False},
            "warmup='cosine' must be None",
        ),
        ({"policy": "fixed", "warmup": "exp", "by_epoch": False}, "positive number of iterations"),
        ({"policy": "fixed", "progress": "epoch", "by_epoch": False}, "needs the epoch's length"),
        ({"policy": "fixed", "warmup": "exp", "warmup_iters": 1}, "needs the epoch's length"),
        ({"policy": "LinearAnnealing", "length": 1}, "give one of the two"),
        (
            {"policy": "CosineRestart", "periods": [], "restart_weights": [], "eta_min": 0},
            "after its last period",
        ),
    ],
)
def test_bad_arguments(kwargs, match):
    with pytest.raises(ValueError, match=match):
        MMCVLR(optimizer(SGD), **kwargs)


@pytest.mark.parametrize(
    ("kwargs", "match"),
    [
        ({"by_epoch": False, "epoch_length": 2}, "by_epoch=False is by iteration already"),
        ({"epoch_length": None}, "epoch_length=None must be a positive"),
    ],
)
def test_only_epochs_are_converted(kwargs, match):
    with pytest.raises(ValueError, match=match):
        MMCVLR.build_iter_from_epoch(optimizer(SGD), "fixed", **kwargs)
