"""Where files are: the interface, and everything that `fsspec` reaches."""

from __future__ import annotations

import os
import posixpath
import tempfile
from abc import ABCMeta, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from shutil import SameFileError
from typing import Any

from mm2pl.errors import ArgumentError, ExistingFileError, MissingFileError

FilePath = str | Path


class BaseStorageBackend(metaclass=ABCMeta):
    """Read files by path or URL; stands for `mmengine.fileio.BaseStorageBackend`."""

    _allow_symlink = False

    @property
    def allow_symlink(self) -> bool:
        """Return whether links can be made there."""
        return self._allow_symlink

    @property
    def name(self) -> str:
        """The class's name."""
        return type(self).__name__

    @abstractmethod
    def get(self, filepath: FilePath) -> bytes:
        """Return a file's bytes."""

    @abstractmethod
    def get_text(self, filepath: FilePath, encoding: str = "utf-8") -> str:
        """Return a file's text."""


class FsspecBackend(BaseStorageBackend):
    """Read and write in every file system that `fsspec` knows, by URL.

    Args:
        **storage_options: For that file system.

    Example:
        >>> backend = FsspecBackend()
        >>> backend.put(b"1", "memory://doctest/a.txt")
        >>> backend.get_text("memory://doctest/a.txt"), list(backend.list_dir_or_file("memory://doctest"))
        ('1', ['a.txt'])
    """

    def __init__(self, **storage_options: Any) -> None:
        self.storage_options = storage_options

    def _open(self, filepath: FilePath) -> tuple[Any, str]:
        """Return the file system and the path in it."""
        # fsspec takes 0.3 s to import, and local files do not need it.
        from fsspec.core import url_to_fs

        return url_to_fs(self._url(str(filepath)), **self.storage_options)

    def _url(self, filepath: str) -> str:
        return filepath

    def get(self, filepath: FilePath) -> bytes:
        """Return a file's bytes."""
        fs, path = self._open(filepath)
        return fs.cat_file(path)

    def get_text(self, filepath: FilePath, encoding: str = "utf-8") -> str:
        """Return a file's text."""
        return self.get(filepath).decode(encoding)

    def put(self, obj: bytes, filepath: FilePath) -> None:
        """Write bytes, over what is there."""
        fs, path = self._open(filepath)
        fs.makedirs(posixpath.dirname(path), exist_ok=True)
        # MMEngine's backends may return a memoryview, which not every file system writes.
        fs.pipe_file(path, bytes(obj))

    def put_text(self, obj: str, filepath: FilePath, encoding: str = "utf-8") -> None:
        """Write text, over what is there."""
        self.put(obj.encode(encoding), filepath)

    def exists(self, filepath: FilePath) -> bool:
        """Return whether there is such a file or folder."""
        fs, path = self._open(filepath)
        return fs.exists(path)

    def isdir(self, filepath: FilePath) -> bool:
        """Return whether it is a folder."""
        fs, path = self._open(filepath)
        return fs.isdir(path)

    def isfile(self, filepath: FilePath) -> bool:
        """Return whether it is a file."""
        fs, path = self._open(filepath)
        return fs.isfile(path)

    def join_path(self, filepath: FilePath, *filepaths: FilePath) -> str:
        """Join parts of a URL."""
        scheme, mark, rest = str(filepath).rpartition("://")
        parts = [str(part).strip("/") for part in filepaths]
        # An address may begin with a slash (file:///data); a scheme alone is followed by the first part.
        return scheme + mark + "/".join([rest.rstrip("/"), *parts] if rest else parts)

    def get_local_path(self, filepath: FilePath) -> AbstractContextManager[FilePath]:
        """Give a local copy, which is deleted at the end; a context manager."""
        return self._local_copy(filepath)

    @contextmanager
    def _local_copy(self, filepath: FilePath) -> Iterator[FilePath]:
        with tempfile.TemporaryDirectory() as folder:
            # The address of a bucket ends in a slash and so has no base name.
            local = os.path.join(folder, posixpath.basename(str(filepath)) or "file")
            yield self.copyfile_to_local(filepath, local)

    def copyfile(self, src: FilePath, dst: FilePath) -> str:
        """Copy a file, into ``dst`` if that is a folder, and return where it is.

        Raises:
            SameFileError: ``src`` and ``dst`` are the same.
        """
        (fs, source), (_, target) = self._open(src), self._open(dst)
        # As shutil.copy does for local files.
        if fs.isdir(target):
            dst = self.join_path(dst, posixpath.basename(source))
            target = self._open(dst)[1]
        if source == target:
            raise SameFileError(f"src and dst should not be the same file: {str(dst)!r}")
        fs.makedirs(posixpath.dirname(target), exist_ok=True)
        fs.cp_file(source, target)
        return str(dst)

    def copytree(self, src: FilePath, dst: FilePath) -> str:
        """Copy a folder; ``dst`` must not exist."""
        self._must_be_new(dst)
        (fs, source), (_, target) = self._open(src), self._open(dst)
        # With a slash at both ends fsspec copies what is in the folder, not the folder into the other.
        fs.copy(source.rstrip("/") + "/", target.rstrip("/") + "/", recursive=True)
        return str(dst)

    def _must_be_new(self, dst: FilePath) -> None:
        if self.exists(dst):
            raise ExistingFileError(f"{str(dst)!r} exists: remove it, or copy to another place.")

    def copyfile_from_local(self, src: FilePath, dst: FilePath) -> str:
        """Copy a local file there."""
        if self.isdir(dst):
            dst = self.join_path(dst, os.path.basename(src))
        self.put(Path(src).read_bytes(), dst)
        return str(dst)

    def copytree_from_local(self, src: FilePath, dst: FilePath) -> str:
        """Copy a local folder there; ``dst`` must not exist."""
        self._must_be_new(dst)
        fs, target = self._open(dst)
        fs.put(f"{str(src).rstrip('/')}/", target.rstrip("/") + "/", recursive=True)
        return str(dst)

    def copyfile_to_local(self, src: FilePath, dst: FilePath) -> FilePath:
        """Copy a file from there to a local path, or into a local folder."""
        fs, source = self._open(src)
        if os.path.isdir(dst):
            name = posixpath.basename(source)
            # As in MMEngine 0.10.7, what is returned is of the type of `dst`.
            dst = dst / name if isinstance(dst, Path) else os.path.join(dst, name)
        fs.get_file(source, str(dst))
        return dst

    def copytree_to_local(self, src: FilePath, dst: FilePath) -> FilePath:
        """Copy a folder from there to a local one."""
        fs, source = self._open(src)
        fs.get(source.rstrip("/") + "/", f"{str(dst).rstrip('/')}/", recursive=True)
        return dst

    def remove(self, filepath: FilePath) -> None:
        """Remove a file.

        Raises:
            FileNotFoundError: There is none.
            IsADirectoryError: It is a folder.
        """
        fs, path = self._open(filepath)
        # Asked first, since fsspec's file systems raise different errors.
        if not fs.exists(path):
            raise MissingFileError(f"filepath {filepath} does not exist")
        if fs.isdir(path):
            raise IsADirectoryError(f"filepath should be a file, but {filepath} is a folder")
        fs.rm_file(path)

    def rmtree(self, dir_path: FilePath) -> None:
        """Remove a folder and what is in it."""
        fs, path = self._open(dir_path)
        fs.rm(path, recursive=True)

    def copy_if_symlink_fails(self, src: FilePath, dst: FilePath) -> bool:
        """Copy, as there are no links; return False."""
        (self.copyfile if self.isfile(src) else self.copytree)(src, dst)
        return False

    def list_dir_or_file(
        self,
        dir_path: FilePath,
        list_dir: bool = True,
        list_file: bool = True,
        suffix: str | tuple[str, ...] | None = None,
        recursive: bool = False,
    ) -> Iterator[str]:
        """Yield the paths in a folder, relative to it; hidden files are left out."""
        check_listing(list_dir, suffix)
        fs, root = self._open(dir_path)
        root = root.rstrip("/")

        def scan(folder: str) -> Iterator[str]:
            # Sorted, as each file system lists in an order of its own.
            for entry in sorted(fs.ls(folder, detail=True), key=lambda e: e["name"]):
                path = entry["name"].rstrip("/")
                relative = posixpath.relpath(path, root)
                # As in LocalBackend, hidden folders are listed and entered.
                if entry["type"] == "directory":
                    if list_dir:
                        yield relative
                    if recursive:
                        yield from scan(path)
                    continue
                hidden = posixpath.basename(path).startswith(".")
                if list_file and not hidden and (suffix is None or relative.endswith(suffix)):
                    yield relative

        return scan(root)

    def generate_presigned_url(
        self, url: str, client_method: str = "get_object", expires_in: int = 3600
    ) -> str:
        """Return an address under which anybody can read the file for ``expires_in`` seconds."""
        fs, path = self._open(url)
        return fs.sign(path, expiration=expires_in, client_method=client_method)


def check_listing(list_dir: bool, suffix: Any) -> None:
    """Raise TypeError unless the options of ``list_dir_or_file`` go together."""
    if list_dir and suffix is not None:
        raise ArgumentError(
            f"`suffix` should be None when `list_dir` is True, but got {suffix!r}: "
            "`list_dir` should be False when `suffix` is not None"
        )
    if not (suffix is None or isinstance(suffix, (str, tuple))):
        raise ArgumentError(f"`suffix` must be a string or tuple of strings, but got {suffix!r}")
