"""The text file ``last_checkpoint``, which names the newest checkpoint of a run."""

from __future__ import annotations

import os
from pathlib import Path

MARKER = "last_checkpoint"

_LONGEST = 4096
"""Bytes of a path, on usual systems."""


def read_marker(folder: str | os.PathLike[str]) -> tuple[str | None, str]:
    """Return the path that a folder's marker names, or None and what is wrong with the marker.

    >>> read_marker("/nowhere")
    (None, 'is missing')
    """
    marker = Path(folder, MARKER)
    if not os.path.lexists(marker):
        return None, "is missing"
    try:
        with open(marker, "rb") as file:
            text = file.read(_LONGEST + 1).decode().strip()
    except OSError as error:
        return None, f"cannot be read ({error.strerror})"
    except UnicodeDecodeError:
        return None, "is damaged"
    if not text:
        return None, "is empty"
    # A power failure leaves zeros, a restored disk anything.
    return (text, "") if text.isprintable() and len(text) <= _LONGEST else (None, "is damaged")


def file_named(folder: str | os.PathLike[str], saved: str) -> Path | None:
    """Return the folder's own file that a marker's path means, or None.

    MMEngine 0.10.7 writes an absolute path, and goes on from the original after the folder was copied. So only the end
    of the path counts: the name, and for ``filename_tmpl="sub/epoch_{}.pth"`` the folder before it.
    """
    path = Path(saved)
    candidates = (Path(folder, path.name), Path(folder, path.parent.name, path.name))
    return next((each for each in candidates if path.name and os.path.lexists(each)), None)
