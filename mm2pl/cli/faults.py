"""Who is at fault: a mistake that one message explains, or something that needs its traceback."""

from __future__ import annotations

import os
import traceback
from pathlib import Path

from mm2pl.errors import UserError
from mm2pl.utils.users_code import PACKAGE, innermost


def speaks_for_all(error: BaseException) -> bool:
    """Return whether this process tells of a failure; of several that fail, one does."""
    if "MASTER_PORT" not in os.environ:
        return True
    # Only here: Lightning comes with it, and a single process has nobody to ask.
    from mm2pl.lightning.failures import is_first_failure

    return is_first_failure(error)


def is_users_mistake(error: BaseException) -> bool:
    """Return whether an error was raised to tell its user something; a ``raise`` says so, and not whose frame it is.

    What an operator or a call has run into is no such message, also where it happens in mm2pl: that is mm2pl's fault.
    """
    if isinstance(error, UserError):
        return True
    frames = traceback.extract_tb(error.__traceback__)
    if not frames:
        return False
    last = Path(frames[-1].filename).resolve()
    ours = PACKAGE in last.parents
    # A file that is missing or may not be written: the error itself names it.
    if ours and isinstance(error, OSError) and error.filename is not None:
        return True
    # Lightning checks its callbacks and options with messages of its own.
    raised = (frames[-1].line or "").startswith("raise ")
    return raised and (ours or "lightning" in last.parts)


def told(error: BaseException, command: str) -> str:
    """Return the one message about a mistake, or ``""`` for an error that needs its traceback."""
    return f"mm2pl {command}: {message_of(error)}" if is_users_mistake(error) else ""


def message_of(error: BaseException) -> str:
    """Return an error's message with its notes."""
    return "\n".join([f"{type(error).__name__}: {error}", *getattr(error, "__notes__", [])])


def users_line(error: BaseException) -> str:
    """Return the innermost line of the user's own code that an error came through, with its place; ``""``: none."""
    frame = innermost(traceback.extract_tb(error.__traceback__))
    if frame is None:
        return ""
    return f"{frame.filename}:{frame.lineno}, in {frame.name}: {frame.line}"
