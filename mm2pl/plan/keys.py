"""Every key of an MMEngine config: what it takes, what it means, where it goes. One table for all who ask."""

from __future__ import annotations

from collections.abc import Mapping

from mm2pl.plan.inside import (
    ENV,
    HOOK,
    LOOP,
    MODULE,
    OPTIM,
    POSITIVE,
    RANDOMNESS,
    SCHEDULER,
    TRAIN,
    eval_cfg,
)
from mm2pl.plan.inside_data import evaluator_key, loader_key
from mm2pl.plan.key import Inside, Key
from mm2pl.plan.resume import resume_accepts
from mm2pl.plan.values import (
    ANYTHING,
    BOOLEAN,
    CALLABLE,
    DICT,
    LIST,
    NOT_ZERO,
    NOTHING,
    PATH,
    TEXT,
    TEXTS,
    TRUTH,
    TYPED,
    Values,
    having,
    one_of,
)

UNSUPPORTED: dict[str, str] = {
    "ApexOptimWrapper": "NVIDIA Apex is retired → AmpOptimWrapper",
    "ColossalAIOptimWrapper": "Lightning has no ColossalAI strategy → AmpOptimWrapper with --trainer.strategy fsdp",
}
"""Types that no run accepts → what to use."""

_NAMES = ("runtime_info", "timer", "sampler_seed", "logger", "param_scheduler", "checkpoint")
_LEVELS = ("CRITICAL", "FATAL", "ERROR", "WARNING", "WARN", "INFO", "DEBUG", "NOTSET")
_HOOKS = "callbacks, by MMEngine's priorities"
_IN_CALLBACK = "{type}, in the run's callback by its priority"

_NONE_AT_ALL = (Mapping, str, type(None))

KEYS: dict[str, Key] = {
    "model": Key(
        TYPED | MODULE,
        "the network",
        "MMLightningModule(model=…)",
        section="model",
        registry="model",
        supplied=("data_preprocessor",),
        reader="MMLightningModule",
        note="a LightningModule of your own is given to the Trainer as it is",
    ),
    "data_preprocessor": Key(
        DICT | MODULE | NOTHING,
        "moves, normalizes and stacks a batch",
        "MMLightningModule(data_preprocessor=…)",
        section="model",
        registry="model",
        reader="BaseModel",
    ),
    "optim_wrapper": Key(
        DICT | having("update_params", "a built wrapper") | NOTHING,
        "optimizer, clipping, accumulation, precision",
        "MMLightningModule.configure_optimizers",
        section="model",
        note="manual optimization through the model's own train_step(data, optim_wrapper)",
        registry="optim_wrapper",
        kind="OptimWrapper",
        supplied=("optimizer",),
        taken=("paramwise_cfg", "constructor"),
        inside=OPTIM,
        reader="OptimWrapper",
    ),
    "param_scheduler": Key(
        DICT | LIST | SCHEDULER | NOTHING,
        "schedules of the learning rate, the momentum or any entry of a parameter group",
        "MMLightningModule(param_scheduler=…)",
        section="model",
        note="stepped by mm2pl on MMEngine's two clocks; LearningRateMonitor sees them",
        registry="parameter scheduler",
        supplied=("optimizer", "epoch_length"),
        taken=("convert_to_iter_based",),
        inside=Inside(item=TYPED | SCHEDULER, summary="{type}, stepped on MMEngine's clock"),
        advice="`param_scheduler` should be a schedule, a list of them, or a dict from optimizers to such lists",
        reader="ParamSchedulerHook",
    ),
    "auto_scale_lr": Key(
        DICT | NOTHING,
        "scale the learning rate with the batch size",
        "MMLightningModule(auto_scale_lr=…)",
        section="model",
        reader="scale_lr",
        inside=Inside(
            keys={
                "enable": Key(
                    TRUTH, "whether to scale", "whether to scale", default=False, lax=True
                ),
                "base_batch_size": Key(
                    NOT_ZERO,
                    "the batch size that the learning rate is meant for",
                    "scale by real / base batch size",
                    doubts=POSITIVE,
                    unit="samples of all processes",
                ),
            },
            unknown="warning",
        ),
    ),
    "val_evaluator": evaluator_key("val", "validation_step, on_validation_epoch_end"),
    "test_evaluator": evaluator_key("test", "test_step, on_test_epoch_end"),
    "default_scope": Key(
        TEXT | NOTHING,
        "the package whose registered names come first",
        "registry scope",
        default="mmengine",
    ),
    "compile": Key(
        BOOLEAN | DICT | NOTHING,
        "compile the model's step; a dict has the arguments of torch.compile",
        "torch.compile of the model's step",
        default=False,
        section="model",
        reader="MMLightningModule",
        inside=Inside(
            keys={
                "fullgraph": Key(TRUTH, "fail where a graph breaks", default=False, lax=True),
                "dynamic": Key(TRUTH | NOTHING, "sizes may change", lax=True),
                "backend": Key(TEXT | CALLABLE, "the compiler", default="inductor"),
                "mode": Key(TEXT | NOTHING, "reduce-overhead, max-autotune, …"),
                "options": Key(DICT | NOTHING, "options of the backend"),
                "disable": Key(TRUTH, "compile nothing", default=False, lax=True),
            },
            rest="argument of torch.compile",
        ),
    ),
    "train_dataloader": loader_key("train"),
    "val_dataloader": loader_key("val"),
    "test_dataloader": loader_key("test"),
    "datamodule": Key(
        TYPED | having("train_dataloader", "a built LightningDataModule") | NOTHING,
        "a LightningDataModule in the place of the three loaders; not a key of MMEngine's",
        "Trainer.fit(datamodule=…)",
        section="option",
        fidelity="equivalent",
        registry="dataset",
        reader="RunTrainer",
    ),
    "train_cfg": Key(
        DICT | LOOP | NOTHING,
        "length of the training, and when it is validated",
        "Trainer(max_epochs | limit_train_batches), validation schedule",
        # Arguments of the loop: MMEngine 0.10.7 raises a TypeError for any other name.
        inside=Inside(keys=TRAIN, types=("EpochBasedTrainLoop", "IterBasedTrainLoop")),
        registry="loop",
        supplied=("runner", "dataloader"),
        reader="EpochBasedTrainLoop, IterBasedTrainLoop",
    ),
    "val_cfg": Key(
        DICT | LOOP | NOTHING,
        "how to validate",
        "validation loop",
        inside=eval_cfg("validation", "ValLoop"),
        registry="loop",
        supplied=("runner", "dataloader", "evaluator"),
        reader="ValLoop",
    ),
    "test_cfg": Key(
        DICT | LOOP | NOTHING,
        "how to test",
        "test loop",
        inside=eval_cfg("testing", "TestLoop"),
        registry="loop",
        supplied=("runner", "dataloader", "evaluator"),
        reader="TestLoop",
    ),
    "default_hooks": Key(
        DICT | NOTHING,
        "changes to the six hooks of every run, and further hooks, by name; None removes one",
        _HOOKS,
        registry="hook",
        taken=("priority",),
        inside=Inside(item=TYPED | HOOK | NOTHING, named=_NAMES, summary=_IN_CALLBACK),
    ),
    "custom_hooks": Key(
        # MMEngine 0.10.7 goes through them in a loop: nothing in any form is nothing.
        Values(
            "a list or None",
            lambda value: (
                isinstance(value, list | tuple) or (isinstance(value, _NONE_AT_ALL) and not value)
            ),
        ),
        "further hooks",
        _HOOKS,
        registry="hook",
        taken=("priority",),
        inside=Inside(item=TYPED | HOOK, summary=_IN_CALLBACK),
    ),
    "env_cfg": Key(
        DICT,
        "the process",
        "cuDNN, Trainer(strategy=…), worker start method",
        default={"dist_cfg": {"backend": "nccl"}},
        inside=ENV,
        reader="setup_env",
    ),
    "randomness": Key(
        DICT,
        "seeds",
        "seeds, deterministic algorithms",
        default={"seed": None},
        inside=RANDOMNESS,
        reader="set_random_seed",
    ),
    "log_processor": Key(
        DICT | having("get_log_after_iter", "a built log processor") | NOTHING,
        "text and scalars of the log",
        "log text and scalars",
        registry="log_processor",
        kind="LogProcessor",
        reader="LogProcessor",
    ),
    "log_level": Key(
        Values(
            f"one of {', '.join(_LEVELS)}",
            lambda value: isinstance(value, str) and value.upper() in _LEVELS,
        )
        | Values("a whole number", lambda value: isinstance(value, int)),
        "the least important messages that are logged",
        "level of the log",
        default="INFO",
        reader="MMLogger",
    ),
    "visualizer": Key(
        TYPED | having("add_scalars", "a built visualizer") | NOTHING,
        "where scalars and pictures go",
        "Trainer(logger=…)",
        default={"type": "Visualizer", "vis_backends": [{"type": "LocalVisBackend"}]},
        registry="visualizer",
        supplied=("name", "save_dir"),
        reader="Visualizer",
    ),
    "custom_imports": Key(
        DICT | NOTHING,
        "modules that register something",
        "imported before anything is built",
        reader="import_modules_from_strings",
        inside=Inside(
            keys={
                "imports": Key(TEXT | TEXTS | NOTHING, "modules by their dotted names"),
                "allow_failed_imports": Key(
                    TRUTH, "go on without a module that is missing", default=False, lax=True
                ),
            },
        ),
    ),
    "load_from": Key(
        PATH | NOTHING,
        "a checkpoint to start from, or with resume to continue",
        "weights, or with resume Trainer.fit(ckpt_path=…)",
    ),
    "resume": Key(
        Values(
            "True, False, 'must' or a dict of filename, must and the parts that go on",
            resume_accepts,
        ),
        "continue the run of load_from, or the newest one of work_dir",
        "Trainer.fit(ckpt_path=…)",
        default=False,
        # MMEngine 0.10.7 takes any text for True, and continues from another file than the one that was named.
        advice="a certain file is continued by resume=True with load_from=PATH, or by --resume PATH",
        note="'must' refuses to start without a checkpoint, a dict chooses the parts that go on",
    ),
    "launcher": Key(
        one_of("none", "pytorch", "slurm", "mpi"),
        "who has started the processes",
        "Trainer(devices, num_nodes, strategy)",
        default="none",
    ),
    "experiment_name": Key(
        ANYTHING,
        "name of the run",
        "name of the run",
        default="the config's file name",
        note="any value becomes a text",
    ),
    "work_dir": Key(
        PATH | NOTHING,
        "the folder for checkpoints and logs",
        "Trainer(default_root_dir=…)",
        default="./work_dirs/<config name>",
    ),
    "model_wrapper_cfg": Key(
        DICT | NOTHING,
        "what wraps the model in several processes",
        "Trainer(strategy=DDPStrategy(…) | FSDPStrategy(…))",
        section="option",
    ),
    "find_unused_parameters": Key(
        TRUTH | NOTHING,
        "let DDP look for parameters without a gradient",
        "DDPStrategy(find_unused_parameters=…)",
        default=False,
        section="option",
        lax=True,
    ),
    "sync_bn": Key(
        one_of("torch", "mmcv") | NOTHING,
        "batch norm over all processes",
        "Trainer(sync_batchnorm=…)",
        section="option",
    ),
    "activation_checkpointing": Key(
        TEXT | TEXTS | NOTHING,
        "modules whose activations are computed again in the backward pass",
        "torch.utils.checkpoint",
        section="option",
    ),
    "efficient_conv_bn_eval": Key(
        TEXT | TEXTS | NOTHING,
        "modules whose convolutions and batch norms are fused in eval mode",
        "fused conv + bn in eval mode",
        section="option",
    ),
    "strategy": Key(
        DICT | NOTHING,
        "FlexibleRunner's strategy",
        "Trainer(strategy=…)",
        fidelity="equivalent",
        section="option",
    ),
    "tta_model": Key(
        DICT | NOTHING,
        "the model of test-time augmentation",
        "a test run with the TTA model (--tta)",
        section="option",
        registry="model",
        supplied=("module",),
    ),
    "tta_pipeline": Key(
        LIST | DICT | NOTHING,
        "its transforms",
        "a test run with the TTA model (--tta)",
        section="option",
    ),
    "runner_type": Key(
        TEXT | CALLABLE | NOTHING,
        "a registered Runner subclass",
        "a registered Runner subclass",
        default="Runner",
        section="option",
    ),
}
"""Everything is generated from this table: the checks, ``explain``, the reference."""
