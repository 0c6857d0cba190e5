"""Whether another process is still there."""

from __future__ import annotations

import os


def is_alive(pid: int) -> bool:
    """Return whether a process of this host is running, whoever owns it; one that has ended, unread, is not.

    >>> is_alive(os.getpid())
    True
    """
    if os.name != "posix":
        # Windows has no signal 0: `os.kill` would end the process.
        return True
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    fields = _stat(pid)
    # A zombie has ended; only its parent has not asked for its status.
    return not fields or fields[0] != b"Z"


def started_at(pid: int) -> str | None:
    """Return when a process of this host was started, in the kernel's own count; None where that is not told.

    A process id is given again, so that it takes both to know a process.
    """
    fields = _stat(pid)
    return fields[19].decode() if len(fields) > 19 else None


def _stat(pid: int) -> list[bytes]:
    """Return what the kernel says of a process from its state on; nothing where it says nothing."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            # The name in parentheses may hold anything, spaces and parentheses too.
            return file.read().rpartition(b")")[2].split()
    except OSError:
        return []
