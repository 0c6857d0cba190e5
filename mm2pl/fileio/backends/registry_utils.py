"""Backends by name and by the scheme of a URL."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

from mm2pl.errors import ArgumentError
from mm2pl.fileio.backends.base import BaseStorageBackend
from mm2pl.fileio.backends.local import LocalBackend
from mm2pl.fileio.backends.petrel import PetrelBackend
from mm2pl.fileio.backends.remote import (
    HTTPBackend,
    LmdbBackend,
    MemcachedBackend,
    MemoryBackend,
)

backends: dict[str, Any] = {
    "local": LocalBackend,
    "memcached": MemcachedBackend,
    "lmdb": LmdbBackend,
    "petrel": PetrelBackend,
    "http": HTTPBackend,
    "memory": MemoryBackend,
}

prefix_to_backends: dict[str, Any] = {
    "": LocalBackend,
    "petrel": PetrelBackend,
    "s3": PetrelBackend,
    "http": HTTPBackend,
    "https": HTTPBackend,
    "memory": MemoryBackend,
}
"""Schemes that are not here are left to `fsspec`."""


def check_backend(name: Any, backend: Any) -> None:
    """Raise TypeError unless ``backend`` is a backend class and ``name`` a string."""
    if not isinstance(name, str):
        raise ArgumentError(f"the backend name should be a string, but got {type(name)}: {name!r}")
    if not inspect.isclass(backend):
        raise ArgumentError(f"backend should be a class, but got {type(backend)}")
    if not issubclass(backend, BaseStorageBackend):
        raise ArgumentError(f"backend {backend} is not a subclass of BaseStorageBackend")


def as_prefixes(prefixes: str | Sequence[str] | None) -> Sequence[str]:
    """Return the prefixes as a sequence.

    Raises:
        ArgumentError: ``prefixes`` is neither a string nor a list or tuple.
    """
    if not (prefixes is None or isinstance(prefixes, (str, list, tuple))):
        raise ArgumentError(f"prefixes should be a str, list or tuple, but got {prefixes!r}")
    return [prefixes] if isinstance(prefixes, str) else prefixes or []


def register_backend(
    name: str,
    backend: Any = None,
    force: bool = False,
    prefixes: str | Sequence[str] | None = None,
) -> Any:
    """Register a backend class, by a call or (without ``backend``) as a decorator.

    Args:
        name: For ``backend_args=dict(backend=name)``.
        backend: The class.
        force: Replace what has the name or a prefix already.
        prefixes: Schemes of the URLs that it handles.

    Raises:
        ValueError: The name or a prefix is taken.
    """

    def register(cls: Any) -> Any:
        check_backend(name, cls)
        schemes = as_prefixes(prefixes)
        taken = [
            n for n, t in [(name, backends), *((p, prefix_to_backends) for p in schemes)] if n in t
        ]
        if taken and not force:
            raise ArgumentError(
                f"{taken[0]} is already registered as a storage backend, "
                'add "force=True" if you want to override it'
            )
        backends[name] = cls
        prefix_to_backends.update(dict.fromkeys(schemes, cls))
        return cls

    if backend is None:
        return register
    register(backend)
    return None
