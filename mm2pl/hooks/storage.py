"""Which arguments a hook hands to the storage backend of its files."""

from __future__ import annotations

import logging

from mm2pl.errors import ArgumentError
from mm2pl.logging import print_log


def chosen_backend_args(backend_args: dict | None, file_client_args: dict | None) -> dict | None:
    """Return ``backend_args``, translated from the older ``file_client_args`` if that was given.

    Raises:
        ValueError: both were given.
    """
    if file_client_args is None:
        return backend_args
    if backend_args is not None:
        raise ArgumentError('"file_client_args" and "backend_args" cannot be set at the same time.')
    print_log(
        '"file_client_args" will be deprecated in future. Please use "backend_args" instead',
        logger="current",
        level=logging.WARNING,
    )
    # The file clients called the local disk "disk", the backends call it "local".
    names = {"disk": "local"}
    args = dict(file_client_args)
    if "backend" in args:
        args["backend"] = names.get(args["backend"], args["backend"])
    return args
