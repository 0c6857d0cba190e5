"""Every key of an MMEngine config: what it takes, what it means, where it goes. One table for all who ask."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from mm2pl.plan.resume import resume_accepts
from mm2pl.plan.values import (
    ANYTHING,
    BOOLEAN,
    CALLABLE,
    DICT,
    INTEGER,
    LIST,
    NOT_ZERO,
    NOTHING,
    NUMBER,
    PATH,
    TEXT,
    TEXTS,
    TRUTH,
    TYPED,
    WHOLE,
    Values,
    having,
    integer,
    list_of,
    number,
    one_of,
)

Section = Literal["model", "data", "run", "option"]
Fidelity = Literal["exact", "equivalent", "ignored"]
Doubt = tuple[Values, str]


@dataclass(frozen=True)
class Key:
    """One key, at the top of a config or inside another.

    Attributes:
        values: What it takes.
        meaning: What it says of a run.
        target: What it becomes in Lightning's words; empty: nothing of Lightning's.
        default: What holds where it is missing; None: nothing.
        unit: What a number counts.
        section: Of a top-level key: ``model`` and ``data`` are arguments of the LightningModule and the DataModule,
            ``run`` of the :class:`~mm2pl.lightning.RunCallback`, ``option`` an entry of its ``options``.
        fidelity: ``exact`` to the last bit, ``equivalent``, or ``ignored`` for the reason in ``note``.
        note: What a user should know.
        reader: The class or function that reads it; inside another key, empty for that key's reader.
        advice: What to do about another value.
        lax: MMEngine takes any other value too, by its truth, so that one is warned about and not refused.
        doubts: Accepted values that hardly do what their author expects, each with the reason.
        inside: What is known inside it.
        registry: The registry in which its ``type`` is looked up.
        kind: The ``type`` of a dict without one.
        supplied: Arguments that come from the run and not from the config.
        taken: Entries next to ``type`` that are not arguments of the class.
        governed: The neighbour that reads it; where that is not its default, anything may be inside.
    """

    values: Values
    meaning: str
    target: str = ""
    default: Any = None
    unit: str = ""
    section: Section = "run"
    fidelity: Fidelity = "exact"
    note: str = ""
    reader: str = ""
    advice: str = ""
    lax: bool = False
    doubts: tuple[Doubt, ...] = ()
    inside: Inside | None = None
    registry: str = ""
    kind: str = ""
    supplied: tuple[str, ...] = ()
    taken: tuple[str, ...] = ()
    governed: str = ""


@dataclass(frozen=True, kw_only=True)
class Inside:
    """What is known inside one key.

    Attributes:
        keys: The known names.
        types: Types whose arguments these are; another type takes arguments of its own.
        required: Names that must be there, unless another type is given.
        moved: Names that MMEngine ignores here → where they belong.
        closed: Whether a name not listed is refused or ignored.
        unknown: What such a name is.
        item: What each value of a list (``custom_hooks``) or of a dict of dicts (``default_hooks``) must be.
        named: The key holds a dict of such dicts; these are the usual names.
        summary: One row per dict instead of one per key; ``{type}`` is its type.
        rest: What names of an open dict become.
    """

    keys: dict[str, Key] = field(default_factory=dict)
    types: tuple[str, ...] = ()
    required: tuple[str, ...] = ()
    moved: dict[str, str] = field(default_factory=dict)
    closed: bool = True
    unknown: Literal["warning", "error"] = "error"
    item: Values | None = None
    named: tuple[str, ...] = ()
    summary: str = ""
    rest: str = "argument of its type"


UNSUPPORTED: dict[str, str] = {
    "ApexOptimWrapper": "NVIDIA Apex is retired → AmpOptimWrapper",
    "ColossalAIOptimWrapper": "Lightning has no ColossalAI strategy → AmpOptimWrapper with --trainer.strategy fsdp",
}
"""Types that no run accepts → what to use."""

_MODULE = having("named_parameters", "a torch module")
_LOOP = having("run", "a built loop")
_HOOK = having("priority", "a built hook")
_METRIC = having("process", "a built metric")
_SCHEDULER = having("get_last_value", "a built scheduler")
_LOADER = Values(
    "a built DataLoader",
    lambda value: (
        not isinstance(value, dict) and hasattr(value, "dataset") and hasattr(value, "__iter__")
    ),
)


def _having_items(method: str, words: str) -> Values:
    # A text can be iterated too, but it is a name, which MMEngine does not look up here.
    built = having(method, words)
    return Values(words, lambda value: built.accepts(value) and not isinstance(value, str))


_DATASET = _having_items("__getitem__", "a built data set")
_INTERVAL: tuple[Doubt, ...] = (
    (
        Values("", lambda value: not (WHOLE.accepts(value) and value >= 1)),
        "the count is taken modulo this number → give a whole number of at least 1",
    ),
)
_POSITIVE: tuple[Doubt, ...] = (
    (Values("", lambda value: not value > 0), "the learning rate becomes negative or NaN"),
)
_LENGTH: tuple[Doubt, ...] = (
    (Values("", lambda value: value < 1), "nothing is trained → give at least 1"),
)

_TRAIN = {
    "type": Key(TEXT | CALLABLE, "a training loop, in place of by_epoch"),
    "by_epoch": Key(
        TRUTH,
        "count epochs rather than iterations",
        "epochs, or one Lightning epoch of max_iters batches",
        lax=True,
    ),
    "max_epochs": Key(
        WHOLE, "length of the run", "Trainer(max_epochs=…)", unit="epochs", doubts=_LENGTH
    ),
    "max_iters": Key(
        WHOLE,
        "length of the run",
        "Trainer(max_epochs=1, limit_train_batches=…)",
        unit="iterations",
        doubts=_LENGTH,
    ),
    "val_begin": Key(
        NUMBER,
        "the first epoch or iteration after which a validation may follow",
        "validation schedule",
        default=1,
        unit="epochs or iterations, from 1",
        doubts=(
            (Values("", lambda value: value < 1), "counting begins with 1: same as 1"),
            (Values("", lambda value: value != value), "no count reaches NaN: no validation"),
        ),
    ),
    "val_interval": Key(
        NOT_ZERO,
        "one validation per so many",
        "validation schedule",
        default="1, or 1000 by iterations",
        unit="epochs or iterations",
        doubts=_INTERVAL,
    ),
    "dynamic_intervals": Key(
        list_of(
            Values("", lambda pair: isinstance(pair, list | tuple) and len(pair) == 2),
            "a list of (begin, interval)",
        )
        | NOTHING,
        "other values of val_interval from certain epochs or iterations on",
        "validation schedule",
    ),
}


def _eval(stage: str, loop: str) -> Inside:
    fp16 = Key(TRUTH, "half precision", f"autocast in {stage}", default=False)
    kind = Key(TEXT | CALLABLE, "a loop of your own", default=loop)
    return Inside(keys={"type": kind, "fp16": fp16}, types=(loop,))


_PARAMWISE = Inside(
    keys={
        "custom_keys": Key(
            DICT, "part of a parameter's name → dict(lr_mult=…, decay_mult=…)", default={}
        ),
        **{
            name: Key(NUMBER | NOTHING, f"factor on the {what}")
            for name, what in {
                "bias_lr_mult": "learning rate of biases",
                "bias_decay_mult": "weight decay of biases",
                "norm_decay_mult": "weight decay of norm layers",
                "dwconv_decay_mult": "weight decay of depthwise convolutions",
                "flat_decay_mult": "weight decay of parameters of one dimension",
                "dcn_offset_lr_mult": "learning rate of a deformable convolution's offsets",
            }.items()
        },
        "bypass_duplicate": Key(
            TRUTH, "skip a parameter that was seen before", default=False, lax=True
        ),
    },
    unknown="warning",
)
"""Read by DefaultOptimWrapperConstructor; MMEngine 0.10.7 ignores other names."""

_CLIP = Values(
    "dict(max_norm=…) or dict(type='value', clip_value=…)",
    lambda value: (
        isinstance(value, dict)
        and value.get("type", "norm") in ("norm", "value")
        and any(key != "type" for key in value)
    ),
)
_OPTIM = Inside(
    keys={
        "type": Key(TEXT | CALLABLE, "the wrapper", "precision plugin", default="OptimWrapper"),
        "optimizer": Key(
            TYPED | having("param_groups", "a built optimizer"),
            "the optimizer",
            "configure_optimizers",
            registry="optimizer",
            supplied=("params",),
            inside=Inside(
                keys={
                    "lr": Key(number(0) | NOTHING, "learning rate", "configure_optimizers"),
                    "weight_decay": Key(
                        number(0),
                        "weight decay",
                        "configure_optimizers",
                        default="the optimizer's",
                    ),
                },
                closed=False,
            ),
        ),
        "clip_grad": Key(
            _CLIP | NOTHING,
            "clip gradients before each step",
            "clipping before each step",
            inside=Inside(
                keys={
                    "type": Key(one_of("norm", "value"), "what is clipped", default="norm"),
                    "max_norm": Key(NUMBER, "largest norm of all gradients"),
                    # torch makes a float of it, also of a text such as 'inf'.
                    "norm_type": Key(NUMBER | TEXT, "which norm", default=2.0),
                    "error_if_nonfinite": Key(
                        TRUTH, "fail at infinite gradients", default=False, lax=True
                    ),
                    "clip_value": Key(NUMBER, "largest value of a gradient"),
                    "foreach": Key(TRUTH | NOTHING, "all tensors at once", lax=True),
                },
            ),
        ),
        "accumulative_counts": Key(
            number(1),
            "iterations per step of the optimizer",
            "accumulation, counted over the whole run",
            default=1,
            unit="iterations",
            doubts=((Values("", lambda value: not WHOLE.accepts(value)), "give a whole number"),),
        ),
        "paramwise_cfg": Key(
            DICT | NOTHING,
            "learning rates and weight decays of single parameters",
            "parameter groups",
            inside=_PARAMWISE,
            governed="constructor",
            reader="DefaultOptimWrapperConstructor",
        ),
        "constructor": Key(
            TEXT | TYPED | CALLABLE,
            "builds the wrapper",
            "builds the wrapper",
            default="DefaultOptimWrapperConstructor",
        ),
        "loss_scale": Key(
            one_of("dynamic")
            | Values("a float", lambda value: isinstance(value, float) and value > 0)
            | DICT,
            "scale of the loss in half precision",
            "GradScaler",
            default="dynamic",
            note="a number is a static scale",
            inside=Inside(
                keys={
                    "init_scale": Key(NUMBER, "first scale", default=65536.0),
                    "growth_factor": Key(number(1), "factor of growth", default=2.0),
                    "backoff_factor": Key(NUMBER, "factor after infinite gradients", default=0.5),
                    "growth_interval": Key(
                        integer(1), "steps between two growths", default=2000, unit="steps"
                    ),
                    "enabled": Key(TRUTH, "scale at all", default=True, lax=True),
                },
            ),
        ),
        "dtype": Key(
            one_of("float16", "bfloat16", "float32", "float64")
            | having("to_complex", "a torch.dtype")
            | NOTHING,
            "number format of the forward pass",
            "autocast",
        ),
        "use_fsdp": Key(TRUTH, "take FSDP's scaler", "FSDP's GradScaler", default=False, lax=True),
    },
    # Open, because several optimizers stand here by names of the user's own.
    types=("OptimWrapper", "AmpOptimWrapper"),
    closed=False,
)

_STARTS = one_of("fork", "spawn", "forkserver")
_DIST = "env_cfg=dict(dist_cfg=dict({}=…))"
_ENV = Inside(
    keys={
        "cudnn_benchmark": Key(
            TRUTH | NOTHING,
            "let cuDNN try its algorithms",
            "torch.backends.cudnn.benchmark",
            default=False,
            lax=True,
        ),
        "mp_cfg": Key(
            DICT,
            "worker processes",
            "start method, OpenCV and OMP threads",
            default={},
            # Arguments of `set_multi_processing`: MMEngine 0.10.7 raises a TypeError for any other name.
            inside=Inside(
                keys={
                    "mp_start_method": Key(_STARTS, "how workers start", default="fork"),
                    "opencv_num_threads": Key(INTEGER, "OpenCV's threads per process", default=0),
                }
            ),
        ),
        "dist_cfg": Key(
            DICT,
            "the process group",
            "DDPStrategy(process_group_backend, timeout)",
            default={"backend": "nccl"},
            inside=Inside(
                keys={
                    "backend": Key(TEXT, "nccl, gloo, mpi, …", default="nccl"),
                    "timeout": Key(number(0) | NOTHING, "longest wait", unit="seconds"),
                    "init_backend": Key(TEXT, "torch, smddp, deepspeed", default="torch"),
                },
                closed=False,
                rest="argument of init_process_group",
            ),
        ),
        "resource_limit": Key(
            integer(0), "files that may be open", "limit of open files", default=4096, unit="files"
        ),
    },
    # MMEngine's own tutorial has `env_cfg=dict(backend='nccl')`, which MMEngine ignores.
    moved={name: _DIST.format(name) for name in ("backend", "timeout", "init_method")},
    # MMEngine 0.10.7 looks these up by name and ignores others, as it does in auto_scale_lr.
    unknown="warning",
)
_RANDOMNESS = Inside(
    keys={
        "seed": Key(
            Values(
                "a whole number from 0 to 4294967295",
                lambda value: integer(0).accepts(value) and value < 2**32,
            )
            | NOTHING,
            "the seed; None draws one",
            "seeds of Python, NumPy, torch, samplers, workers",
        ),
        "diff_rank_seed": Key(
            TRUTH, "add the rank to the seed", "seed + rank", default=False, lax=True
        ),
        "deterministic": Key(
            TRUTH,
            "only deterministic algorithms",
            "torch.use_deterministic_algorithms, no cuDNN benchmark",
            default=False,
            lax=True,
        ),
    },
    # Arguments of `set_randomness`: MMEngine 0.10.7 raises a TypeError for any other name.
)
_FUNCTION = TEXT | TYPED | CALLABLE


def _loader(stage: str) -> Key:
    return Key(
        DICT | _LOADER | NOTHING,
        f"the {stage} data",
        f"MMDataModule.{stage}_dataloader",
        section="data",
        reader="build_dataloader",
        inside=Inside(
            keys={
                "dataset": Key(
                    TYPED | _DATASET, "the data set", "the data set", registry="dataset"
                ),
                "batch_size": Key(
                    integer(1),
                    "samples per batch and process",
                    "argument of DataLoader",
                    default=1,
                    unit="samples",
                ),
                "num_workers": Key(
                    integer(0),
                    "worker processes",
                    "argument of DataLoader",
                    default=0,
                    unit="processes",
                ),
                "persistent_workers": Key(
                    TRUTH,
                    "keep the workers from epoch to epoch",
                    "argument of DataLoader",
                    default=False,
                    lax=True,
                ),
                "pin_memory": Key(
                    TRUTH | NOTHING,
                    "page-locked memory, where there is CUDA",
                    "argument of DataLoader",
                    default=False,
                    lax=True,
                ),
                "drop_last": Key(
                    BOOLEAN,
                    "leave out the last batch if it is smaller",
                    "argument of DataLoader",
                    default=False,
                ),
                "sampler": Key(
                    TYPED | _having_items("__iter__", "a built sampler") | NOTHING,
                    "the order of the samples; without one torch's, which is not aware of ranks",
                    "DataLoader(sampler=…), aware of ranks",
                    registry="data sampler",
                    supplied=("dataset", "seed"),
                ),
                "batch_sampler": Key(
                    TYPED | _having_items("__iter__", "a built batch sampler") | NOTHING,
                    "the batches",
                    "DataLoader(batch_sampler=…)",
                    registry="data sampler",
                    supplied=("sampler", "batch_size"),
                ),
                "collate_fn": Key(
                    _FUNCTION,
                    "makes a batch of samples",
                    "DataLoader(collate_fn=…), pseudo_collate if missing",
                    default="pseudo_collate",
                ),
                "worker_init_fn": Key(
                    _FUNCTION | NOTHING,
                    "called in each worker",
                    "DataLoader(worker_init_fn=…)",
                    default="worker_init_fn",
                ),
                # Of MMEngine: taken out before the rest goes to torch's DataLoader.
                "num_batch_per_epoch": Key(
                    integer(1) | NOTHING,
                    "use so many batches only",
                    "the data set, cut",
                    unit="batches",
                ),
                "prefetch_factor": Key(
                    integer(1) | NOTHING,
                    "batches that a worker loads ahead",
                    "argument of DataLoader",
                    default="2, without workers None",
                    unit="batches",
                ),
                "timeout": Key(
                    number(0),
                    "longest wait for a worker; 0 is for ever",
                    "argument of DataLoader",
                    default=0,
                    unit="seconds",
                ),
                "shuffle": Key(
                    TRUTH | NOTHING,
                    "only without a sampler",
                    "argument of DataLoader",
                    default=False,
                    lax=True,
                ),
                "multiprocessing_context": Key(
                    _STARTS | having("Process", "a context") | NOTHING,
                    "how these workers start",
                    "argument of DataLoader",
                ),
                "generator": Key(
                    having("manual_seed", "a torch.Generator") | NOTHING,
                    "random numbers of torch's samplers",
                    "argument of DataLoader",
                ),
                "pin_memory_device": Key(TEXT, "device of pin_memory", "argument of DataLoader"),
                "in_order": Key(
                    TRUTH, "batches in order", "argument of DataLoader", default=True, lax=True
                ),
                "disable_subprocess_warning": Key(
                    TRUTH, "quiet workers", "warnings of the workers", default=False, lax=True
                ),
            },
            required=("dataset",),
            rest="argument of DataLoader",
        ),
    )


def _evaluator(stage: str, target: str) -> Key:
    return Key(
        TYPED | LIST | _METRIC | having("offline_evaluate", "a built evaluator") | NOTHING,
        f"metrics of the {stage} data",
        target,
        section="model",
        registry="metric",
        supplied=("metrics",),
        inside=Inside(item=TYPED | _METRIC, summary="{type}"),
        reader="Evaluator",
    )


_NAMES = ("runtime_info", "timer", "sampler_seed", "logger", "param_scheduler", "checkpoint")
_LEVELS = ("CRITICAL", "FATAL", "ERROR", "WARNING", "WARN", "INFO", "DEBUG", "NOTSET")
_HOOKS = "callbacks, by MMEngine's priorities"
_IN_CALLBACK = "{type}, in the run's callback by its priority"

KEYS: dict[str, Key] = {
    "model": Key(
        TYPED | _MODULE,
        "the network",
        "MMLightningModule(model=…)",
        section="model",
        registry="model",
        supplied=("data_preprocessor",),
        reader="MMLightningModule",
        note="a LightningModule of your own is given to the Trainer as it is",
    ),
    "data_preprocessor": Key(
        DICT | _MODULE | NOTHING,
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
        inside=_OPTIM,
        reader="OptimWrapper",
    ),
    "param_scheduler": Key(
        DICT | LIST | _SCHEDULER | NOTHING,
        "schedules of the learning rate, the momentum or any entry of a parameter group",
        "MMLightningModule(param_scheduler=…)",
        section="model",
        note="stepped by mm2pl on MMEngine's two clocks; LearningRateMonitor sees them",
        registry="parameter scheduler",
        supplied=("optimizer", "epoch_length"),
        taken=("convert_to_iter_based",),
        inside=Inside(item=TYPED | _SCHEDULER, summary="{type}, stepped on MMEngine's clock"),
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
                    doubts=_POSITIVE,
                    unit="samples of all processes",
                ),
            },
            unknown="warning",
        ),
    ),
    "val_evaluator": _evaluator("val", "validation_step, on_validation_epoch_end"),
    "test_evaluator": _evaluator("test", "test_step, on_test_epoch_end"),
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
    "train_dataloader": _loader("train"),
    "val_dataloader": _loader("val"),
    "test_dataloader": _loader("test"),
    "data_module": Key(
        TYPED | having("train_dataloader", "a built LightningDataModule") | NOTHING,
        "a LightningDataModule in the place of the three loaders; not a key of MMEngine's",
        "Trainer.fit(datamodule=…)",
        section="option",
        fidelity="equivalent",
        registry="dataset",
        reader="RunTrainer",
    ),
    "train_cfg": Key(
        DICT | _LOOP | NOTHING,
        "length of the training, and when it is validated",
        "Trainer(max_epochs | limit_train_batches), validation schedule",
        # Arguments of the loop: MMEngine 0.10.7 raises a TypeError for any other name.
        inside=Inside(keys=_TRAIN, types=("EpochBasedTrainLoop", "IterBasedTrainLoop")),
        registry="loop",
        supplied=("runner", "dataloader"),
        reader="EpochBasedTrainLoop, IterBasedTrainLoop",
    ),
    "val_cfg": Key(
        DICT | _LOOP | NOTHING,
        "how to validate",
        "validation loop",
        inside=_eval("validation", "ValLoop"),
        registry="loop",
        supplied=("runner", "dataloader", "evaluator"),
        reader="ValLoop",
    ),
    "test_cfg": Key(
        DICT | _LOOP | NOTHING,
        "how to test",
        "test loop",
        inside=_eval("testing", "TestLoop"),
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
        inside=Inside(item=TYPED | _HOOK | NOTHING, named=_NAMES, summary=_IN_CALLBACK),
    ),
    "custom_hooks": Key(
        LIST | NOTHING,
        "further hooks",
        _HOOKS,
        registry="hook",
        taken=("priority",),
        inside=Inside(item=TYPED | _HOOK, summary=_IN_CALLBACK),
    ),
    "env_cfg": Key(
        DICT | NOTHING,
        "the process",
        "cuDNN, Trainer(strategy=…), worker start method",
        default={"dist_cfg": {"backend": "nccl"}},
        inside=_ENV,
        reader="setup_env",
    ),
    "randomness": Key(
        DICT | NOTHING,
        "seeds",
        "seeds, deterministic algorithms",
        default={"seed": None},
        inside=_RANDOMNESS,
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
        | Values("a whole number", lambda value: isinstance(value, int))
        | NOTHING,
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
        one_of("none", "pytorch", "slurm", "mpi") | NOTHING,
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
        LIST | NOTHING,
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
