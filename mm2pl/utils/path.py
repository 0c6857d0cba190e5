"""Files and folders; the functions of `mmengine.utils.path`."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any


def is_filepath(x: Any) -> bool:
    """Return whether ``x`` is a string or a `Path`."""
    return isinstance(x, (str, Path))


def fopen(filepath: str | Path, *args: Any, **kwargs: Any) -> IO[Any]:
    """Open a file given by string or `Path`.

    ``args`` and ``kwargs`` are those of `open`.

    Raises:
        ValueError: ``filepath`` is neither a string nor a Path.
    """
    if not is_filepath(filepath):
        raise ValueError(f"`filepath` should be a string or a Path, but got {filepath!r}")
    return open(filepath, *args, **kwargs)


def check_file_exist(filename: str | Path, msg_tmpl: str = 'file "{}" does not exist') -> None:
    """Raise FileNotFoundError unless ``filename`` is a file.

    ``msg_tmpl`` is the message, with ``{}`` for the name.
    """
    if not os.path.isfile(filename):
        raise FileNotFoundError(msg_tmpl.format(filename))


def mkdir_or_exist(dir_name: str | Path, mode: int = 0o777) -> None:
    """Make the folder ``dir_name`` and those above it, if they are missing; ``''`` is the present folder.

    ``mode`` holds the permissions of the last one, less those that the process's umask takes away.
    """
    # os.path.dirname("a.txt") is '', which makedirs refuses.
    if dir_name != "":
        os.makedirs(os.path.expanduser(dir_name), mode=mode, exist_ok=True)


def symlink(src: str | Path, dst: str | Path, overwrite: bool = True, **kwargs: Any) -> None:
    """Make ``dst`` a link to ``src``; with ``overwrite`` in place of a file or link.

    ``kwargs`` are those of `os.symlink`.
    """
    # lexists also sees a link that leads nowhere.
    if overwrite and os.path.lexists(dst):
        os.remove(dst)
    os.symlink(src, dst, **kwargs)


def scandir(
    dir_path: str | Path,
    suffix: str | tuple[str, ...] | None = None,
    recursive: bool = False,
    case_sensitive: bool = True,
) -> Iterator[str]:
    """Yield the paths of the files in a folder, relative to it; hidden files are left out.

    Args:
        dir_path: The folder.
        suffix: Only files whose name ends so.
        recursive: Also those in the folders below.
        case_sensitive: Of ``suffix``.

    Raises:
        TypeError: ``dir_path`` is not a path, or ``suffix`` not a string.
    """
    if not is_filepath(dir_path):
        raise TypeError(f'"dir_path" must be a string or Path object, but got {dir_path!r}')
    if not (suffix is None or isinstance(suffix, (str, tuple))):
        raise TypeError(f'"suffix" must be a string or tuple of strings, but got {suffix!r}')
    suffixes = ("",) if suffix is None else (suffix,) if isinstance(suffix, str) else suffix
    if not case_sensitive:
        suffixes = tuple(s.lower() for s in suffixes)

    # A generator inside, so that wrong arguments raise at the call and not at the first path.
    def scan(folder: str) -> Iterator[str]:
        for entry in os.scandir(folder):
            if not entry.name.startswith(".") and entry.is_file():
                path = os.path.relpath(entry.path, dir_path)
                if (path if case_sensitive else path.lower()).endswith(suffixes):
                    yield path
            # As in MMEngine 0.10.7, hidden folders are entered: only hidden files are left out.
            elif recursive and entry.is_dir():
                yield from scan(entry.path)

    return scan(str(dir_path))


def find_vcs_root(path: str | Path, markers: Sequence[str] = (".git",)) -> str | None:
    """Return the nearest folder at or above ``path`` that holds one of ``markers``, or None."""
    start = Path(path).expanduser().absolute()
    folders = [*([] if start.is_file() else [start]), *start.parents]
    return next((str(f) for f in folders if any((f / m).exists() for m in markers)), None)


def is_abs(path: str) -> bool:
    """Return whether ``path`` is absolute, or an http or S3 address."""
    return os.path.isabs(path) or path.startswith(("http://", "https://", "s3://"))
