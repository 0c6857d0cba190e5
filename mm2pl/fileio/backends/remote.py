"""Files elsewhere, by the names of MMEngine's backends."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

from mm2pl.errors import ArgumentError, MissingPackageError, ReadableKeyError
from mm2pl.fileio.backends.base import BaseStorageBackend, FilePath, FsspecBackend


class HTTPBackend(FsspecBackend):
    """Files on the web; the environment's proxies are used.

    Args:
        **storage_options: For fsspec's `HTTPFileSystem`, such as ``client_kwargs``.

    Raises:
        ArgumentError: On use, a path that does not begin with ``http://`` or ``https://``.
    """

    def __init__(self, **storage_options: Any) -> None:
        # aiohttp, which fsspec uses, follows proxy variables only if asked. MMEngine's urllib always does.
        super().__init__(**{"client_kwargs": {"trust_env": True}, **storage_options})

    def _url(self, filepath: str) -> str:
        if not filepath.startswith(("http://", "https://")):
            raise ArgumentError(
                f"{filepath!r} is not a web address (https://…): leave backend='http' out for other files."
            )
        return filepath


class MemoryBackend(FsspecBackend):
    """Files in this process's memory (``memory://``).

    All instances see the same files. ``storage_options`` has no effect.
    """


class LmdbBackend(BaseStorageBackend):
    """Values of an LMDB database by key; stands for `mmengine.fileio.LmdbBackend`.

    Args:
        db_path: The database.
        readonly: See `lmdb.open`, as for the others.
        lock: Lock the database.
        readahead: Let the system read ahead.
        **kwargs: For `lmdb.open`.

    Raises:
        ImportError: The package lmdb is missing.
    """

    def __init__(
        self,
        db_path: FilePath,
        readonly: bool = True,
        lock: bool = False,
        readahead: bool = False,
        **kwargs: Any,
    ) -> None:
        try:
            self._lmdb = import_module("lmdb")
        except ImportError as error:
            raise MissingPackageError(
                'Please run "pip install lmdb" to enable LmdbBackend.'
            ) from error
        self.db_path = str(db_path)
        self._options = {"readonly": readonly, "lock": lock, "readahead": readahead, **kwargs}
        self._client: Any = None  # opened in the process that reads

    def get(self, filepath: FilePath) -> bytes:
        """Return the value of the key ``filepath``; None if there is no such key."""
        if self._client is None:
            self._client = self._lmdb.open(self.db_path, **self._options)
        with self._client.begin(write=False) as transaction:
            # MMEngine 0.10.7's encoding of keys.
            return transaction.get(str(filepath).encode("ascii"))

    def get_text(self, filepath: FilePath, encoding: str = "utf-8") -> str:
        """Return the value of the key ``filepath`` as text.

        Raises:
            ReadableKeyError: There is no such key.
        """
        value: bytes | None = self.get(filepath)
        if value is None:
            raise ReadableKeyError(f"{self.db_path} has no key {str(filepath)!r}")
        return value.decode(encoding)


class MemcachedBackend(BaseStorageBackend):
    """Values of a memcached store by key; stands for `mmengine.fileio.MemcachedBackend`.

    Its client, the package ``mc``, is not public: it comes with the cluster.

    Args:
        server_list_cfg: A file that lists the servers.
        client_cfg: A file with the client's settings.
        sys_path: A folder in which ``mc`` is, added to `sys.path`.

    Raises:
        ImportError: There is no ``mc``.
    """

    def __init__(self, server_list_cfg: str, client_cfg: str, sys_path: str | None = None) -> None:
        if sys_path is not None:
            # As in MMEngine 0.10.7, it stays there for the rest of the process.
            sys.path.append(sys_path)
        try:
            self._mc = import_module("mc")
        except ImportError as error:
            raise MissingPackageError(
                "MemcachedBackend needs the package `mc`, which is not public. Use local files or a "
                "backend of fsspec, such as backend_args=dict(backend='petrel') for S3."
            ) from error
        self.server_list_cfg = server_list_cfg
        self.client_cfg = client_cfg
        self._client = self._mc.MemcachedClient.GetInstance(server_list_cfg, client_cfg)
        self._buffer = self._mc.pyvector()

    def get(self, filepath: FilePath) -> bytes:
        """Return the value of the key ``filepath``."""
        self._client.Get(str(filepath), self._buffer)
        return self._mc.ConvertBuffer(self._buffer)

    def get_text(self, filepath: FilePath, encoding: str = "utf-8") -> str:
        """Raise NotImplementedError: the store holds bytes, see :meth:`get`."""
        raise NotImplementedError("MemcachedBackend reads bytes only: decode what `get` returns.")
