"""Whether another process is still there."""

from __future__ import annotations

import os


def is_alive(pid: int) -> bool:
    """Return whether a process of this host is running, whoever owns it.

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
    return True


def started_at(pid: int) -> str | None:
    """Return when a process of this host was started, in the kernel's own count; None where that is not told.

    A process id is given again, so that it takes both to know a process.
    """
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            # The name in parentheses may hold anything, spaces and parentheses too.
            return file.read().rpartition(b")")[2].split()[19].decode()
    except (OSError, IndexError):
        return None
