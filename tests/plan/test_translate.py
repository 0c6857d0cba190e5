"""From a config's keys to LightningCLI's form."""

from __future__ import annotations

import pytest
import torch

from mm2pl.plan.keys import KEYS
from mm2pl.plan.translate import (
    length_of_run,
    processes,
    require_plain,
    split_callbacks,
    translate,
)

TRAIN = {
    "model": {"type": "M"},
    "train_dataloader": {"dataset": {"type": "D"}},
    "train_cfg": {"by_epoch": True, "max_epochs": 3},
    "optim_wrapper": {"optimizer": {"type": "SGD", "lr": 0.1}},
}


def test_every_key_lands_in_exactly_one_place():
    lists = ("custom_hooks", "tta_pipeline")
    texts = ("default_scope", "load_from", "work_dir", "experiment_name", "runner_type")
    loader, own = {"dataset": {"type": "Own"}}, {"type": "Own"}
    config = {
        **dict.fromkeys(KEYS, own),
        **{name: [own] for name in lists},
        **dict.fromkeys(texts, "text"),
        **{name: loader for name in KEYS if name.endswith("_dataloader")},
        **{name: {} for name in ("auto_scale_lr", "env_cfg", "randomness", "custom_imports")},
        **{"activation_checkpointing": "a", "efficient_conv_bn_eval": "a", "sync_bn": "torch"},
        **{"log_level": "INFO", "find_unused_parameters": True, "resume": True, "launcher": "none"},
        "optim_wrapper": TRAIN["optim_wrapper"],
        "train_cfg": TRAIN["train_cfg"],
        "strategy": {"type": "DDPStrategy"},
        "compile": {},
        "randomness": {"seed": 1},
        "default_hooks": {},
        "datamodule": None,  # stands for the loaders
    }
    plan = translate(config, environ={})
    places = [plan.model, plan.data, plan.run, plan.run["options"]]
    found = {name: sum(name in place for place in places) for name in KEYS}
    assert found.pop("default_scope") == 2  # the module looks names up too
    assert set(found.values()) == {1}


@pytest.mark.parametrize(
    ("train_cfg", "expected"),
    [
        ({"by_epoch": True, "max_epochs": 12}, {"max_epochs": 12}),
        ({"type": "EpochBasedTrainLoop", "max_epochs": 12}, {"max_epochs": 12}),
        (
            {"type": "IterBasedTrainLoop", "max_iters": 7},
            {"max_epochs": 1, "limit_train_batches": 7},
        ),
        ({"by_epoch": True, "max_epochs": -1}, {"max_epochs": 0}),
        (None, {}),
    ],
    ids=["by_epoch", "epoch-type", "iter-type", "negative", "no training"],
)
def test_length_of_run(train_cfg, expected):
    assert length_of_run(train_cfg) == expected


def test_a_length_that_is_no_number():
    with pytest.raises(ValueError, match="train_cfg: max_epochs='three' → a whole number"):
        length_of_run({"max_epochs": "three"})


def test_cli_form_of_a_training_config():
    cli = translate(TRAIN, filename="configs/small.py", environ={}).as_cli()
    assert set(cli) == {"trainer", "model", "data"}
    assert cli["trainer"]["max_epochs"] == 3
    assert cli["trainer"]["num_sanity_val_steps"] == 0
    assert cli["trainer"]["default_root_dir"] == "./work_dirs/small"
    assert cli["trainer"]["callbacks"][0]["class_path"] == "mm2pl.lightning.RunCallback"
    assert cli["model"]["init_args"]["optim_wrapper"] == TRAIN["optim_wrapper"]
    assert cli["data"]["init_args"]["train_dataloader"] == TRAIN["train_dataloader"]


def test_helper_variables_are_kept_for_hooks_that_read_them():
    plan = translate({**TRAIN, "norm_cfg": {"type": "BN"}}, environ={})
    assert plan.run["variables"] == {"norm_cfg": {"type": "BN"}}


def test_input_is_not_changed():
    config = {**TRAIN, "work_dir": "here"}
    before = dict(config)
    translate(config, environ={}).run["work_dir"] = "there"
    assert config == before


def test_live_objects_pass_through_and_cannot_be_written():
    model = torch.nn.Identity()
    plan = translate({**TRAIN, "model": model}, environ={})
    assert plan.model["model"] is model
    with pytest.raises(TypeError, match=r"model\.init_args\.model is a live Identity object"):
        require_plain(plan.as_cli())


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            {"train_cfg": {"max_epochs": 1}},
            r"\['train_cfg'\] but not \['train_dataloader', 'optim_wrapper'\]",
        ),
        ({"val_cfg": {}, "val_evaluator": {}}, r"but not \['val_dataloader'\].*the val stage"),
        ({"param_scheduler": {"type": "StepLR"}}, "param_scheduler but no optim_wrapper"),
    ],
    ids=["train", "val", "scheduler"],
)
def test_half_a_stage_is_an_error(config, message):
    with pytest.raises(ValueError, match=message):
        translate({"model": {"type": "M"}, **config})


class HasSteps(torch.nn.Module):
    """Stands for a LightningModule: what counts is that there is a step."""

    def training_step(self):
        raise NotImplementedError


@pytest.mark.parametrize(
    "model", [{"type": HasSteps}, HasSteps(), {"type": f"{__name__}.HasSteps"}]
)
def test_a_model_with_its_own_steps_brings_the_last_of_each_stage(model):
    loader = {"dataset": {"type": "Own"}}
    stages = {"train_dataloader": loader, "train_cfg": TRAIN["train_cfg"]}
    stages |= {"val_dataloader": loader, "val_cfg": {}}
    translate({"model": model, **stages}, environ={})
    with pytest.raises(ValueError, match=r"but not \['train_cfg'\]"):
        translate({"model": model, "train_dataloader": loader, "optim_wrapper": {}})


def test_launcher_becomes_ddp_with_mmengines_defaults():
    config = {"launcher": "pytorch", "env_cfg": {"dist_cfg": {"backend": "gloo"}}}
    environ = {"WORLD_SIZE": "8", "LOCAL_WORLD_SIZE": "4"}
    assert processes(config, environ) == {
        "devices": 4,
        "num_nodes": 2,
        "strategy": {
            "class_path": "mm2pl.lightning.ddp.MMDDPStrategy",
            "init_args": {
                "broadcast_buffers": False,
                "find_unused_parameters": False,
                "process_group_backend": "gloo",
            },
        },
    }


def test_lightning_callbacks_among_the_hooks():
    monitor = {"type": "lightning.pytorch.callbacks.LearningRateMonitor", "log_momentum": True}
    callbacks, hooks = split_callbacks([{"type": "EMAHook"}, monitor])
    assert hooks == [{"type": "EMAHook"}]
    assert callbacks == [
        {"class_path": monitor["type"], "init_args": {"log_momentum": True}},
    ]
