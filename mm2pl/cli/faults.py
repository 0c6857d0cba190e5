"""Who is at fault: a mistake that one message explains, or something that needs its traceback."""

from __future__ import annotations

import os
import traceback

from mm2pl.errors import UserError
from mm2pl.utils.users_code import innermost


def speaks_for_all(error: BaseException) -> bool:
    """Return whether this process tells of a failure; of several that fail, one does."""
    if "MASTER_PORT" not in os.environ:
        return True
    # Only here: Lightning comes with it, and a single process has nobody to ask.
    from mm2pl.lightning.failures import is_first_failure

    return is_first_failure(error)


def told(error: BaseException, program: str) -> str:
    """Return the one message about a user's mistake, or ``""`` for an error that needs its traceback.

    Only the error's class decides: mm2pl raises a :class:`~mm2pl.errors.UserError` for what a user can put right.

    Args:
        error: What was raised.
        program: Who speaks: ``mm2pl fit``.
    """
    if not isinstance(error, UserError):
        return ""
    text = f"{program}: {message_of(error)}"
    line = users_line(error)
    # A config is executed under its own name, and its errors name their place themselves.
    place = line.partition(", in ")[0]
    return f"{text}\n  at {line}" if line and place not in text else text


def message_of(error: BaseException) -> str:
    """Return an error's message with its notes."""
    return "\n".join([f"{type(error).__name__}: {error}", *getattr(error, "__notes__", [])])


def users_line(error: BaseException) -> str:
    """Return the innermost line of the user's own code that an error came through, with its place; ``""``: none."""
    frame = innermost(
        frame for each in _causes(error) for frame in traceback.extract_tb(each.__traceback__)
    )
    if frame is None:
        return ""
    return f"{frame.filename}:{frame.lineno}, in {frame.name}: {frame.line}"


def _causes(error: BaseException) -> list[BaseException]:
    """Return an error and what has caused it, the first cause last."""
    found: list[BaseException] = []
    cause: BaseException | None = error
    # `raise e from e` makes an error its own cause.
    while cause is not None and not any(cause is each for each in found):
        found.append(cause)
        cause = cause.__cause__
    return found
