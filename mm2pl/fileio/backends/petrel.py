"""An S3 store, by OpenMMLab's own client where there is one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mm2pl.errors import ArgumentError, MissingFileError
from mm2pl.fileio.backends.base import FilePath, FsspecBackend


class PetrelBackend(FsspecBackend):
    """Files in an S3 store; stands for `mmengine.fileio.PetrelBackend`.

    MMEngine needs ``petrel_client``, which is not public. It is used where it is installed; elsewhere
    `s3fs` reads and writes the same addresses.

    Args:
        path_mapping: Parts of paths and what to put in their place.
        enable_mc: For ``petrel_client`` only: use its memcached.
        conf_path: For ``petrel_client`` only: its settings.
        **storage_options: For `s3fs.S3FileSystem`, such as ``endpoint_url``, ``key``, ``secret``.

    Raises:
        ValueError: ``conf_path`` is given and there is no ``petrel_client``, or ``storage_options``
            are and there is.
    """

    def __init__(
        self,
        path_mapping: dict[str, str] | None = None,
        enable_mc: bool = True,
        conf_path: str | None = None,
        **storage_options: Any,
    ) -> None:
        if not (path_mapping is None or isinstance(path_mapping, dict)):
            raise ArgumentError(f"path_mapping should be a dict or None, but got {path_mapping!r}")
        super().__init__(**storage_options)
        self.path_mapping = path_mapping
        self._client: Any = None
        try:
            # Optional, and not on any package index.
            from petrel_client import client
        except ImportError as error:
            if conf_path is not None:
                raise ArgumentError(
                    f"conf_path={conf_path!r} is read by petrel_client only: give key=, secret= and "
                    "endpoint_url= of s3fs instead, or put them into fsspec's configuration file."
                ) from error
            return
        if storage_options:
            raise ArgumentError(
                f"{[*storage_options]} are options of s3fs, but petrel_client is installed and is "
                "used: put them into its file and give conf_path."
            )
        self._client = client.Client(conf_path=conf_path, enable_mc=enable_mc)
        from mm2pl.fileio.backends.petrel_files import ClientFiles

        self._files = ClientFiles(self._client)

    def _open(self, filepath: FilePath) -> tuple[Any, str]:
        if self._client is None:
            return super()._open(filepath)
        return self._files, self._address(filepath)

    def _map_path(self, filepath: FilePath) -> str:
        mapped = str(filepath)
        for old, new in (self.path_mapping or {}).items():
            # As in MMEngine 0.10.7, the first occurrence is replaced, wherever in the path it stands.
            mapped = mapped.replace(old, new, 1)
        return mapped

    def _format_path(self, filepath: str) -> str:
        # os.path.join on Windows writes backslashes.
        return re.sub(r"\\+", "/", filepath)

    def _replace_prefix(self, filepath: FilePath) -> str:
        return str(filepath).replace("petrel://", "s3://")

    def _address(self, filepath: FilePath) -> str:
        return self._replace_prefix(self._format_path(self._map_path(filepath)))

    def _url(self, filepath: str) -> str:
        # s3fs knows no clusters: cluster:s3://bucket/a.
        return f"s3://{self._address(filepath).rpartition('://')[2]}"

    @contextmanager
    def _local_copy(self, filepath: FilePath) -> Iterator[FilePath]:
        # As in MMEngine 0.10.7: a copy of a folder or of nothing would only fail later.
        if not self.isfile(filepath):
            raise MissingFileError(f"{str(filepath)!r} is not a file of this store")
        with super()._local_copy(filepath) as local:
            yield local

    def remove(self, filepath: FilePath) -> None:
        """Remove a file; see `FsspecBackend.remove`."""
        if self._client is not None:
            from mm2pl.fileio.backends.petrel_files import method_of

            method_of(self._client, "delete")
        super().remove(filepath)
