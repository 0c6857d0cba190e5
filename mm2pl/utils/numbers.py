"""What is a number: of texts, and of metrics that are to be compared."""

from __future__ import annotations

from typing import Any

from mm2pl.errors import ArgumentError


def is_number(text: str) -> bool:
    """Return whether a text is one number.

    >>> is_number("1e-3"), is_number("fast")
    (True, False)
    """
    try:
        float(text)
    except ValueError:
        return False
    return True


def number_of(key: str, value: Any) -> Any:
    """Return a metric's value as it is, if it is one number, or None where there is none.

    Raises:
        TypeError: It is something else, which cannot be compared.

    >>> number_of("acc", "high")
    Traceback (most recent call last):
    ...
    mm2pl.errors.ArgumentError: metric 'acc' is 'high' (str) → to be compared it must be one number
    """
    try:
        comparable = not isinstance(value, str | bytes) and getattr(value, "ndim", 0) == 0
        if value is None or (comparable and float(value) is not None):
            return value
    except (TypeError, ValueError):
        pass
    raise ArgumentError(
        f"metric {key!r} is {value!r:.80} ({type(value).__name__}) → to be compared it must be one number"
    )
