"""Files elsewhere, by the names of MMEngine's backends."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from mm2pl.fileio.backends.base import BaseStorageBackend, FilePath, FsspecBackend


class HTTPBackend(FsspecBackend):
    """Files on the web; the environment's proxies are used."""

    def __init__(self, **storage_options: Any) -> None:
        super().__init__(**{"client_kwargs": {"trust_env": True}, **storage_options})


class MemoryBackend(FsspecBackend):
    """Files in this process's memory (``memory://``)."""


class PetrelBackend(FsspecBackend):
    """Files in an S3 store, by `s3fs`; stands for `mmengine.fileio.PetrelBackend`.

    Args:
        path_mapping: Beginnings of paths and what to put in their place.
        enable_mc: Has no effect.
        conf_path: Not supported.
        **storage_options: For `s3fs.S3FileSystem`, such as ``endpoint_url``, ``key``, ``secret``.
    """

    def __init__(
        self,
        path_mapping: dict[str, str] | None = None,
        enable_mc: bool = True,
        conf_path: str | None = None,
        **storage_options: Any,
    ) -> None:
        if conf_path is not None:
            raise ValueError(
                f"conf_path={conf_path!r} is read by petrel_client only: give key=, secret= and "
                "endpoint_url= of s3fs instead, or put them into fsspec's configuration file."
            )
        super().__init__(**storage_options)
        self.path_mapping = path_mapping or {}

    def _url(self, filepath: str) -> str:
        for old, new in self.path_mapping.items():
            filepath = filepath.replace(old, new, 1)
        return f"s3://{filepath.rpartition('://')[2]}"


class LmdbBackend(BaseStorageBackend):
    """Values of an LMDB database by key; stands for `mmengine.fileio.LmdbBackend`.

    Args:
        db_path: The database.
        readonly: See `lmdb.open`, as for the others.
        lock: Lock the database.
        readahead: Let the system read ahead.
        **kwargs: For `lmdb.open`.
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
            raise ImportError('Please run "pip install lmdb" to enable LmdbBackend.') from error
        self.db_path = str(db_path)
        self._options = {"readonly": readonly, "lock": lock, "readahead": readahead, **kwargs}
        self._client: Any = None  # opened in the process that reads

    def get(self, filepath: FilePath) -> bytes:
        """Return the value of the key ``filepath``."""
        if self._client is None:
            self._client = self._lmdb.open(self.db_path, **self._options)
        with self._client.begin(write=False) as transaction:
            return transaction.get(str(filepath).encode("ascii"))

    def get_text(self, filepath: FilePath, encoding: str = "utf-8") -> str:
        """Return the value of the key ``filepath`` as text."""
        return self.get(filepath).decode(encoding)


class MemcachedBackend(BaseStorageBackend):
    """Not supported: MMEngine's needs a client that is not public."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise ImportError(
            "MemcachedBackend needs the package `mc`, which is not public. Use local files or a "
            "backend of fsspec, such as backend_args=dict(backend='petrel') for S3."
        )

    def get(self, filepath: FilePath) -> bytes:
        """Not reached."""
        raise NotImplementedError

    def get_text(self, filepath: FilePath, encoding: str = "utf-8") -> str:
        """Not reached."""
        raise NotImplementedError
