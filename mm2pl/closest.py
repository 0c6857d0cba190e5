"""Guess which known name a wrong one stands for."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from itertools import islice

# Comparing two words takes quadratic time, and a config can be written to make a name very long.
_LONGEST, _MOST = 80, 2000


def closest(name: object, known: Iterable[object], most: int = 3) -> list[str]:
    """Return the known names that resemble ``name``, the most similar first; case does not matter.

    Ask it only of names that are certainly wrong: the guess may be far off.

    >>> closest("modle", ["model", "train_cfg"]), closest("adamw", ["Adam", "AdamW"])
    (['model'], ['AdamW', 'Adam'])
    """
    # A key of a YAML file may be a number.
    word = str(name).lower()
    if len(word) > _LONGEST:
        return []
    spelled: dict[str, str] = {}
    for other in map(str, islice(known, _MOST)):
        if len(other) <= _LONGEST:
            # Of names that differ only in case, the first is the one to suggest.
            spelled.setdefault(other.lower(), other)
    return [spelled[found] for found in get_close_matches(word, spelled, most)]


def did_you_mean(names: Iterable[str]) -> str:
    """Return the question that ends a message, or nothing if there are no names.

    >>> did_you_mean(closest("modle", ["model", "train_cfg"])), did_you_mean([])
    (" Did you mean 'model'?", '')
    """
    named = " or ".join(map(repr, names))
    return f" Did you mean {named}?" if named else ""


def misspelt(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that ``name`` differs from by one letter, or by two from nine letters on.

    Ask it of names that may be right: a user's own variable may resemble a known name and mean something else.

    >>> known = ["optim_wrapper", "train_dataloader"]
    >>> misspelt("optim_wraper", known), misspelt("train_loader", known), misspelt("optim_wrapper", known)
    ('optim_wrapper', None, None)
    """
    allowed = 1 if len(name) < 9 else 2
    near = {
        other: edits(name, other)
        for other in known
        if abs(len(other) - len(name)) <= allowed and other[:1] == name[:1]
    }
    best = min(near, key=lambda other: near[other], default=None)
    # A distance of 0 is the known name itself.
    return best if best is not None and 0 < near[best] <= allowed else None


def edits(a: str, b: str) -> int:
    """Count the insertions, deletions and replacements between two words (difflib's blocks count too many).

    >>> edits("val_iterval", "val_interval"), edits("val_cgg", "val_cfg")
    (1, 1)
    """
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        diagonal, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (x != y))
    return row[-1]
