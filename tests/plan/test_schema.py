"""What is wrong with a config is said of its key, before anything is built."""

from __future__ import annotations

import builtins
import copy
import math
from pathlib import Path

import pytest
import torch

from mm2pl.config import Config
from mm2pl.optim import DefaultOptimWrapperConstructor
from mm2pl.plan.explain import explain
from mm2pl.plan.fault import FaultyConfigError
from mm2pl.plan.key import Inside
from mm2pl.plan.keys import KEYS
from mm2pl.plan.schema import faults_of, refuse
from mm2pl.registry import HOOKS, MODELS, OPTIM_WRAPPER_CONSTRUCTORS, Registry


def loader(**changes):
    given = {"dataset": {"type": "ConcatDataset", "datasets": []}, "batch_size": 2}
    return {**given, "sampler": {"type": "DefaultSampler", "shuffle": True}, **changes}


def optim(**changes):
    return {"optimizer": {"type": "SGD", "lr": 0.1, "weight_decay": 0.0}, **changes}


def saving(**changes):
    return {"checkpoint": {"type": "CheckpointHook", **changes}}


GOOD = {
    "model": {"type": "mm2pl.model.BaseModel"},
    "work_dir": "w",
    "train_cfg": {"by_epoch": True, "max_epochs": 3},
    "train_dataloader": loader(),
    "optim_wrapper": optim(),
    "param_scheduler": [{"type": "MultiStepLR", "milestones": [2]}],
    "val_cfg": {},
    "val_dataloader": loader(),
    "val_evaluator": {"type": "mm2pl.evaluator.DumpResults", "out_file_path": "a.pkl"},
}

PREPROCESSOR = {"type": "ImgDataPreprocessor", "bgr_to_rgb": "False"}

# The rows of things that people typed: what is changed, the key, a part of what is said.
ERRORS = {
    "no dict": ({"randomness": 42}, "randomness", "a dict"),
    "no hooks": ({"default_hooks": 42}, "default_hooks", "a dict"),
    "no environment": ({"env_cfg": 42}, "env_cfg", "a dict"),
    "no seed": ({"randomness": {"deterministic": True}}, "randomness", "add seed=…"),
    "no launcher": ({"launcher": None}, "launcher", "one of 'none', 'pytorch', 'slurm', 'mpi'"),
    "not a number": (
        {"optim_wrapper": optim(optimizer={"type": "SGD", "lr": math.nan})},
        "optim_wrapper.optimizer.lr",
        "a number of at least 0",
    ),
    "misspelt function": (
        {"train_dataloader": loader(collate_fn={"type": "default_colate"})},
        "train_dataloader.collate_fn.type",
        "Did you mean 'default_collate'",
    ),
    "no loader": ({"train_dataloader": 42}, "train_dataloader", "a dict or a built DataLoader"),
    "list of loaders": ({"train_dataloader": [loader()]}, "train_dataloader", "a dict"),
    "one of several sets": (
        {"val_dataloader": [loader(), loader(batch_size=0)]},
        "val_dataloader.1.batch_size",
        "a whole number of at least 1",
    ),
    "type in one of several sets": (
        {"val_dataloader": [loader(), loader(dataset={"type": "NoSuchData"})]},
        "val_dataloader.1.dataset.type",
        "a name of the mm2pl::dataset registry",
    ),
    "no workers in one of several sets": (
        {"val_dataloader": [loader(), loader(timeout=3)]},
        "val_dataloader.1.timeout",
        "there are no workers",
    ),
    "no model": ({"model": None}, "model", "dict(type=…)"),
    "text for a number": (
        {"train_dataloader": loader(batch_size="x")},
        "train_dataloader.batch_size",
        "a whole number of at least 1 or None (samples)",
    ),
    "negative workers": (
        {"train_dataloader": loader(num_workers=-1)},
        "train_dataloader.num_workers",
        "at least 0",
    ),
    "workers that stay": (
        {"train_dataloader": loader(persistent_workers=True)},
        "train_dataloader.persistent_workers",
        "num_workers=1",
    ),
    "num_worker": (
        {"train_dataloader": loader(num_worker=2)},
        "train_dataloader.num_worker",
        "Did you mean 'num_workers'?",
    ),
    "negative rate": (
        {"optim_wrapper": {"optimizer": {"type": "SGD", "lr": -1}}},
        "optim_wrapper.optimizer.lr",
        "at least 0",
    ),
    "accumulation": (
        {"optim_wrapper": optim(accumulative_counts="text")},
        "optim_wrapper.accumulative_counts",
        "a number of at least 1 (iterations)",
    ),
    "interval": (
        {"train_cfg": {"by_epoch": True, "max_epochs": 3, "val_interval": "x"}},
        "train_cfg.val_interval",
        "epochs or iterations",
    ),
    "both lengths": (
        {"train_cfg": {"by_epoch": True, "max_epochs": 3, "max_iters": 3}},
        "train_cfg.max_iters",
        "counts epochs",
    ),
    "half an epoch": (
        {"train_cfg": {"by_epoch": True, "max_epochs": 1.5}},
        "train_cfg.max_epochs",
        "a whole number (epochs)",
    ),
    "no length": ({"train_cfg": {"by_epoch": True}}, "train_cfg", "add max_epochs=…"),
    "kept": (
        {"default_hooks": saving(max_keep_ckpts="x")},
        "default_hooks.checkpoint.max_keep_ckpts",
        "a whole number (files)",
    ),
    "hook without type": (
        {"default_hooks": {"checkpoint": {"interval": 2}}},
        "default_hooks.checkpoint",
        "dict(type=…)",
    ),
    "hook's argument": (
        {"default_hooks": saving(intervall=2)},
        "default_hooks.checkpoint.intervall",
        "Did you mean 'interval'?",
    ),
    "imports": ({"custom_imports": "x"}, "custom_imports", "a dict"),
    "resume": ({"resume": "auto"}, "resume", "load_from=PATH"),
    "weights": ({"load_from": 3}, "load_from", "a path"),
    "optimizer": (
        {"optim_wrapper": {"optimizer": {"type": "Adamm", "lr": 0.1}}},
        "optim_wrapper.optimizer.type",
        "Did you mean 'Adam'",
    ),
    "its argument": (
        {"optim_wrapper": {"optimizer": {"type": "Adam", "lr": 0.1, "beta": 0.9}}},
        "optim_wrapper.optimizer.beta",
        "Did you mean 'betas'?",
    ),
    "wrapper's argument": (
        {"optim_wrapper": optim(type="AmpOptimWrapper", lose_scale=1.0)},
        "optim_wrapper.lose_scale",
        "Did you mean 'loss_scale'?",
    ),
    "schedule of torch": (
        {"param_scheduler": {"type": "torch.optim.lr_scheduler.StepLR", "step_size": 1}},
        "param_scheduler.type",
        "type='StepLR', MMEngine's",
    ),
    "schedule's argument": (
        {"param_scheduler": [{"type": "MultiStepLR", "milestone": [1]}]},
        "param_scheduler.0.milestone",
        "Did you mean 'milestones'?",
    ),
    "missing argument": (
        {"param_scheduler": [{"type": "MultiStepLR"}]},
        "param_scheduler.0",
        "add milestones=…",
    ),
    "span": (
        {"param_scheduler": [{"type": "ConstantLR", "begin": 3, "end": 2}]},
        "param_scheduler.0.end",
        "more than 3",
    ),
    "decay of nothing": (
        {
            "optim_wrapper": {
                "optimizer": {"type": "SGD", "lr": 0.1},
                "paramwise_cfg": {"norm_decay_mult": 0.0},
            }
        },
        "optim_wrapper.paramwise_cfg.norm_decay_mult",
        "add weight_decay=…",
    ),
    "statistics": (
        {"log_processor": {"custom_cfg": [{"data_src": "loss", "method": "mean"}]}},
        "log_processor.custom_cfg.0",
        "has no method_name",
    ),
    "scaled by nothing": ({"auto_scale_lr": {"enable": True}}, "auto_scale_lr", "base_batch_size"),
    "last batch": (
        {"train_dataloader": loader(drop_last="no")},
        "train_dataloader.drop_last",
        "True or False",
    ),
    "half a stage": ({"val_cfg": None}, "val_cfg", "should be either all None or not None"),
}
WARNINGS = {
    "hook's name": (
        {"default_hooks": {"chekpoint": {"type": "CheckpointHook"}}},
        "default_hooks.chekpoint",
        "Did you mean 'checkpoint'?",
    ),
    "rule of parameters": (
        {"optim_wrapper": optim(paramwise_cfg={"lr_mult": 1.0})},
        "optim_wrapper.paramwise_cfg.lr_mult",
        "Did you mean 'bias_lr_mult'?",
    ),
    "never validated": (
        {"train_cfg": {"by_epoch": True, "max_epochs": 3, "val_begin": 4}},
        "train_cfg.val_begin",
        "beyond max_epochs=3",
    ),
    "from 0": (
        {"train_cfg": {"by_epoch": True, "max_epochs": 3, "val_begin": 0}},
        "train_cfg.val_begin",
        "same as 1",
    ),
    "nothing published": (
        {"default_hooks": saving(published_keys=["meta"], save_last=False)},
        "default_hooks.checkpoint.published_keys",
        "save_last=True",
    ),
    "rule of nothing": (
        {"default_hooks": saving(rule="less")},
        "default_hooks.checkpoint.rule",
        "add save_best",
    ),
    "text for a truth value": (
        {"env_cfg": {"cudnn_benchmark": "False"}},
        "env_cfg.cudnn_benchmark",
        "MMEngine takes it for True",
    ),
    "its preprocessor": (
        {"data_preprocessor": PREPROCESSOR},
        "data_preprocessor.bgr_to_rgb",
        "MMEngine takes it for True",
    ),
    "the model's": (
        {"model": {**GOOD["model"], "data_preprocessor": PREPROCESSOR}},
        "model.data_preprocessor.bgr_to_rgb",
        "MMEngine takes it for True",
    ),
    "key": ({"optim_wraper": {}}, "optim_wraper", "Did you mean 'optim_wrapper'?"),
}


def test_a_good_config_has_no_faults():
    assert faults_of(GOOD) == []


@pytest.mark.parametrize(("change", "path", "words"), ERRORS.values(), ids=ERRORS)
def test_errors(change, path, words):
    found = {fault.path: fault for fault in faults_of({**GOOD, **change})}
    assert found[path].severity == "error", found
    assert words in str(found[path])


@pytest.mark.parametrize(("change", "path", "words"), WARNINGS.values(), ids=WARNINGS)
def test_warnings(change, path, words):
    (fault,) = faults_of({**GOOD, **change})
    assert (fault.path, fault.severity) == (path, "warning")
    assert words in str(fault)


ACCEPTED = {
    "whole numbers may be floats": (
        {"train_cfg": {"by_epoch": 1, "max_epochs": 3.0, "val_interval": math.inf}},
        ["train_cfg.val_interval"],  # only said to be odd
    ),
    "no sampler": ({"train_dataloader": loader(sampler=None, shuffle=True)}, []),
    "own constructor": (
        {"optim_wrapper": optim(constructor="Layers", paramwise_cfg={"num_layers": 3})},
        [],
    ),
    "hook taken out": ({"default_hooks": {"timer": None, "more": {"type": "EMAHook"}}}, []),
    "hook's priority": ({"default_hooks": saving(priority="LOW")}, []),
    "schedules per optimizer": (
        {"param_scheduler": {"g": [{"type": "ConstantLR"}], "d": {"type": "ConstantLR"}}},
        [],
    ),
    "scope that is not installed": (
        {"default_scope": "mmsomething", "model": {"type": "Detector", "backbon": 1}},
        [],
    ),
    "module that is not imported": (
        {"custom_imports": {"imports": ["not_there"]}, "model": {"type": "Detector"}},
        [],
    ),
    "no hooks in any form": ({"custom_hooks": {}}, []),
    "no workers": ({"train_dataloader": loader(num_workers=0.0)}, []),
    "iterations alone": ({"train_cfg": {"max_iters": 3}}, []),
    "a level in small letters": ({"log_level": "info"}, []),
    "odd spans": (
        {"param_scheduler": {"type": "StepLR", "step_size": -1, "begin": -1, "end": 2.5}},
        [],
    ),
    "variables": ({"norm_cfg": {"type": "BN"}, "lr": "x"}, []),
}


@pytest.mark.parametrize(("change", "told"), ACCEPTED.values(), ids=ACCEPTED)
def test_what_mmengine_accepts_is_accepted(change, told):
    own = type("Layers", (DefaultOptimWrapperConstructor,), {})
    OPTIM_WRAPPER_CONSTRUCTORS.register_module(module=own, force=True)
    found = faults_of({**GOOD, **change})
    assert [fault.path for fault in found] == told
    assert {fault.severity for fault in found} <= {"warning"}


def test_classes_of_the_user():
    @MODELS.register_module()
    class SmallCNN(torch.nn.Module):
        def __init__(self, width: int, head: dict | None = None): ...

    @HOOKS.register_module()
    class AnyHook:
        def __init__(self, **kwargs): ...

    def told(model, **hook):
        hooks = [{"type": "AnyHook", **hook}]
        return [str(f) for f in faults_of({**GOOD, "model": model, "custom_hooks": hooks})]

    assert told({"type": "SmallCNN", "width": 3}, anything=1) == []
    (text,) = told({"type": "SmalCNN", "width": 3})
    assert text.startswith("model.type='SmalCNN' → a name of the mm2pl::model registry")
    assert "Did you mean 'SmallCNN'?" in text
    assert "SmallCNN needs width" in told({"type": "SmallCNN"})[0]
    assert "Did you mean 'width'?" in told({"type": "SmallCNN", "widht": 3})[0]
    assert told({"type": "SmallCNN", "width": "x"}) == [
        "model.width='x' → a number is needed; as SmallCNN declares it"
    ]
    # OpenMMLab's classes declare a dict where they take a list too.
    assert told({"type": "SmallCNN", "width": (1, 2), "head": [{"channels": 1}]}) == []
    # Who builds what stands inside is not known, and may change it: only a near miss is told.
    inner = {"type": "SmallCNN", "depth": 1, "widths": 3}
    (text,) = told({"type": "SmallCNN", "width": 3, "head": inner})
    assert text == "model.head.widths=3 → unknown to SmallCNN. Did you mean 'width'?"


def test_a_file_that_defines_an_unregistered_class_is_named(tmp_path, monkeypatch) -> None:
    (tmp_path / "nets.py").write_text("class RepeatsDataset:\n    pass\n")
    monkeypatch.chdir(tmp_path)
    loader = {**GOOD["train_dataloader"], "dataset": {"type": "RepeatsDataset"}}
    (text,) = (str(f) for f in faults_of({**GOOD, "train_dataloader": loader}))
    assert "Did you mean" in text
    assert "custom_imports=dict(imports=['nets'])" in text


def test_where_a_value_is_set(tmp_path):
    base = tmp_path / "base.py"
    base.write_text(
        "optimizer = dict(\n  type='SGD',\n  lr=-1)\noptim_wrapper = dict(optimizer=optimizer)\n"
    )
    file = tmp_path / "child.py"
    file.write_text("_base_ = 'base.py'\nparam_scheduler = [\n  dict(type='StepLR',\n    end=0)]\n")
    found = {fault.path: str(fault.origin) for fault in faults_of(Config.fromfile(file))}
    assert found["optim_wrapper.optimizer.lr"] == f"{base}:3"
    assert found["param_scheduler.0.end"] == f"{file}:4"


@pytest.mark.parametrize(
    "config",
    [{"images": [], "annotations": []}, {"torch": torch, "main": print}],
    ids=["annotations", "script"],
)
def test_what_is_no_config_is_told_so(config):
    (fault,) = faults_of(config)
    assert "a config has keys such as model" in str(fault)


def test_all_faults_are_raised_at_once():
    faults = faults_of({**GOOD, "randomness": 1, "load_from": 3})
    with pytest.raises(FaultyConfigError, match=r"(?s)load_from=3.*|randomness=1"):
        refuse(faults)
    warned = faults_of({**GOOD, "optim_wraper": {}})
    refuse(warned)
    with pytest.raises(FaultyConfigError, match="optim_wraper"):
        refuse(warned, strict=True)


def test_explain_shows_faults_in_the_place_of_their_rows():
    optimizer = {"type": "Adamm", "lr": 0.1}
    changes = {"train_dataloader": loader(num_worker=2), "optim_wrapper": {"optimizer": optimizer}}
    rows = {row.key: row for row in explain({**GOOD, **changes}, types=True)}
    assert rows["train_dataloader.num_worker"].status == "error"
    assert rows["optim_wrapper.optimizer"].status == "error"
    assert "Did you mean 'Adam'" in rows["optim_wrapper.optimizer"].note
    keys = [*rows]
    assert keys.index("train_dataloader.num_worker") == keys.index("train_dataloader.sampler") + 1


# The fuzz: each key of the table with twelve wrong values.

WRONG = {
    "None": None,
    "text": "wrong",
    "negative": -1,
    "huge": 10**30,
    "number as a text": "3",
    "NaN": math.nan,
    "empty text": "",
    "list": [object()],
    "dict": {"a": {"b": {}}},
    "tensor": torch.zeros(2, 2),
    "function": lambda: None,
    "path": Path("a/b"),
}


def keys_of(table, above=()):
    """Yield the paths of all keys of a table, where the good config has, or can have, a dict."""
    for name, key in table.items():
        yield (*above, name)
        if isinstance(key.inside, Inside):
            yield from keys_of(key.inside.keys, (*above, name))


PATHS = [".".join(path) for path in keys_of(KEYS)]
WHOLE_CONFIG = {
    **GOOD,
    "test_cfg": {},
    "test_dataloader": loader(),
    "test_evaluator": GOOD["val_evaluator"],
}


def changed(path, value):
    config = copy.deepcopy(WHOLE_CONFIG)
    *above, last = path.split(".")
    place = config
    for name in above:
        place = place.setdefault(name, {})
    # One of the two lengths, and a type in place of by_epoch.
    if path == "train_cfg.max_iters":
        del place["by_epoch"], place["max_epochs"]
    if path in ("train_cfg.type", "train_cfg.by_epoch"):
        place.pop("by_epoch", None)
    place[last] = value
    return config


NAMES = ("text", "number as a text", "empty text")
LOADERS = ("train_dataloader", "val_dataloader", "test_dataloader")
# Wrong values that a key takes all the same, as MMEngine does: `None` for "not given", or what cannot be told from a
# right one before it is used (a name, a length, an object that can be iterated).
TAKEN = {
    ("None",): """
        optim_wrapper.clip_grad optim_wrapper.clip_grad.foreach optim_wrapper.paramwise_cfg optim_wrapper.dtype
        param_scheduler auto_scale_lr compile compile.dynamic LOADER.pin_memory LOADER.prefetch_factor LOADER.shuffle
        LOADER.multiprocessing_context LOADER.generator train_cfg.dynamic_intervals default_hooks
        env_cfg.cudnn_benchmark randomness.seed visualizer custom_imports resume
        find_unused_parameters sync_bn datamodule""",
    ("None", "dict"): """
        data_preprocessor compile.options log_processor model_wrapper_cfg strategy tta_model""",
    ("dict",): "optim_wrapper.paramwise_cfg.custom_keys env_cfg.dist_cfg",
    ("None", "dict", "list"): "tta_pipeline",
    ("huge",): """
        optim_wrapper.accumulative_counts optim_wrapper.loss_scale.growth_factor train_cfg.max_epochs
        optim_wrapper.optimizer.weight_decay
        optim_wrapper.loss_scale.growth_interval auto_scale_lr.base_batch_size LOADER.num_workers
        train_cfg.max_iters train_cfg.val_interval env_cfg.resource_limit""",
    ("None", "huge"): """
        optim_wrapper.optimizer.lr LOADER.num_batch_per_epoch LOADER.batch_size
        env_cfg.dist_cfg.timeout""",
    ("negative", "huge"): "env_cfg.mp_cfg.opencv_num_threads log_level",
    ("None", "empty text"): "custom_hooks",
    ("negative", "huge", "NaN"): """
        optim_wrapper.clip_grad.max_norm optim_wrapper.clip_grad.clip_value optim_wrapper.loss_scale.init_scale
        optim_wrapper.loss_scale.backoff_factor""",
    ("None", "negative", "huge", "NaN"): " ".join(
        f"optim_wrapper.paramwise_cfg.{name}_mult"
        for name in (
            *("bias_lr", "bias_decay", "norm_decay", "dwconv_decay", "flat_decay", "dcn_offset_lr"),
        )
    ),
    (*NAMES, "negative", "huge", "NaN"): "optim_wrapper.clip_grad.norm_type",
    NAMES: "LOADER.pin_memory_device env_cfg.dist_cfg.backend env_cfg.dist_cfg.init_backend",
    ("None", *NAMES): """
        default_scope compile.mode custom_imports.imports activation_checkpointing efficient_conv_bn_eval""",
    ("None", *NAMES, "path"): "load_from work_dir",
    (*NAMES, "function"): """
        optim_wrapper.type optim_wrapper.constructor compile.backend LOADER.collate_fn train_cfg.type val_cfg.type
        test_cfg.type""",
    ("None", *NAMES, "function"): "LOADER.worker_init_fn runner_type",
    ("list", "tensor"): "LOADER.dataset",
    ("None", "list", "tensor"): "LOADER.sampler LOADER.batch_sampler",
    tuple(WRONG): "experiment_name",
}
EXPECTED = {
    path.replace("LOADER", loader): set(names)
    for names, paths in TAKEN.items()
    for path in paths.split()
    for loader in LOADERS
}


@pytest.mark.parametrize("path", PATHS)
def test_a_wrong_value_has_one_message_that_names_its_key(path):
    taken = set()
    for name, value in WRONG.items():
        faults = faults_of(changed(path, value), types=False)
        here = [
            fault
            for fault in faults
            if f"{path}.".startswith(f"{fault.path}.") or fault.path.startswith(f"{path}.")
        ]
        # A length may contradict what is counted; nothing else says a word of another key.
        assert faults == here or path.startswith("train_cfg."), name
        assert all(fault.reason for fault in here), name
        assert len({fault.path for fault in here}) == len(here)
        if not here:
            taken.add(name)
    assert taken == EXPECTED.get(path, set())


def test_the_fuzz_knows_only_keys_of_the_table():
    assert set(EXPECTED) <= set(PATHS)


def test_custom_imports_of_another_kind_are_told_where_they_are_imported(tmp_path):
    file = tmp_path / "c.py"
    file.write_text("custom_imports = 'x'\n")
    with pytest.raises(TypeError, match=r"c\.py: custom_imports='x' → dict\(imports="):
        Config.fromfile(file)


LOADER = {"dataset": {"type": "Own"}}
VALID = {
    "several sets": {
        "val_dataloader": [LOADER, LOADER],
        "val_cfg": {},
        "val_evaluator": [{"type": "A"}, [{"type": "B"}]],
    },
    "a loop that takes several": {
        "val_dataloader": [LOADER, LOADER],
        "val_cfg": {"type": "MultiValLoop"},
        "val_evaluator": [[{"type": "A"}], [{"type": "B"}]],
    },
    "a loop that takes a dict of loaders": {
        "train_cfg": {"type": "MyLoop"},
        "train_dataloader": {"labeled": LOADER, "unlabeled": LOADER},
    },
    "an evaluator without a type": {
        "val_dataloader": LOADER,
        "val_cfg": {},
        "val_evaluator": {"metrics": [{"type": "A"}]},
    },
    "a variable of MMPose's": {"data_mode": "topdown"},
    "a data set that makes batches": {"train_dataloader": {**LOADER, "batch_size": None}},
    "a base's optimizer taken away": {
        "optim_wrapper": {"constructor": "Several", "optimizer": None, "generator": {}}
    },
    "a wrapper of the user's": {
        "optim_wrapper": {
            "type": "MyWrapper",
            "optimizer": {"type": "SGD", "lr": 0.1},
            "clip_grad": {"type": "agc", "clip": 0.1},
            "dtype": "tf32",
        }
    },
    "a data module and a variable called data": {
        **dict.fromkeys(("train_dataloader", "optim_wrapper")),
        "model": {"type": "tests.plan.test_translate.HasSteps"},
        "datamodule": {"type": "Own"},
        "data": {"root": "here"},
    },
}


@pytest.mark.parametrize("given", VALID.values(), ids=VALID)
def test_what_mmengine_takes_is_taken(given):
    config = {"model": {"type": "torch.nn.Identity"}, "train_dataloader": LOADER}
    config |= {"train_cfg": {"by_epoch": True, "max_epochs": 1}}
    config |= {"optim_wrapper": {"optimizer": {"type": "SGD", "lr": 0.1}}, **given}
    assert [str(fault) for fault in faults_of(config, types=False) if fault.path != "data"] == []


def test_one_of_several_sets_that_is_wrong():
    config = {"val_dataloader": [LOADER, 5], "val_cfg": {}, "val_evaluator": {"type": "A"}}
    assert [fault.path for fault in faults_of(config, types=False)] == ["val_dataloader"]


def test_a_strangers_config_imports_nothing(tmp_path, monkeypatch):
    (tmp_path / "stranger_mod.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    config = {"model": {"type": "stranger_mod.Net"}, "train_dataloader": LOADER}
    config |= {"train_cfg": {"by_epoch": True, "max_epochs": 1}}
    assert [fault.path for fault in faults_of(config, trusted=False)] == ["optim_wrapper"]


def test_the_optimizer_of_a_wrapper_that_hands_it_on():
    wrapper = {"type": "AmpOptimWrapper", "optimizer": {"type": "SGD", "lr": 0.1}}
    assert faults_of({**GOOD, "optim_wrapper": wrapper}) == []


def test_a_registry_that_cannot_be_imported_is_tried_once(tmp_path, monkeypatch):
    (tmp_path / "nets_of_mine.py").write_text(
        "import builtins; builtins.tries += 1; import nowhere_x"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("builtins.tries", 0, raising=False)
    Registry("model", parent=MODELS, scope="no_nets", locations=["nets_of_mine"])
    kinds = {"type": "Net", "head": {"type": "Head"}, "neck": {"type": "Neck"}}
    config = {**GOOD, "default_scope": "no_nets", "model": kinds, "tta_model": {"type": "TTA"}}
    (fault,) = [fault for fault in faults_of(config) if "nowhere_x" in str(fault)]
    assert str(fault) == (
        "model.type='Net' → what registers it cannot be imported: ModuleNotFoundError: No module named 'nowhere_x'; "
        "install what is missing; types were not compared"
    )
    assert builtins.tries == 1
