"""1.x configs as dicts: where each key goes, and what the report says."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mm2pl.config import Config
from mm2pl.mmcv import Status, migrate_config, migrate_with_report
from mm2pl.mmcv.migration.decisions import Choices
from mm2pl.mmcv.runner import OPTIMIZER_BUILDERS, DefaultOptimizerConstructor
from mm2pl.optim import build_optim_wrapper

EPOCHS = {"type": "EpochBasedRunner", "max_epochs": 4}
ITERS = {"type": "IterBasedRunner", "max_iters": 90}
SGD = {"type": "SGD", "lr": 0.1}


def entry(old: dict, key: str):
    return next(e for e in migrate_with_report(old).report if e.key == key)


WRAPPER = {"type": "OptimWrapper", "optimizer": SGD}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param({"optimizer_config": {}}, {}, id="plain"),
        pytest.param({"optimizer_config": {"grad_clip": None}}, {}, id="no-clip"),
        pytest.param(
            {"optimizer_config": {"grad_clip": {"max_norm": 35}}},
            {"clip_grad": {"max_norm": 35}},
            id="clip",
        ),
        pytest.param(
            {"optimizer": {**SGD, "paramwise_cfg": {"norm_decay_mult": 0}}},
            {"paramwise_cfg": {"norm_decay_mult": 0}},
            id="paramwise",
        ),
        pytest.param(
            {"optimizer": {**SGD, "constructor": "Mine"}},
            {
                "constructor": "MMCVOptimizerConstructor",
                "optimizer": {**SGD, "constructor": "Mine"},
            },
            id="constructor",
        ),
        pytest.param(
            {
                "optimizer_config": {
                    "type": "GradientCumulativeOptimizerHook",
                    "cumulative_iters": 4,
                }
            },
            {"accumulative_counts": 4},
            id="accumulation",
        ),
        pytest.param(
            {"fp16": {"loss_scale": 512.0}},
            {"type": "AmpOptimWrapper", "loss_scale": 512.0},
            id="fp16-static",
        ),
        pytest.param(
            {"fp16": {}}, {"type": "AmpOptimWrapper", "loss_scale": 512.0}, id="fp16-empty"
        ),
        pytest.param({"fp16": None}, {}, id="fp16-off"),
        pytest.param(
            {
                "optimizer_config": {"type": "Fp16OptimizerHook", "loss_scale": "dynamic"},
                "fp16": {},
            },
            {"type": "AmpOptimWrapper", "loss_scale": "dynamic"},
            id="fp16-hook",
        ),
        pytest.param(
            {"fp16": {"loss_scale": {"init_scale": 8, "mode": "dynamic", "scale_window": 100}}},
            {"type": "AmpOptimWrapper", "loss_scale": {"init_scale": 8, "growth_interval": 100}},
            id="fp16-own-scaler",
        ),
        pytest.param(
            {
                "optimizer_config": {
                    "type": "GradientCumulativeFp16OptimizerHook",
                    "cumulative_iters": 2,
                    "grad_clip": {"max_norm": 1},
                }
            },
            {
                "type": "AmpOptimWrapper",
                "loss_scale": 512.0,
                "accumulative_counts": 2,
                "clip_grad": {"max_norm": 1},
            },
            id="all-at-once",
        ),
    ],
)
def test_optim_wrapper(old, new):
    assert migrate_config({"optimizer": SGD, **old})["optim_wrapper"] == {**WRAPPER, **new}


def test_a_toolbox_of_today_has_its_constructors():
    old = {"optimizer": {**SGD, "constructor": "LearningRateDecayOptimizerConstructor"}}
    wrapper = migrate_with_report(old, Choices(toolbox="mmseg")).config["optim_wrapper"]
    assert wrapper == {**WRAPPER, "constructor": "LearningRateDecayOptimizerConstructor"}


def test_a_constructor_of_1x_builds_the_optimizer():
    class Halved(DefaultOptimizerConstructor):
        def __call__(self, model):
            return torch.optim.SGD(model.parameters(), lr=self.paramwise_cfg["factor"] * 0.1)

    OPTIMIZER_BUILDERS.register_module(name="Halved", module=Halved)
    optimizer = {**SGD, "constructor": "Halved", "paramwise_cfg": {"factor": 0.5}}
    old = {"optimizer": optimizer, "optimizer_config": {"grad_clip": {"max_norm": 1}}}
    wrapper = build_optim_wrapper(nn.Linear(1, 1), migrate_config(old)["optim_wrapper"])
    assert wrapper.get_lr()["lr"] == [0.05]
    assert wrapper.clip_grad_kwargs == {"max_norm": 1}


@pytest.mark.parametrize("given", [{}, {"optimizer": "SGD"}])
def test_a_constructor_of_1x_needs_an_optimizer(given):
    with pytest.raises(ValueError, match="its optimizer must be a dict such as"):
        build_optim_wrapper(nn.Linear(1, 1), {"constructor": "MMCVOptimizerConstructor", **given})


@pytest.mark.parametrize("key", ["optimizer", "optimizers"])
def test_several_optimizers_one_wrapper_each(key):
    old = {
        key: {"generator": SGD, "critic": {"type": "Adam", "lr": 1}},
        "optimizer_config": {"grad_clip": {"max_norm": 1}},
    }
    wrapper = migrate_config(old)["optim_wrapper"]
    assert wrapper["constructor"] == "MMCVOptimWrapperConstructor"
    assert wrapper["critic"] == {
        "type": "OptimWrapper",
        "clip_grad": {"max_norm": 1},
        "optimizer": {"type": "Adam", "lr": 1},
    }


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param(
            {"runner": EPOCHS},
            {"train_cfg": {"type": "EpochBasedTrainLoop", "max_epochs": 4, "val_interval": 1}},
            id="epochs",
        ),
        pytest.param(
            {"runner": ITERS, "evaluation": {"interval": 30}},
            {"train_cfg": {"type": "IterBasedTrainLoop", "max_iters": 90, "val_interval": 30}},
            id="iterations",
        ),
        pytest.param(
            {"total_epochs": 4},
            {"train_cfg": {"type": "EpochBasedTrainLoop", "max_epochs": 4, "val_interval": 1}},
            id="total-epochs",
        ),
        pytest.param(
            {"runner": EPOCHS, "evaluation": {"start": 3, "interval": 3}},
            {
                "train_cfg": {
                    "type": "EpochBasedTrainLoop",
                    "max_epochs": 4,
                    "val_interval": 3,
                    "val_begin": 3,
                }
            },
            id="start",
        ),
        pytest.param(
            {"checkpoint_config": {"interval": 2, "max_keep_ckpts": 3, "create_symlink": False}},
            {
                "default_hooks": {
                    "checkpoint": {"type": "CheckpointHook", "interval": 2, "max_keep_ckpts": 3}
                }
            },
            id="checkpoints",
        ),
        pytest.param(
            {"runner": ITERS, "checkpoint_config": {"interval": 30}},
            {
                "default_hooks": {
                    "checkpoint": {"type": "CheckpointHook", "interval": 30, "by_epoch": False}
                }
            },
            id="checkpoints-by-iteration",
        ),
        pytest.param(
            {"checkpoint_config": None},
            {"default_hooks": {"checkpoint": None}},
            id="no-checkpoints",
        ),
        pytest.param(
            {"log_config": {"interval": 20, "hooks": [{"type": "TextLoggerHook"}]}},
            {
                "default_hooks": {"logger": {"type": "LoggerHook", "interval": 20}},
                "log_processor": {"window_size": 20, "by_epoch": True},
            },
            id="log",
        ),
        pytest.param(
            {
                "log_config": {
                    "interval": 20,
                    "hooks": [{"type": "TensorboardLoggerHook", "log_dir": "tb"}],
                }
            },
            {
                "vis_backends": [
                    {"type": "LocalVisBackend"},
                    {"type": "TensorboardVisBackend", "save_dir": "tb"},
                ]
            },
            id="tensorboard",
        ),
        pytest.param(
            {"seed": 3, "deterministic": True, "diff_seed": False},
            {"randomness": {"seed": 3, "deterministic": True, "diff_rank_seed": False}},
            id="seed",
        ),
        pytest.param(
            {
                "dist_params": {"backend": "gloo"},
                "cudnn_benchmark": True,
                "mp_start_method": "fork",
            },
            {
                "env_cfg": {
                    "cudnn_benchmark": True,
                    "mp_cfg": {"mp_start_method": "fork"},
                    "dist_cfg": {"backend": "gloo"},
                }
            },
            id="environment",
        ),
        pytest.param(
            {"load_from": "a.pth", "resume_from": None},
            {"load_from": "a.pth", "resume": False},
            id="load",
        ),
        pytest.param(
            {"load_from": "a.pth", "resume_from": "b.pth"},
            {"load_from": "b.pth", "resume": True},
            id="resume",
        ),
        pytest.param({"auto_resume": True}, {"load_from": None, "resume": True}, id="auto-resume"),
        pytest.param({"find_unused_parameters": True}, {"find_unused_parameters": True}, id="ddp"),
        pytest.param(
            {"custom_hooks": [{"type": "EMAHook", "momentum": 0.001, "priority": 49}]},
            {
                "custom_hooks": [
                    {
                        "type": "EMAHook",
                        "ema_type": "ExponentialMovingAverage",
                        "momentum": 0.001,
                        "priority": 49,
                    }
                ]
            },
            id="ema",
        ),
        pytest.param(
            {"name": "net", "depth": 3, "model": {"init": "${name}-${depth}.pth", "d": "${depth}"}},
            {"model": {"init": "net-3.pth", "d": 3}},
            id="references",
        ),
        pytest.param(
            {"model": {"type": "Net"}, "train_cfg": {"rpn": 1}},
            {"model": {"type": "Net", "train_cfg": {"rpn": 1}}},
            id="model-settings-at-the-top",
        ),
    ],
)
def test_keys(old, new):
    migrated = migrate_config(old)
    assert {key: migrated[key] for key in new} == new


@pytest.mark.parametrize(
    ("old", "key", "status", "said"),
    [
        pytest.param({"optimizer": SGD}, "optimizer", Status.EXACT, "", id="exact"),
        pytest.param(
            {"workflow": [("train", 1), ("val", 1)]}, "workflow", Status.NEEDS_YOU, "losses", id="val-flow"
        ),
        pytest.param(
            {"workflow": [("val", 1), ("train", 1)]}, "workflow", Status.NEEDS_YOU, "never before",
            id="val-first",
        ),
        pytest.param({"gpu_ids": [0]}, "gpu_ids", Status.NOTE, "launcher", id="gpus"),
        pytest.param(
            {"runner": {"type": "MyRunner", "max_epochs": 1}}, "runner.type", Status.NEEDS_YOU,
            "of your own", id="own-runner",
        ),
        pytest.param(
            {"optimizer_config": {"type": "MyHook"}}, "optimizer_config.type", Status.NEEDS_YOU,
            "of your own", id="own-optimizer-hook",
        ),
        pytest.param(
            {"optimizer_config": None}, "optimizer_config", Status.NOTE, "steps by itself", id="gan"
        ),
        pytest.param(
            {"custom_hooks": [{"type": "MyHook", "priority": "HIGH"}]}, "custom_hooks[0].priority",
            Status.NOTE, "ran before OptimizerHook", id="early-hook",
        ),
        pytest.param(
            {"custom_hooks": [{"type": "MyHook"}]}, "custom_hooks[0].type", Status.NEEDS_YOU,
            "migrate --code", id="own-hook",
        ),
        pytest.param(
            {"log_config": {"interval": 1, "hooks": [{"type": "PaviLoggerHook"}]}},
            "log_config.hooks[0].type", Status.NEEDS_YOU, "no backend", id="logger-without-successor",
        ),
        pytest.param(
            {"checkpoint_config": {"intervall": 1}}, "checkpoint_config.intervall", Status.NEEDS_YOU,
            "no argument", id="misspelt",
        ),
        pytest.param(
            {"runner": ITERS, "checkpoint_config": {"by_epoch": True}}, "checkpoint_config.by_epoch",
            Status.NOTE, "never saved", id="never-saved",
        ),
        pytest.param(
            {"auto_resume": True, "load_from": "a"}, "load_from", Status.NEEDS_YOU, "resumed",
            id="auto-resume-with-weights",
        ),
        pytest.param(
            {"runner": EPOCHS, "precise_bn": {"num_iters": 2}}, "precise_bn", Status.NEEDS_YOU,
            "MMEngine does not", id="key-of-one-toolbox",
        ),
        pytest.param(
            {"runner": EPOCHS, "evaluation": {"key_indicator": "AP"}, "data": {"val": {}}},
            "evaluation.key_indicator", Status.NOTE, "older name", id="older-name",
        ),
        pytest.param({"norm_cfg": {"type": "BN"}}, "norm_cfg", Status.EXACT, "", id="helper-variable"),
    ],
)  # fmt: skip
def test_report(old, key, status, said):
    entries = [e for e in migrate_with_report(old).report if e.key == key]
    assert any(e.status is status and (said in e.note or said in e.write) for e in entries)
    assert all(bool(e.write) for e in entries if e.status is Status.NEEDS_YOU)


@pytest.mark.parametrize(
    "key", ["runner", "data", "evaluation", "checkpoint_config", "custom_hooks"]
)
def test_empty_values_are_reported_too(key):
    assert migrate_with_report({"runner": EPOCHS, key: {}}).report.covers(key)


@pytest.mark.parametrize(
    ("old", "match"),
    [
        ({"optimizer": "SGD"}, "optimizer='SGD' must be a dict or None"),
        ({"data": 3, "runner": []}, "runner=.* must be a dict or None; data=3"),
        ({"workflow": ["train"]}, r"workflow=\['train'\] must be a list of pairs"),
        ({"custom_hooks": ["EMAHook"]}, r"custom_hooks=\['EMAHook'\] must be a list of dicts"),
        ({"log_config": {"hooks": ["TextLoggerHook"]}}, "log_config.hooks=.* must be a list of dicts"),
    ],
)  # fmt: skip
def test_types_that_1x_does_not_take(old, match):
    with pytest.raises(TypeError, match=match):
        migrate_config(old)


def test_takes_a_config():
    assert migrate_config(Config({"optimizer": SGD}))["optim_wrapper"] == WRAPPER


def test_unknown_toolbox():
    with pytest.raises(ValueError, match="toolbox='mmfoo' → one of mmdet, mmseg"):
        migrate_with_report({}, Choices(toolbox="mmfoo"))


@pytest.mark.parametrize(
    ("value", "status", "told"),
    [(True, Status.NEEDS_YOU, "by apex"), (False, Status.NOTE, "off"), (None, Status.NOTE, "off")],
)
def test_the_optimizer_hook_that_swin_transformer_handed_on(value, status, told):
    options = {"coalesce": True, "bucket_size_mb": -1, "grad_clip": None, "use_fp16": value}
    config = {
        "optimizer": {"type": "SGD", "lr": 0.1},
        "optimizer_config": {"type": "DistOptimizerHook", "update_interval": 2, **options},
    }
    migrated = migrate_with_report(config)
    assert migrated.config["optim_wrapper"] == {
        "type": "OptimWrapper",
        "optimizer": {"type": "SGD", "lr": 0.1},
        "accumulative_counts": 2,
    }
    rows = {entry.key.partition(" ")[0]: entry for entry in migrated.report.entries}
    assert rows["optimizer_config.use_fp16"].status is status
    assert told in rows["optimizer_config.use_fp16"].note
    assert rows["optimizer_config.coalesce"].status is Status.NOTE
