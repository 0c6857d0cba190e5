"""Whether more of a metric is better: the rule that best checkpoints and early stopping share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from math import inf
from typing import Any

from mm2pl.errors import ArgumentError, ReadableKeyError
from mm2pl.utils.numbers import number_of

GREATER_KEYS = ["acc", "top", "AR@", "auc", "precision", "mAP", "mDice", "mIoU", "mAcc", "aAcc"]
LESS_KEYS = ["loss"]

RULES: dict[str, Callable[[float, float], bool]] = {
    "greater": lambda x, y: x > y,
    "less": lambda x, y: x < y,
}
WORST = {"greater": -inf, "less": inf}


def infer_rule(
    key: str, greater_keys: Iterable[str] = GREATER_KEYS, less_keys: Iterable[str] = LESS_KEYS
) -> str:
    """Guess ``"greater"`` or ``"less"`` from a metric's name; case does not matter.

    A name that *is* one of the keys goes first, then one that *contains* one;
    ``greater`` wins ties.

    Raises:
        ValueError: the name tells nothing.

    >>> infer_rule("coco/bbox_mAP"), infer_rule("val_loss")
    ('greater', 'less')
    """
    name = key.lower()
    table = (
        ("greater", [k.lower() for k in greater_keys]),
        ("less", [k.lower() for k in less_keys]),
    )
    for rule, keys in table:
        if name in keys:
            return rule
    for rule, keys in table:
        if any(k in name for k in keys):
            return rule
    raise ArgumentError(
        f"Cannot infer the rule for key {key!r}: no part of it is among "
        f"{[*greater_keys, *less_keys]}. Set rule='greater' or rule='less'."
    )


def score_of(key: str, metrics: Mapping[str, Any]) -> Any:
    """Return the value by which best checkpoints are chosen.

    Raises:
        KeyError: There is no such metric.
        TypeError: It is not a number.
    """
    if key not in metrics:
        raise ReadableKeyError(
            f"save_best={key!r} is not among the metrics {list(metrics)}: "
            "set CheckpointHook(save_best=…) to one of them"
        )
    return number_of(key, metrics[key])


def check_rule(rule: str | None) -> None:
    """Accept a known rule or None.

    Raises:
        KeyError: anything else.
    """
    if rule is not None and rule not in RULES:
        raise ReadableKeyError(f"rule must be greater, less or None, but got {rule!r}.")
