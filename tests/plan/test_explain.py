"""Every key of a config is explained."""

from __future__ import annotations

import pytest

from mm2pl.closest import misspelt
from mm2pl.plan.explain import explain, table
from mm2pl.plan.keys import KEYS
from mm2pl.plan.legacy import LEGACY
from tests.plan.rows import problems

GOOD = {
    "model": {"type": "M"},
    "train_cfg": {"by_epoch": True, "max_epochs": 3},
    "train_dataloader": {"dataset": {"type": "D"}},
    "optim_wrapper": {"type": "OptimWrapper", "optimizer": {"type": "SGD"}},
    "default_hooks": {"timer": None, "checkpoint": {"type": "CheckpointHook"}},
    "norm_cfg": {"type": "BN"},
}


def row(config, key):
    return next(entry for entry in explain(config) if entry.key == key)


def test_a_good_config_has_no_problems_and_no_key_is_left_out():
    assert not problems(GOOD)
    assert set(GOOD) <= {entry.key for entry in explain(GOOD)}
    assert row(GOOD, "norm_cfg").status == "unused"
    assert row(GOOD, "default_hooks.timer").note == "removes this default hook"


@pytest.mark.parametrize("name", LEGACY)
def test_leftovers_of_mmcv_are_warned_about(name):
    assert row({**GOOD, name: {}}, name).status == "warning"


@pytest.mark.parametrize(
    ("change", "key", "status", "note"),
    [
        ({"param_schedulers": []}, "param_schedulers", "warning", "'param_scheduler'"),
        ({"optim_wraper": {}}, "optim_wraper", "warning", "'optim_wrapper'"),
        (
            {"train_cfg": {"by_epoch": True, "val_iterval": 1}},
            "train_cfg.val_iterval",
            "error",
            "'val_interval'",
        ),
        (
            {"train_cfg": {"by_epoch": True, "max_epoch": 1}},
            "train_cfg.max_epoch",
            "error",
            "'max_epochs'",
        ),
        (
            {"train_cfg": {"by_epoch": True, "type": "X"}},
            "train_cfg",
            "error",
            "only one of the two",
        ),
        (
            {"env_cfg": {"backend": "nccl"}},
            "env_cfg.backend",
            "warning",
            "dist_cfg=dict(backend=…)",
        ),
        (
            {"optim_wrapper": {"type": "ApexOptimWrapper"}},
            "optim_wrapper.type",
            "error",
            "AmpOptimWrapper",
        ),
    ],
    ids=["plural", "misspelt", "val_iterval", "max_epoch", "type and by_epoch", "backend", "apex"],
)
def test_mistakes(change, key, status, note):
    found = [entry for entry in problems({**GOOD, **change}) if entry.key == key]
    assert found, problems({**GOOD, **change})
    assert found[-1].status == status
    assert note in found[-1].note


def test_arguments_of_a_custom_loop_are_its_own():
    assert not problems({**GOOD, "train_cfg": {"type": "MyLoop", "anything": 1}})


def test_a_whole_1x_config_is_recognised():
    config = {"data": {}, "runner": {}, "default_scope": "mmdet"}
    assert {entry.status for entry in explain(config)} == {"error"}
    assert "mm2pl migrate" in explain(config)[0].note


def test_usual_helper_variables_are_no_near_misses():
    names = "train_pipeline test_pipeline val_pipeline dataset_type data_root norm_cfg optimizer max_epochs img_scales"
    assert [misspelt(name, KEYS) for name in names.split()] == [None] * 9


def test_tables():
    rows = explain({"norm_cfg": {"a": "x|y"}})
    assert table(rows).splitlines()[0].startswith("key")
    assert r"x\|y" in table(rows, "md")


class Theirs:
    """A backend of a user's, with a logger of its own."""

    logger = None


class Plain:
    """A backend of a user's, without one."""


def test_the_logger_that_a_backend_becomes():
    kinds = [
        *("LocalVisBackend", "TensorboardVisBackend", "mmengine.WandbVisBackend", "AimVisBackend"),
        *("mm2pl.visualization.MLflowVisBackend", Theirs, Plain),
    ]
    backends = [{"type": kind} for kind in kinds]
    config = {"resume": False, "visualizer": {"type": "Visualizer", "vis_backends": backends}}
    targets = [row.target for row in explain({**config, "launcher": "none"}, types=True)]
    assert targets[1:-1] == [
        "Trainer(logger=…)",
        "BackendLogger(LocalVisBackend) in trainer.loggers",
        "TensorBoardLogger in trainer.loggers",
        "WandbLogger in trainer.loggers",
        "BackendLogger(AimVisBackend) in trainer.loggers",
        "MLFlowLogger in trainer.loggers",
        "the logger of Theirs in trainer.loggers",
        "BackendLogger(Plain) in trainer.loggers",
    ]


@pytest.mark.parametrize(
    ("backend", "target"),
    [
        ({"type": "TensorboardVisBackend"}, "TensorBoardLogger in trainer.loggers"),
        ({"type": "mmengine.WandbVisBackend"}, "WandbLogger in trainer.loggers"),
        ({"type": "subprocess.call"}, "BackendLogger(subprocess.call) in trainer.loggers"),
    ],
)
def test_the_logger_of_a_strangers_config_is_not_looked_up(backend, target):
    config = {"visualizer": {"type": "Visualizer", "vis_backends": [backend]}}
    assert row(config, "visualizer.vis_backends.0").target == target


@pytest.mark.parametrize(
    "visualizer",
    [None, "Visualizer", {"type": "V"}, {"vis_backends": 3}, {"vis_backends": [3, {}]}],
)
def test_visualizers_without_backends(visualizer):
    assert [entry.key for entry in explain({"visualizer": visualizer})] == ["visualizer"]
