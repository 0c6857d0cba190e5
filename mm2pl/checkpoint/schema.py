"""What a checkpoint may hold under each key that is read: one table, looked at when a file is read."""

from __future__ import annotations

import math
import operator
import re
import reprlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import torch

from mm2pl.checkpoint.errors import CheckpointError


class Rule(NamedTuple):
    """What a value must be.

    Attributes:
        needed: For the message.
        accepts: Whether a value is that.
    """

    needed: str
    accepts: Callable[[Any], bool]


def _is_count(value: object) -> bool:
    if getattr(value, "is_meta", False):
        return is_scalar(value)
    try:
        # Of numpy's and torch's kind too: files of other programs have such counters.
        return not isinstance(value, bool) and operator.index(value) >= 0  # type: ignore[arg-type]
    except (TypeError, ValueError, RuntimeError):
        return False


def is_scalar(value: object) -> bool:
    """Return whether a value is one number, of numpy's and torch's kind too; NaN and a switch are."""
    if isinstance(value, str | bytes):
        return False
    if getattr(value, "is_meta", False):  # of a file's outline, which has no values
        return value.numel() == 1  # type: ignore[attr-defined]
    try:
        float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, RuntimeError, OverflowError):
        return False
    return True


def _is_number(value: object) -> bool:
    if isinstance(value, bool) or not is_scalar(value):
        return False
    return getattr(value, "is_meta", False) or not math.isnan(float(value))  # type: ignore[arg-type]


def _is_sequence_of(accepts: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list | tuple) and all(map(accepts, value))


def _is_text(value: object) -> bool:
    return isinstance(value, str)


_SERIES = ("log", "count")

MAPPING = Rule("a dict", lambda value: isinstance(value, Mapping))
NAMED = Rule(
    "a dict by names", lambda value: isinstance(value, Mapping) and all(map(_is_text, value))
)
MAPPINGS = Rule("a list of dicts", _is_sequence_of(MAPPING.accepts))
COUNT = Rule("a whole number from 0 on", _is_count)
COUNTS = Rule("a list of whole numbers from 0 on", _is_sequence_of(_is_count))
NUMBER = Rule("a number", _is_number)
TEXT = Rule("a text", _is_text)
PER_PROCESS = Rule(
    "a list with a dict or None for each process",
    _is_sequence_of(lambda value: value is None or isinstance(value, Mapping)),
)
WINDOW = Rule(
    "a dict with inner_count and grads",
    lambda value: isinstance(value, Mapping) and value.keys() >= {"inner_count", "grads"},
)
FLAG = Rule("True or False", lambda value: isinstance(value, bool))
SWITCH = Rule(
    "True or False",
    lambda value: (
        value is None
        or (is_scalar(value) and _is_count(value) and int(value) < 2)
        or isinstance(value, bool)
    ),
)
HISTORY = Rule(
    "a dict of two series, their length and a flag",
    lambda value: (
        isinstance(value, Mapping) and value.keys() >= {*_SERIES, "max_length", "resumed"}
    ),
)
SERIES = Rule(
    "a tensor of one dimension", lambda value: isinstance(value, torch.Tensor) and value.dim() == 1
)
# FSDP names parameters where others count them.
PARAMETERS = Rule(
    "a list of whole numbers from 0 on, or of names",
    lambda value: _is_sequence_of(_is_count)(value) or _is_sequence_of(_is_text)(value),
)
TENSOR = Rule("a tensor", lambda value: isinstance(value, torch.Tensor))
VERSION = Rule(
    "a version such as '2.6.0'",
    lambda value: isinstance(value, str) and re.match(r"\d+(\.\d+)*\b", value) is not None,
)
TEXTS = Rule("a list of texts", _is_sequence_of(_is_text))
SCHEDULES = Rule(
    "a list of dicts, or a dict of such lists",
    lambda value: (
        all(map(MAPPINGS.accepts, value.values()))
        if isinstance(value, Mapping)
        else MAPPINGS.accepts(value)
    ),
)

SWITCHES = ("amsgrad", "capturable", "differentiable", "foreach", "fused", "maximize", "nesterov")
"""What torch's optimizers ask of a group with ``if``."""

_OPTIMIZERS = ("optimizer", "optimizer.*", "optimizer_states.*")
"""A single wrapper's state, those of several by name, and Lightning's list."""

TABLE: dict[str, Rule] = {
    "state_dict": NAMED,
    "ema_state_dict": NAMED,
    "meta": MAPPING,
    "meta.epoch": COUNT,
    "meta.iter": COUNT,
    "meta.seed": COUNT,
    "meta.hook_msgs": MAPPING,
    "message_hub": MAPPING,
    **{f"message_hub.{part}": NAMED for part in ("log_scalars", "runtime_info", "resumed_keys")},
    **{
        f"message_hub.runtime_info.{name}": COUNT
        for name in ("epoch", "iter", "max_epochs", "max_iters")
    },
    "message_hub.runtime_info.best_score": NUMBER,
    "message_hub.runtime_info.best_ckpt": TEXT,
    "message_hub.runtime_info.last_ckpt": TEXT,
    "message_hub.runtime_info.keep_ckpt_ids": COUNTS,
    "message_hub.runtime_info.outdated_ckpts": TEXTS,
    "optimizer": MAPPING,
    "optimizer_states": MAPPINGS,
    **{
        f"{place}.{key}": rule
        for place in _OPTIMIZERS
        for key, rule in {
            "param_groups": MAPPINGS,
            "param_groups.*.params": PARAMETERS,
            "param_groups.*.lr": NUMBER,
            "param_groups.*.initial_lr": NUMBER,
            "param_groups.*.weight_decay": NUMBER,
            **{f"param_groups.*.{name}": SWITCH for name in SWITCHES},
            "accumulation": WINDOW,
            "accumulation.inner_count": COUNT,
            "accumulation.grads": PER_PROCESS,
            "accumulation.grads.*.*": TENSOR,
            "state": MAPPING,
        }.items()
    },
    "param_schedulers": SCHEDULES,
    "epoch": COUNT,
    "global_step": COUNT,
    "pytorch-lightning_version": VERSION,
    "loops": MAPPING,
    "loops.*": MAPPING,
    "callbacks": MAPPING,
    "lr_schedulers": MAPPINGS,
    "hyper_parameters": MAPPING,
    "datamodule_hyper_parameters": MAPPING,
    "hparams_name": TEXT,
    "mm2pl": MAPPING,
    "mm2pl_facts": MAPPING,
    **{f"mm2pl_facts.{name}": NUMBER for name in ("max_epochs", "max_iters")},
    **{
        f"mm2pl_facts.{name}": COUNT
        for name in ("epoch_length", "batch_size", "data_length", "seed", "processes")
    },
    "mm2pl_facts.loop": TEXT,
    "mm2pl_facts.versions": MAPPING,
    "mm2pl_facts.versions.*": TEXT,
    "mm2pl_facts.optimizers": MAPPING,
    "mm2pl_facts.optimizers.*": TEXT,
    "mm2pl_facts.schedules": MAPPING,
    "mm2pl_facts.schedules.*": TEXTS,
    "mm2pl.loops": MAPPING,
    "message_hub.resumed_keys.*": FLAG,
    "mm2pl.histories": NAMED,
    "mm2pl.histories.*": HISTORY,
    **{f"mm2pl.histories.*.{part}": SERIES for part in _SERIES},
    "mm2pl.histories.*.max_length": COUNT,
    "mm2pl.histories.*.resumed": FLAG,
    "mm2pl.batch_idx": COUNT,
    "mm2pl.ticks_due": MAPPING,
    **{f"mm2pl.{part}": PER_PROCESS for part in ("stream", "workers", "rng", "buffers")},
    **{f"mm2pl.{part}": SWITCH for part in ("epoch_unfinished", "validation_pending")},
    **{f"mm2pl.stream.*.{part}": COUNT for part in ("passes", "consumed", "before")},
    "mm2pl.workers.*.states": MAPPING,
}
"""Place → what it must hold; ``*`` is any key or position. What is missing or None is another's question."""

SHORT = reprlib.Repr()
SHORT.maxlevel = SHORT.maxtuple = SHORT.maxlist = SHORT.maxdict = 2

REQUIRED = (
    "state_dict",
    "pytorch-lightning_version",
    "meta.epoch",
    "meta.iter",
    "message_hub.resumed_keys.*",
    "mm2pl.histories",
    "mm2pl.histories.*",
    *(f"mm2pl.histories.*.{part}" for part in (*_SERIES, "max_length")),
)
"""Places that hold something wherever they are."""


READ_BY_ALL = (
    "state_dict",
    "meta",
    "message_hub",
    "mm2pl",
    "pytorch-lightning_version",
    "hyper_parameters",
    "datamodule_hyper_parameters",
    "hparams_name",
)
"""Keys that are read of every file; the others are those of a run that goes on."""


def check(checkpoint: object, name: str, whole: bool = True) -> None:
    """Refuse a checkpoint in which a known key holds something else than it must.

    A bare state dict, which has none of the keys, is left alone.

    Args:
        checkpoint: The content of a file.
        name: The file, for the message.
        whole: Whether a run goes on from it; else only :data:`READ_BY_ALL` are looked at.

    Raises:
        CheckpointError: Naming the file, the key, what was found and what is needed.

    Example:
        >>> check({"state_dict": {}, "meta": {"epoch": "three"}}, "x.pth")
        Traceback (most recent call last):
        ...
        mm2pl.checkpoint.errors.CheckpointError: x.pth: meta.epoch is 'three' (str) → a whole number from 0 on is needed
    """
    if not isinstance(checkpoint, Mapping) or "state_dict" not in checkpoint:
        return
    for path, rule in TABLE.items():
        if not whole and path.partition(".")[0] not in READ_BY_ALL:
            continue
        for place, value in _at(checkpoint, path.split("."), ""):
            left_out = value is None and path not in REQUIRED
            if not left_out and not rule.accepts(value):
                # Not `repr`: a few bytes of shared tuples may print as terabytes.
                raise CheckpointError(
                    f"{name}: {place} is {SHORT.repr(value)} ({type(value).__name__}) → {rule.needed} is needed"
                )


def _at(value: object, parts: list[str], place: str) -> Iterator[tuple[str, Any]]:
    """Yield what stands at a place, and where."""
    if not parts:
        yield place, value
        return
    first, *rest = parts
    pairs: Any = ()
    if first != "*":
        pairs = [(first, value[first])] if isinstance(value, Mapping) and first in value else ()
    elif isinstance(value, Mapping):
        pairs = value.items()
    elif isinstance(value, list | tuple):
        pairs = enumerate(value)
    for key, each in pairs:
        yield from _at(each, rest, f"{place}.{key}" if place else str(key))
