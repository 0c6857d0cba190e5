"""The order of hooks: nine named levels between 0 (first) and 100 (last)."""

from __future__ import annotations

from enum import Enum

from mm2pl.errors import ArgumentError, ReadableKeyError


class Priority(Enum):
    """Name the levels a hook can ask for; a smaller value runs earlier (as in MMEngine)."""

    HIGHEST = 0
    VERY_HIGH = 10
    HIGH = 30
    ABOVE_NORMAL = 40
    NORMAL = 50
    BELOW_NORMAL = 60
    LOW = 70
    VERY_LOW = 90
    LOWEST = 100


def get_priority(priority: int | str | Priority) -> int:
    """Return the number behind ``priority``: a number, a level, or the name of a level.

    Raises:
        ValueError: a number outside ``[0, 100]``.
        KeyError: a name that is not a level.
        TypeError: anything else.

    >>> get_priority("very_low"), get_priority(Priority.HIGH), get_priority(42)
    (90, 30, 42)
    """
    if isinstance(priority, Priority):
        return priority.value
    if isinstance(priority, str):
        if priority.upper() not in Priority.__members__:
            names = ", ".join(Priority.__members__)
            raise ReadableKeyError(f"priority {priority!r} is not a level: use {names}, or 0–100")
        return Priority[priority.upper()].value
    if not isinstance(priority, int):
        raise ArgumentError(
            f"priority must be an integer or Priority enum value, or its name, but got {priority!r}"
        )
    if not 0 <= priority <= 100:
        raise ArgumentError(f"priority must be between 0 and 100, but got {priority}")
    return priority
