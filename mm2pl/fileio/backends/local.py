"""Files on this machine."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import IO, Any

from mm2pl.errors import MissingFileError
from mm2pl.fileio.backends.base import BaseStorageBackend, FilePath, check_listing
from mm2pl.utils import mkdir_or_exist


@contextmanager
def atomic_open(filepath: FilePath, mode: str = "wb", **kwargs: Any) -> Iterator[IO[Any]]:
    """Open a file for writing which appears, whole, only if the block ends without an exception.

    Until then what was there before stays. Links are followed; devices and pipes are opened as usual.
    """
    # os.replace would replace a link itself instead of the file it leads to.
    path = os.path.realpath(filepath)
    # A device such as /dev/stdout cannot be replaced by a file.
    if os.path.exists(path) and not os.path.isfile(path):
        with open(path, mode, **kwargs) as file:
            yield file
        return
    # In the same folder, since os.replace cannot move between file systems.
    # With a random part, since several threads may write the same file.
    unfinished = f"{path}.{os.getpid()}-{os.urandom(4).hex()}.tmp"
    try:
        with open(unfinished, mode, **kwargs) as file:
            yield file
        if os.path.exists(path):
            # Otherwise an overwritten file would lose its permissions.
            shutil.copymode(path, unfinished)
        os.replace(unfinished, path)
    # KeyboardInterrupt must leave no remains either.
    except BaseException:
        with suppress(OSError):
            os.remove(unfinished)
        raise


class LocalBackend(BaseStorageBackend):
    """Files on this machine; stands for `mmengine.fileio.LocalBackend`.

    Writing is atomic: a process that is killed leaves the old file or the new one, never half of one.
    """

    _allow_symlink = True

    def get(self, filepath: FilePath) -> bytes:
        """Return a file's bytes."""
        with open(filepath, "rb") as file:
            return file.read()

    def get_text(self, filepath: FilePath, encoding: str = "utf-8") -> str:
        """Return a file's text."""
        with open(filepath, encoding=encoding) as file:
            return file.read()

    def put(self, obj: bytes, filepath: FilePath) -> None:
        """Write bytes, over what is there; missing folders are made."""
        mkdir_or_exist(os.path.dirname(filepath))
        with atomic_open(filepath) as file:
            file.write(obj)

    def put_text(self, obj: str, filepath: FilePath, encoding: str = "utf-8") -> None:
        """Write text, over what is there; missing folders are made."""
        mkdir_or_exist(os.path.dirname(filepath))
        with atomic_open(filepath, "w", encoding=encoding) as file:
            file.write(obj)

    def exists(self, filepath: FilePath) -> bool:
        """Return whether there is such a file or folder."""
        return os.path.exists(filepath)

    def isdir(self, filepath: FilePath) -> bool:
        """Return whether it is a folder."""
        return os.path.isdir(filepath)

    def isfile(self, filepath: FilePath) -> bool:
        """Return whether it is a file."""
        return os.path.isfile(filepath)

    def join_path(self, filepath: FilePath, *filepaths: FilePath) -> str:
        """Join parts of a path."""
        return os.path.join(filepath, *filepaths)

    def get_local_path(self, filepath: FilePath) -> AbstractContextManager[FilePath]:
        """Give the path itself; a context manager."""
        return nullcontext(filepath)

    def copyfile(self, src: FilePath, dst: FilePath) -> FilePath:
        """Copy a file, into ``dst`` if that is a folder, and return where it is."""
        # Not copyfile, which takes no folder as its target and drops the permissions.
        return shutil.copy(src, dst)

    def copytree(self, src: FilePath, dst: FilePath) -> FilePath:
        """Copy a folder; ``dst`` must not exist."""
        return shutil.copytree(src, dst)

    copyfile_from_local = copyfile_to_local = copyfile
    copytree_from_local = copytree_to_local = copytree

    def remove(self, filepath: FilePath) -> None:
        """Remove a file.

        Raises:
            FileNotFoundError: There is none.
            IsADirectoryError: It is a folder.
        """
        if not os.path.exists(filepath):
            raise MissingFileError(f"filepath {filepath} does not exist")
        if os.path.isdir(filepath):
            raise IsADirectoryError(f"filepath should be a file, but {filepath} is a folder")
        os.remove(filepath)

    def rmtree(self, dir_path: FilePath) -> None:
        """Remove a folder and what is in it."""
        shutil.rmtree(dir_path)

    def copy_if_symlink_fails(self, src: FilePath, dst: FilePath) -> bool:
        """Make ``dst`` a link to ``src``, or a copy where that fails; return whether it is a link."""
        try:
            os.symlink(src, dst)
        except Exception:  # some file systems fail in ways of their own
            (self.copyfile if self.isfile(src) else self.copytree)(src, dst)
            return False
        return True

    def list_dir_or_file(
        self,
        dir_path: FilePath,
        list_dir: bool = True,
        list_file: bool = True,
        suffix: str | tuple[str, ...] | None = None,
        recursive: bool = False,
    ) -> Iterator[str]:
        """Yield the paths in a folder, relative to it; hidden files are left out.

        Args:
            dir_path: The folder.
            list_dir: Yield folders.
            list_file: Yield files.
            suffix: Only files that end so; not together with ``list_dir``.
            recursive: Also what is in the folders below.
        """
        check_listing(list_dir, suffix)

        # A generator inside, so that wrong options raise at the call and not at the first path.
        def scan(folder: FilePath) -> Iterator[str]:
            for entry in os.scandir(folder):
                relative = os.path.relpath(entry.path, dir_path)
                if not entry.name.startswith(".") and entry.is_file():
                    if list_file and (suffix is None or relative.endswith(suffix)):
                        yield relative
                # As in MMEngine 0.10.7, only hidden files are left out: hidden folders are listed and entered.
                elif entry.is_dir():
                    if list_dir:
                        yield relative
                    if recursive:
                        yield from scan(entry.path)

        return scan(dir_path)
