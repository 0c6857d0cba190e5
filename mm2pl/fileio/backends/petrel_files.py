"""The client of PetrelOSS as a file system; its methods are those that fsspec documents."""

# ruff: noqa: D102

from __future__ import annotations

from pathlib import Path
from typing import Any

from fsspec import AbstractFileSystem

from mm2pl.errors import MissingFileError


class ClientFiles(AbstractFileSystem):
    """Show a ``petrel_client.client.Client`` as a file system of fsspec, whose paths are whole addresses."""

    # fsspec keeps one instance for arguments that print alike, and two clients may do so.
    cachable = False

    def __init__(self, client: Any) -> None:
        super().__init__()
        self._client = client

    def cat_file(self, path: str, start: None = None, end: None = None, **_: Any) -> bytes:
        return _found(self._client.Get(path), path)[start:end]

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **_: Any) -> None:
        self._client.put(path, value)

    def cp_file(self, path1: str, path2: str, **_: Any) -> None:
        self._client.put(path2, _found(self._client.Get(path1), path1))

    def get_file(self, rpath: str, lpath: str, **_: Any) -> None:
        content = self._client.Get(rpath)
        # fsspec's get() comes here with folders as well.
        folder = content is None and self.isdir(rpath)
        (Path(lpath) if folder else Path(lpath).parent).mkdir(parents=True, exist_ok=True)
        if not folder:
            Path(lpath).write_bytes(_found(content, rpath))

    def put_file(self, lpath: str, rpath: str, **_: Any) -> None:
        # fsspec's put() comes here with folders as well.
        if not Path(lpath).is_dir():
            self._client.put(rpath, Path(lpath).read_bytes())

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        """Do nothing: a folder is a common beginning of addresses."""

    def isfile(self, path: str) -> bool:
        return method_of(self._client, "contains")(path)

    def isdir(self, path: str) -> bool:
        return method_of(self._client, "isdir")(path)

    def exists(self, path: str, **_: Any) -> bool:
        return self.isfile(path) or self.isdir(path)

    def rm_file(self, path: str) -> None:
        method_of(self._client, "delete")(path)

    def rm(self, path: str, recursive: bool = False, **_: Any) -> None:
        for name in self.find(path):  # files only
            self.rm_file(name)

    def ls(self, path: str, detail: bool = True, **_: Any) -> list[Any]:
        # The client knows no folders: what it calls one is a path that ends in a slash.
        folder = path.rstrip("/") + "/"
        kinds = {True: "directory", False: "file"}
        return [
            {
                "name": (folder + entry).rstrip("/"),
                "type": kinds[entry.endswith("/")],
                "size": None,
            }
            for entry in method_of(self._client, "list")(folder)
        ]

    def sign(self, path: str, expiration: int = 3600, **options: Any) -> str:
        method = options.get("client_method", "get_object")
        return self._client.generate_presigned_url(path, method, expiration)


def method_of(client: Any, name: str) -> Any:
    """Return a method that only newer releases of the client have."""
    method = getattr(client, name, None)
    if method is None:
        raise NotImplementedError(f"petrel_client has no `{name}` here: install a newer one.")
    return method


def _found(content: bytes | None, path: str) -> bytes:
    if content is None:  # the client's way to say so
        raise MissingFileError(f"{path!r} is not a file of this store")
    return content
