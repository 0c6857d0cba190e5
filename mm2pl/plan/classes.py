"""What the arguments of our own registered classes take, where the signature does not say it."""

from __future__ import annotations

from mm2pl.plan.key import Inside, Key
from mm2pl.plan.values import (
    ANYTHING,
    BOOLEAN,
    DICT,
    INTEGER,
    NOT_ZERO,
    NOTHING,
    NUMBER,
    PATH,
    TEXT,
    TEXTS,
    TRUTH,
    WHOLE,
    Values,
    integer,
    list_of,
    number,
    one_of,
)

_COUNT = "epochs or iterations"
_FOLDER = Key(PATH | NOTHING, "another folder than the work_dir's")
_STORAGE = Key(DICT | NOTHING, "arguments of the storage backend")
_RULE = one_of("greater", "less")
_STEP = Values("a whole number", WHOLE.accepts)


def _truth(meaning: str, default: bool) -> Key:
    return Key(TRUTH, meaning, default=default, lax=True)


_CHECKPOINT = Inside(
    keys={
        "interval": Key(NUMBER, "one checkpoint per so many; -1: none", default=-1, unit=_COUNT),
        "by_epoch": _truth("count epochs rather than iterations", True),
        "save_optimizer": _truth("save the optimizer's state", True),
        "save_param_scheduler": _truth("save the schedules' state", True),
        "out_dir": _FOLDER,
        "max_keep_ckpts": Key(
            INTEGER, "keep so many periodic checkpoints; -1: all", default=-1, unit="files"
        ),
        "save_last": _truth("save at the end of the run", True),
        "save_best": Key(TEXT | TEXTS | NOTHING, "metrics whose best checkpoint is kept"),
        "rule": Key(
            _RULE | list_of(_RULE, "a list of these") | NOTHING,
            "which value is better",
            default="from the metric's name",
        ),
        "greater_keys": Key(
            TEXT | TEXTS | NOTHING, "names of metrics that are better when greater"
        ),
        "less_keys": Key(TEXT | TEXTS | NOTHING, "names of metrics that are better when smaller"),
        "file_client_args": Key(DICT | NOTHING, "the old form of backend_args"),
        "filename_tmpl": Key(TEXT | NOTHING, "a file name with one {}", default="epoch_{}.pth"),
        "backend_args": _STORAGE,
        "published_keys": Key(
            TEXT | TEXTS | NOTHING, "after the run, write last and best with these keys only"
        ),
        "save_begin": Key(number(0), "interval is counted from here", default=0, unit=_COUNT),
    },
    # MMEngine 0.10.7 takes any argument, and fails on it at the first save.
    closed=True,
)
_LOGGER = Inside(
    keys={
        "interval": Key(integer(1), "one line per so many", default=10, unit="iterations"),
        "ignore_last": Key(
            BOOLEAN,
            "no line for the rest of an epoch",
            default=True,
        ),
        "interval_exp_name": Key(
            integer(1), "the run's name per so many", default=1000, unit="iterations"
        ),
        "out_dir": _FOLDER,
        "out_suffix": Key(TEXT | TEXTS, "endings of the files that are copied there"),
        "keep_local": Key(
            BOOLEAN,
            "keep the files that were copied",
            default=True,
        ),
        "file_client_args": Key(DICT | NOTHING, "the old form of backend_args"),
        "log_metric_by_epoch": _truth("number the metrics of a validation by epochs", True),
        "backend_args": _STORAGE,
    },
    closed=False,
)
_AVERAGE = Inside(
    keys={
        "ema_type": Key(TEXT, "the averaged model", default="ExponentialMovingAverage"),
        "begin_iter": Key(number(0), "first iteration", default=0, unit="iterations"),
        "begin_epoch": Key(number(0), "first epoch", default=0, unit="epochs"),
        "strict_load": _truth("all keys of a loaded model must match", False),
    },
    closed=False,
)
_EARLY = Inside(
    keys={
        "monitor": Key(TEXT, "the metric"),
        "rule": Key(_RULE | NOTHING, "which value is better", default="from the metric's name"),
        "min_delta": Key(NUMBER, "the least improvement", default=0.1),
        "strict": _truth("fail where the metric is missing", False),
        "check_finite": _truth("stop at a metric that is NaN or infinite", True),
        "patience": Key(NUMBER, "validations without improvement", default=5, unit="validations"),
        "stopping_threshold": Key(NUMBER | NOTHING, "stop at a better metric than this"),
    },
    closed=False,
)
_WRAPPER = Inside(
    # Its arguments are in the table of keys. What AmpOptimWrapper does not know itself it hands to OptimWrapper.
    keys={
        name: Key(ANYTHING, "see optim_wrapper")
        for name in ("accumulative_counts", "clip_grad", "loss_scale", "dtype", "use_fsdp")
    },
    closed=True,
)
_SAMPLER = {
    "shuffle": _truth("a new order at each pass", True),
    "seed": Key(integer(0) | NOTHING, "seed of the order", default="the run's"),
}
_PROCESSOR = Inside(
    keys={
        "window_size": Key(
            INTEGER | one_of("epoch", "global"),
            "values that are averaged",
            default=10,
            unit="iterations",
        ),
        "by_epoch": _truth("count epochs rather than iterations", True),
        "custom_cfg": Key(
            list_of(ANYTHING, "a list of dict(data_src=…, method_name=…)") | NOTHING,
            "further statistics",
        ),
        "num_digits": Key(integer(0), "digits of a number", default=4, unit="digits"),
        "log_with_hierarchy": _truth("train/loss rather than loss", False),
        "mean_pattern": Key(TEXT, "a regular expression: what is averaged"),
    },
)


def _schedule(**own: Key) -> Inside:
    common = {
        "begin": Key(NUMBER, "first epoch or iteration", default=0, unit=_COUNT),
        "end": Key(NUMBER | NOTHING, "the one after the last", default="the run's", unit=_COUNT),
        "by_epoch": _truth("count epochs rather than iterations", True),
        "last_step": Key(_STEP, "where to begin", default=-1, unit=_COUNT),
        "verbose": _truth("print each value", False),
        "convert_to_iter_based": _truth("count the same span in iterations", False),
    }
    return Inside(keys={**common, **own}, closed=False)


_FACTOR = Key(
    Values("a number from 0 to 1", lambda value: NUMBER.accepts(value) and 0 <= value <= 1),
    "factor on the learning rate",
)
_START = Key(
    Values("a number above 0 and up to 1", lambda value: NUMBER.accepts(value) and 0 < value <= 1),
    "first factor on the learning rate",
)
_FAMILIES = {
    "Constant": _schedule(factor=_FACTOR),
    "Linear": _schedule(start_factor=_START, end_factor=_FACTOR),
    "Step": _schedule(
        step_size=Key(NOT_ZERO, "length of a step", unit=_COUNT),
        gamma=Key(NUMBER, "factor per step", default=0.1),
    ),
    "MultiStep": _schedule(
        milestones=Key(list_of(NUMBER, "a list of numbers"), "where it steps", unit=_COUNT),
        gamma=Key(NUMBER, "factor per milestone", default=0.1),
    ),
    "Exponential": _schedule(gamma=Key(NUMBER, "factor per epoch or iteration")),
    "Poly": _schedule(
        power=Key(NUMBER, "exponent", default=1),
        eta_min=Key(NUMBER, "last value", default=0),
    ),
    "CosineAnnealing": _schedule(
        T_max=Key(NOT_ZERO | NOTHING, "half a period", default="end - begin", unit=_COUNT),
        eta_min=Key(NUMBER | NOTHING, "last value"),
        eta_min_ratio=Key(NUMBER | NOTHING, "last value as a part of the first"),
    ),
}

CLASSES: dict[str, dict[str, Inside]] = {
    "hook": {
        "CheckpointHook": _CHECKPOINT,
        "LoggerHook": _LOGGER,
        "EMAHook": _AVERAGE,
        "EarlyStoppingHook": _EARLY,
    },
    "optim_wrapper": {"OptimWrapper": _WRAPPER, "AmpOptimWrapper": _WRAPPER},
    "log_processor": {"LogProcessor": _PROCESSOR},
    "data sampler": {
        "DefaultSampler": Inside(
            keys={**_SAMPLER, "round_up": _truth("as many samples for each process", True)},
        ),
        "InfiniteSampler": Inside(keys=_SAMPLER),
    },
    "parameter scheduler": {
        f"{family}{kind}": known
        for family, known in _FAMILIES.items()
        for kind in ("LR", "Momentum", "ParamScheduler")
    },
}
"""By registry and by the name of the class."""
