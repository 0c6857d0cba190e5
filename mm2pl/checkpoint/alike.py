"""Whether a state of a file is of the kind that the object has which is to take it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from mm2pl.checkpoint.errors import CheckpointError
from mm2pl.checkpoint.schema import MAPPING, SHORT, SWITCH, Rule, is_scalar

KINDS = (
    Rule("a number", is_scalar),
    Rule("a text", lambda value: isinstance(value, str)),
    MAPPING,
    Rule("a list", lambda value: isinstance(value, list | tuple)),
)


def require_alike(own: Any, found: Any, place: str) -> None:
    """Refuse a state with a switch, number, text, dict or list where another kind of value is needed.

    What the object holds now tells which; where that is None or an object of another kind, nothing is asked. Keys and
    elements that only one of the two has are left to the object.

    Args:
        own: The state that the object has.
        found: The state of the file.
        place: Of the state in the file, for the message.

    Raises:
        CheckpointError: Naming the place, what was found and what is needed.

    >>> require_alike({"wait": 0, "best": None}, {"wait": 2, "best": [3]}, "hook")
    >>> require_alike({"wait": 0}, {"wait": "two"}, "hook")
    Traceback (most recent call last):
    ...
    mm2pl.checkpoint.errors.CheckpointError: hook.wait is 'two' (str) → a number is needed
    """
    if own is None:
        return
    for rule in (SWITCH,) if isinstance(own, bool) else KINDS:
        if rule.accepts(own):
            if not rule.accepts(found):
                raise CheckpointError(
                    f"{place} is {SHORT.repr(found)} ({type(found).__name__}) → {rule.needed} is needed"
                )
            break
    if isinstance(own, Mapping):
        for key in own.keys() & found.keys():
            require_alike(own[key], found[key], f"{place}.{key}")
    elif isinstance(own, list | tuple):
        for index, (mine, other) in enumerate(zip(own, found, strict=False)):
            require_alike(mine, other, f"{place}.{index}")


def require_own_kind(
    owner: Any, known: Collection[Callable[..., Any]], found: Any, place: str
) -> None:
    """Refuse a state that is not of the form that ``owner`` has now.

    Only methods of known form are asked for one: a user's may return anything, and begin with 0 or False where it has
    a vector, None or a count later.

    Args:
        owner: Who is to take it.
        known: Methods ``state_dict`` whose values keep their kinds.
        found: The state of the file.
        place: See `require_alike`.

    Raises:
        CheckpointError: See `require_alike`.
    """
    if getattr(type(owner), "state_dict", None) in known:
        require_alike(owner.state_dict(), found, place)
