"""Write a checkpoint file: plain data, in one step."""

from __future__ import annotations

import io
import logging
import os
import re
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import torch

from mm2pl.checkpoint.plain import to_plain
from mm2pl.errors import ArgumentError, FileError
from mm2pl.fileio import FileClient, LocalBackend, get_file_backend
from mm2pl.logging import print_log
from mm2pl.utils.process import is_alive

_HOST = re.sub(r"\W", "_", socket.gethostname())


def save_checkpoint(
    checkpoint: object,
    filename: str,
    file_client_args: dict[str, Any] | None = None,
    backend_args: dict[str, Any] | None = None,
) -> None:
    """Write a checkpoint that ``torch.load(weights_only=True)`` reads, in one step.

    A local file appears under its name only when it is complete and on the disk; an older one of that name stays
    until then.

    Args:
        checkpoint: Anything that :func:`mm2pl.checkpoint.plain.to_plain` takes.
        filename: A path or URI.
        file_client_args: The older form of ``backend_args``.
        backend_args: Arguments of the storage backend.

    Raises:
        ValueError: Both kinds of arguments are given.
    """
    if file_client_args is not None:
        print_log(
            '"file_client_args" will be deprecated in future. Please use "backend_args" instead',
            logger="current",
            level=logging.WARNING,
        )
        if backend_args is not None:
            raise ArgumentError(
                '"file_client_args" and "backend_args" cannot be set at the same time.'
            )
    filename = os.fspath(filename)
    content = to_plain(checkpoint) if isinstance(checkpoint, Mapping) else checkpoint
    backend: Any
    if file_client_args is not None:
        backend = FileClient.infer_client(file_client_args, filename)
    else:
        backend = get_file_backend(filename, backend_args=backend_args)
    # A FileClient, the older interface, keeps what writes in `client`. A subclass may write in a way of its own.
    writes = getattr(backend, "client", backend)
    if getattr(type(writes), "put", None) is LocalBackend.put:
        write_atomically(filename, lambda file: torch.save(content, file))
        return
    # MMEngine's backends take the content at once, not a file to write to.
    with io.BytesIO() as file:
        torch.save(content, file)
        backend.put(file.getvalue(), filename)


def write_atomically(
    filename: str | os.PathLike[str], write: Callable[[IO[bytes]], object]
) -> None:
    """Let ``write`` fill a file that appears under ``filename`` only when it is complete and on the disk.

    A process killed on the way leaves ``.<name>.<host>-<pid>.tmp``, which the next one on that host removes.

    Raises:
        OSError: The disk is full or the folder cannot be written; the message names the file.
    """
    path = Path(filename).expanduser()
    # In the same folder: renaming is atomic only within one file system. Another run may write a file of that name too.
    unfinished = path.with_name(f".{path.name}.{_HOST}-{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_left_over(path)
        # torch.save hands over each tensor in five parts, which would be as many system calls.
        with open(unfinished, "wb", buffering=1 << 20) as file:
            write(file)
            file.flush()
            # Before the renaming: after a power failure, the name could else stand for an empty file.
            os.fsync(file.fileno())
        os.replace(unfinished, path)
    except (OSError, RuntimeError) as error:
        # torch.save reports a full disk as a wrong position in the file.
        reason = error if isinstance(error, OSError) else error.__context__
        if not isinstance(reason, OSError):
            raise
        raise FileError(
            reason.errno,
            f"{filename} could not be written: {reason.strerror or reason}. No file was changed → make room and "
            "--resume",
        ) from error
    finally:
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)
    _sync_folder(path.parent)


def _remove_left_over(path: Path) -> None:
    """Remove what processes of this host that are gone have left of a file, and those of mm2pl 0.1."""
    start = f".{path.name}."
    # Not a glob: each name of a file would be another pattern, which is compiled and stays in a cache.
    for name in os.listdir(path.parent):
        if not (name.startswith(start) and name.endswith("tmp")):
            continue
        _, _, pid = name.removeprefix(start).removesuffix(".tmp").rpartition(f"{_HOST}-")
        if name == f"{start}tmp" or (pid.isdigit() and not is_alive(int(pid))):
            path.with_name(name).unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """Make the renaming survive a power failure, where the system can."""
    # Windows does not open folders.
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
