"""The older interface to backends, which old code still uses."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

from mm2pl.errors import ArgumentError, ReadableKeyError
from mm2pl.fileio.backends.base import FilePath
from mm2pl.fileio.backends.local import LocalBackend
from mm2pl.fileio.backends.petrel import PetrelBackend
from mm2pl.fileio.backends.registry_utils import as_prefixes, check_backend
from mm2pl.fileio.backends.remote import (
    HTTPBackend,
    LmdbBackend,
    MemcachedBackend,
)
from mm2pl.fileio.uri import parse_uri_prefix
from mm2pl.logging import print_log


class HardDiskBackend(LocalBackend):
    """The older name of `LocalBackend`."""


class FileClient:
    """Read and write files by a backend's name or a URL's scheme; `mmengine.fileio.FileClient`.

    Deprecated in favour of the functions of `mm2pl.fileio`, and told so once. Clients with the same
    arguments are one. Every method of the backend is one of the client.

    Args:
        backend: A name: disk, memcached, lmdb, petrel, http, or a registered one.
        prefix: A scheme, used if there is no ``backend``.
        **kwargs: For the backend.
    """

    _backends: ClassVar[dict[str, Any]] = {
        # MMEngine 0.10.7's name for local files here, which are `local` in the newer functions.
        "disk": HardDiskBackend,
        "memcached": MemcachedBackend,
        "lmdb": LmdbBackend,
        "petrel": PetrelBackend,
        "http": HTTPBackend,
    }
    _prefix_to_backends: ClassVar[dict[str, Any]] = {
        "s3": PetrelBackend,
        "petrel": PetrelBackend,
        "http": HTTPBackend,
        "https": HTTPBackend,
    }
    _instances: ClassVar[dict[str, FileClient]] = {}

    client: Any

    def __new__(
        cls, backend: str | None = None, prefix: str | None = None, **kwargs: Any
    ) -> FileClient:
        """Return the client of these arguments."""
        # The logger's filter shows it once.
        print_log(
            '"FileClient" will be deprecated in future. Please use the functions of mm2pl.fileio.',
            logger="current",
            level=logging.WARNING,
        )
        if backend is None and prefix is None:
            backend = "disk"
        table, name = (cls._backends, backend) if backend else (cls._prefix_to_backends, prefix)
        if name not in table:
            raise ArgumentError(
                f"{'Backend' if backend else 'prefix'} {name} is not supported. Currently supported "
                f"ones are {list(table)}"
            )
        # Sorted: MMEngine 0.10.7 makes a second client if the same arguments come in another order.
        key = f"{backend}:{prefix}:{sorted(kwargs.items())}"
        if key not in cls._instances:
            client = super().__new__(cls)
            client.client = table[name](**kwargs)
            cls._instances[key] = client
        return cls._instances[key]

    def __getattr__(self, name: str) -> Any:
        if name == "client":  # not built yet
            raise AttributeError(name)
        return getattr(self.client, name)

    @staticmethod
    def parse_uri_prefix(uri: FilePath) -> str | None:
        """Return the scheme of a URL; None for a path."""
        # As in MMEngine 0.10.7, a path is None here, but '' in fileio.io.
        return parse_uri_prefix(uri) or None

    @classmethod
    def infer_client(
        cls, file_client_args: dict[str, Any] | None = None, uri: FilePath | None = None
    ) -> FileClient:
        """Return the client of these arguments, else of this URL.

        Raises:
            ArgumentError: Neither ``file_client_args`` nor ``uri`` is given.
        """
        if file_client_args is not None:
            return cls(**file_client_args)
        if uri is None:
            raise ArgumentError("infer_client needs file_client_args or a uri.")
        return cls(prefix=cls.parse_uri_prefix(uri))

    @classmethod
    def register_backend(
        cls, name: str, backend: Any = None, force: bool = False, prefixes: Any = None
    ) -> Any:
        """Register a backend class for clients, by a call or as a decorator.

        Raises:
            KeyError: The name or a prefix is taken.
        """

        def register(backend_cls: Any) -> Any:
            check_backend(name, backend_cls)
            schemes = as_prefixes(prefixes)
            before = [cls._backends.get(name), *map(cls._prefix_to_backends.get, schemes)]
            replaced = tuple(old for old in before if old is not None)
            if replaced and not force:
                raise ReadableKeyError(
                    f"{name} (or one of {list(schemes)}) is already registered as a storage "
                    'backend, add "force=True" if you want to override it'
                )
            # A client of a replaced backend would be handed out further on.
            for key, client in list(cls._instances.items()):
                if isinstance(client.client, replaced):
                    del cls._instances[key]
            cls._backends[name] = backend_cls
            # MMEngine 0.10.7 leaves a taken prefix to its old backend, even with force=True.
            cls._prefix_to_backends.update(dict.fromkeys(schemes, backend_cls))
            return backend_cls

        if backend is None:
            return register
        register(backend)
        return None

    @contextmanager
    def get_local_path(self, filepath: FilePath) -> Iterator[FilePath]:
        """Give a local path of the file; a context manager."""
        with self.client.get_local_path(str(filepath)) as path:
            yield path
