"""Keys inside others: lengths, optimizers, processes, seeds."""

from __future__ import annotations

from mm2pl.plan.key import Doubt, Inside, Key
from mm2pl.plan.values import (
    CALLABLE,
    DICT,
    INTEGER,
    NOT_ZERO,
    NOTHING,
    NUMBER,
    TEXT,
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

MODULE = having("named_parameters", "a torch module")
LOOP = having("run", "a built loop")
HOOK = having("priority", "a built hook")
METRIC = having("process", "a built metric")
SCHEDULER = having("get_last_value", "a built scheduler")
LOADER = Values(
    "a built DataLoader",
    lambda value: (
        not isinstance(value, dict) and hasattr(value, "dataset") and hasattr(value, "__iter__")
    ),
)


def having_items(method: str, words: str) -> Values:
    """Accept built objects with a method, but no text."""
    # A text can be iterated too, but it is a name, which MMEngine does not look up here.
    built = having(method, words)
    return Values(words, lambda value: built.accepts(value) and not isinstance(value, str))


DATASET = having_items("__getitem__", "a built data set")
INTERVAL: tuple[Doubt, ...] = (
    (
        Values("", lambda value: not (WHOLE.accepts(value) and value >= 1)),
        "the count is taken modulo this number → give a whole number of at least 1",
    ),
)
POSITIVE: tuple[Doubt, ...] = (
    (Values("", lambda value: not value > 0), "the learning rate becomes negative or NaN"),
)
LENGTH: tuple[Doubt, ...] = (
    (Values("", lambda value: value < 1), "nothing is trained → give at least 1"),
)

TRAIN = {
    "type": Key(TEXT | CALLABLE, "a training loop, in place of by_epoch"),
    "by_epoch": Key(
        TRUTH,
        "count epochs rather than iterations",
        "epochs, or one Lightning epoch of max_iters batches",
        lax=True,
    ),
    "max_epochs": Key(
        WHOLE, "length of the run", "Trainer(max_epochs=…)", unit="epochs", doubts=LENGTH
    ),
    "max_iters": Key(
        WHOLE,
        "length of the run",
        "Trainer(max_epochs=1, limit_train_batches=…)",
        unit="iterations",
        doubts=LENGTH,
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
        doubts=INTERVAL,
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


def eval_cfg(stage: str, loop: str) -> Inside:
    """Return what is known inside ``val_cfg`` or ``test_cfg``."""
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
OPTIM = Inside(
    keys={
        "type": Key(TEXT | CALLABLE, "the wrapper", "precision plugin", default="OptimWrapper"),
        "optimizer": Key(
            TYPED | having("param_groups", "a built optimizer") | NOTHING,
            "the optimizer",
            "configure_optimizers",
            registry="optimizer",
            supplied=("params",),
            inside=Inside(
                keys={
                    # Not NaN: of torch's optimizers only SGD takes it, and loses every weight at the first step.
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

STARTS = one_of("fork", "spawn", "forkserver")
_DIST = "env_cfg=dict(dist_cfg=dict({}=…))"
ENV = Inside(
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
                    "mp_start_method": Key(STARTS, "how workers start", default="fork"),
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
RANDOMNESS = Inside(
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
