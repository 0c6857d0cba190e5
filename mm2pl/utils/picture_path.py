"""Where a picture may be drawn to."""

from __future__ import annotations

from pathlib import Path

from mm2pl.errors import ArgumentError, MissingFileError


def check_picture_path(path: Path) -> None:
    """Refuse a file that matplotlib could not write, before anything is drawn.

    Raises:
        ArgumentError: No picture has the ending of the path.
        MissingFileError: Its folder does not exist.
    """
    # Not pyplot, which would choose a display and keep the figure for the life of the process.
    from matplotlib.figure import Figure

    formats = Figure().canvas.get_supported_filetypes()
    if path.suffix[1:].lower() not in formats:
        raise ArgumentError(
            f"{str(path)!r}: no picture has this ending → {', '.join(sorted(formats))}."
        )
    if not path.parent.is_dir():
        raise MissingFileError(f"the folder {str(path.parent)!r} of {path.name!r} does not exist.")
