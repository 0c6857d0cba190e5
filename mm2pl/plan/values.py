"""What a key of a config takes: a test and the words for it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any


@dataclass(frozen=True)
class Values:
    """A set of values.

    Attributes:
        words: What a message calls them.
        accepts: Return whether a value is among them.

    >>> (WHOLE | NOTHING).words, (WHOLE | NOTHING).accepts(1.5)
    ('a whole number or None', False)
    """

    words: str
    accepts: Callable[[Any], bool]

    def __or__(self, other: Values) -> Values:
        return Values(
            f"{self.words} or {other.words}",
            lambda value: self.accepts(value) or other.accepts(value),
        )


def is_number(value: object) -> bool:
    """Return whether a value is one real number; NumPy's are, and so are True and False to Python and MMEngine."""
    return isinstance(value, Real)


def is_whole(value: object) -> bool:
    """Return whether a value is a whole number; MMEngine's loops take 3.0 for 3.

    >>> [is_whole(value) for value in (3, 3.0, 1.5, float("inf"), "3", None)]
    [True, True, False, False, False, False]
    """
    return isinstance(value, Real) and math.isfinite(value) and value % 1 == 0


def is_true(value: object) -> bool:
    """Return whether ``if`` takes a value for true; a tensor of several numbers, which it refuses, counts as true."""
    try:
        return bool(value)
    # Its own key is told about it.
    except Exception:
        return True


def whole(least: int) -> Values:
    """Return the whole numbers from ``least`` on."""
    return Values(
        f"a whole number of at least {least}", lambda value: is_whole(value) and value >= least
    )


def integer(least: int) -> Values:
    """Return the whole numbers from ``least`` on that Python counts with: no 3.0."""
    return Values(
        f"a whole number of at least {least}",
        lambda value: is_whole(value) and hasattr(value, "__index__") and value >= least,
    )


def number(least: float) -> Values:
    """Return the numbers from ``least`` on; not NaN."""
    return Values(
        f"a number of at least {least:g}", lambda value: is_number(value) and value >= least
    )


def one_of(*choices: Any) -> Values:
    """Return a few values that are written out."""
    # By type too: 1 == True. And before the comparison, since that of a tensor is a tensor.
    return Values(
        f"one of {', '.join(map(repr, choices))}",
        lambda value: any(type(value) is type(choice) and value == choice for choice in choices),
    )


def having(method: str, words: str) -> Values:
    """Return the objects with a method; no dict has methods of its own, although ConfigDict has keys as attributes."""
    return Values(
        words, lambda value: not isinstance(value, Mapping | type) and hasattr(value, method)
    )


def list_of(values: Values, words: str) -> Values:
    """Return the lists and tuples of such values."""
    return Values(
        words, lambda value: isinstance(value, list | tuple) and all(map(values.accepts, value))
    )


def dict_of(values: Values, words: str) -> Values:
    """Return the dicts of such values."""
    return Values(
        words, lambda value: isinstance(value, Mapping) and all(map(values.accepts, value.values()))
    )


ANYTHING = Values("anything", lambda value: True)
NOTHING = Values("None", lambda value: value is None)
WHOLE = Values("a whole number", is_whole)
NUMBER = Values("a number", is_number)
# MMEngine asks `if value`, so it takes 0 and 1 too. A text is true even if it reads "False".
TRUTH = Values("True or False", lambda value: isinstance(value, Real) and value in (0, 1))
# Where torch or MMEngine asks for the type.
BOOLEAN = Values("True or False", lambda value: isinstance(value, bool))
INTEGER = Values("a whole number", lambda value: is_whole(value) and hasattr(value, "__index__"))
NOT_ZERO = Values("a number other than 0", lambda value: is_number(value) and value != 0)
TEXT = Values("a text", lambda value: isinstance(value, str))
PATH = Values("a path", lambda value: isinstance(value, str) or hasattr(value, "__fspath__"))
DICT = Values("a dict", lambda value: isinstance(value, Mapping))
LIST = Values("a list", lambda value: isinstance(value, list | tuple))
TEXTS = list_of(TEXT, "a list of texts")
TYPED = Values(
    "dict(type=…)", lambda value: isinstance(value, Mapping) and value.get("type") is not None
)
CALLABLE = Values("a function", callable)
