"""The keys of a loader and of an evaluator, the same for each stage."""

from __future__ import annotations

from collections.abc import Mapping

from mm2pl.plan.inside import DATASET, LOADER, METRIC, STARTS, having_items
from mm2pl.plan.key import Inside, Key
from mm2pl.plan.values import (
    BOOLEAN,
    CALLABLE,
    DICT,
    LIST,
    NOTHING,
    TEXT,
    TRUTH,
    TYPED,
    Values,
    having,
    integer,
    is_number,
    list_of,
    number,
)

_FUNCTION = TEXT | TYPED | CALLABLE


LOADER_KEYS: dict[str, Key] = {
    "dataset": Key(TYPED | DATASET, "the data set", "the data set", registry="dataset"),
    "batch_size": Key(
        integer(1) | NOTHING,  # None: the data set makes its own batches
        "samples per batch and process",
        "argument of DataLoader",
        default=1,
        unit="samples",
    ),
    "num_workers": Key(
        # torch 2.4 to 2.13 asks whether it is 0 before it counts: 0.0 is as good.
        Values(
            integer(0).words,
            lambda v: (is_number(v) and v == 0) or integer(0).accepts(v),
        ),
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
        TYPED | having_items("__iter__", "a built sampler") | NOTHING,
        "the order of the samples; without one torch's, which is not aware of ranks",
        "DataLoader(sampler=…), aware of ranks",
        registry="data sampler",
        supplied=("dataset", "seed"),
    ),
    "batch_sampler": Key(
        TYPED | having_items("__iter__", "a built batch sampler") | NOTHING,
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
        registry="function",
    ),
    "worker_init_fn": Key(
        _FUNCTION | NOTHING,
        "called in each worker",
        "DataLoader(worker_init_fn=…)",
        default="worker_init_fn",
        registry="function",
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
        STARTS | having("Process", "a context") | NOTHING,
        "how these workers start",
        "argument of DataLoader",
    ),
    "generator": Key(
        having("manual_seed", "a torch.Generator") | NOTHING,
        "random numbers of torch's samplers",
        "argument of DataLoader",
    ),
    "pin_memory_device": Key(TEXT, "device of pin_memory", "argument of DataLoader"),
    "in_order": Key(TRUTH, "batches in order", "argument of DataLoader", default=True, lax=True),
    "disable_subprocess_warning": Key(
        TRUTH, "quiet workers", "warnings of the workers", default=False, lax=True
    ),
}
"""Entries of a loader: MMEngine's own, then arguments of torch's DataLoader."""


def loader_key(stage: str) -> Key:
    """Return the key of a stage's loader; an evaluation may have several sets."""
    one = DICT | LOADER
    several = list_of(one, "a list of those, one per set")
    return Key(
        one | NOTHING if stage == "train" else one | several | NOTHING,
        f"the {stage} data",
        f"MMDataModule.{stage}_dataloader",
        section="data",
        reader="build_dataloader",
        inside=Inside(
            keys=LOADER_KEYS,
            required=("dataset",),
            rest="argument of DataLoader",
        ),
    )


METRICS = Values("dict(metrics=…)", lambda value: isinstance(value, Mapping) and "metrics" in value)


def evaluator_key(stage: str, target: str) -> Key:
    """Return the key of a stage's metrics."""
    return Key(
        TYPED | LIST | METRIC | METRICS | having("offline_evaluate", "a built evaluator") | NOTHING,
        f"metrics of the {stage} data",
        target,
        section="model",
        registry="metric",
        supplied=("metrics",),
        inside=Inside(item=TYPED | METRIC, summary="{type}"),
        reader="Evaluator",
    )
