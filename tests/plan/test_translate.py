"""From a config's keys to LightningCLI's form."""

from __future__ import annotations

import pytest

from mm2pl.plan.keys import KEYS
from mm2pl.plan.translate import (
    check_complete,
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
    open_ = {"type": "Own"}  # takes arguments of its own, so that nothing in it is unknown
    config = {name: {**open_, "marker": name} for name in KEYS}
    config["train_cfg"] = {"max_epochs": 1}
    config["launcher"], config["auto_scale_lr"], config["env_cfg"], config["randomness"] = (
        "none",
        {},
        {},
        {},
    )
    config["param_scheduler"], config["strategy"] = {"type": "StepLR"}, {"type": "DDPStrategy"}
    config["work_dir"], config["resume"] = "w", True
    config["data_module"] = None  # stands for the loaders
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
        (None, {}),
    ],
    ids=["by_epoch", "epoch-type", "iter-type", "no training"],
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
    model = object()
    plan = translate({**TRAIN, "model": model}, environ={})
    assert plan.model["model"] is model
    with pytest.raises(TypeError, match=r"model\.init_args\.model is a live object object"):
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
        ({"data_module": {}, "train_cfg": {}}, r"\['train_cfg'\] but not \['optim_wrapper'\]"),
        (
            {"data_module": {}, "train_dataloader": {}},
            "data_module and .'train_dataloader'., which",
        ),
    ],
    ids=["train", "val", "scheduler", "data module", "data twice"],
)
def test_half_a_stage_is_an_error(config, message):
    with pytest.raises(ValueError, match=message):
        check_complete(config)


class HasSteps:
    """Stands for a LightningModule: what counts is that there is a step."""

    def training_step(self):
        raise NotImplementedError


@pytest.mark.parametrize(
    "model", [{"type": HasSteps}, HasSteps(), {"type": f"{__name__}.HasSteps"}]
)
def test_a_model_with_its_own_steps_brings_the_last_of_each_stage(model):
    stages = {"train_dataloader": {}, "train_cfg": {}, "val_dataloader": {}, "val_cfg": {}}
    check_complete({"model": model, **stages})
    with pytest.raises(ValueError, match=r"but not \['train_cfg'\]"):
        check_complete({"model": model, "train_dataloader": {}, "optim_wrapper": {}})


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
