"""Lists and dicts from text files."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from typing import Any

from mm2pl.errors import ArgumentError
from mm2pl.fileio.backends.base import FilePath
from mm2pl.fileio.io import BackendArgs, deprecated_client, get_text


def _lines(
    filename: FilePath, encoding: str, file_client_args: BackendArgs, backend_args: BackendArgs
) -> list[str]:
    if file_client_args is None:
        text = get_text(filename, encoding, backend_args=backend_args)
    else:
        client = deprecated_client(filename, file_client_args, backend_args)
        text = client.get_text(filename, encoding)
    # Not splitlines(), which also cuts at a form feed and at U+2028.
    return text.removesuffix("\n").split("\n") if text else []


def list_from_file(
    filename: FilePath,
    prefix: str = "",
    offset: int = 0,
    max_num: int = 0,
    encoding: str = "utf-8",
    file_client_args: BackendArgs = None,
    backend_args: BackendArgs = None,
) -> list[str]:
    """Return the lines of a file.

    Args:
        filename: A path or URL.
        prefix: Put before each.
        offset: How many to skip.
        max_num: At most so many; 0: all.
        encoding: The file's.
        file_client_args: Deprecated.
        backend_args: See `mm2pl.fileio.io`.
    """
    lines = _lines(filename, encoding, file_client_args, backend_args)
    end = offset + max_num if max_num > 0 else None
    # A backend that reads bytes leaves the \r of Windows' line ends.
    return [prefix + line.rstrip("\n\r") for line in islice(lines, offset, end)]


def dict_from_file(
    filename: FilePath,
    key_type: Callable[[str], Any] = str,
    encoding: str = "utf-8",
    file_client_args: BackendArgs = None,
    backend_args: BackendArgs = None,
) -> dict[Any, str | list[str]]:
    """Return the lines of a file as a dict.

    The first word is the key, cast by ``key_type``; the value is the second word, or a list if there
    are more.

    ``filename``, ``encoding``, ``file_client_args`` and ``backend_args`` are those of :func:`list_from_file`.

    Raises:
        ArgumentError: A line has fewer than two words.
    """
    mapping: dict[Any, str | list[str]] = {}
    for number, line in enumerate(_lines(filename, encoding, file_client_args, backend_args), 1):
        key, *values = line.split() or [""]
        if not values:
            raise ArgumentError(
                f"{filename}:{number}: expected a key and a value, but got {line!r}."
            )
        mapping[key_type(key)] = values if len(values) > 1 else values[0]
    return mapping
