"""Read and write files anywhere; the functions of `mmengine.fileio`.

Every function takes ``backend_args``: options of the backend that the path's scheme chooses, or with
the key ``backend`` of another one. ``backend`` may also be the name of any `fsspec` file system.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any

from mm2pl.errors import ArgumentError, MissingPackageError
from mm2pl.fileio.backends import FsspecBackend, backends, prefix_to_backends
from mm2pl.fileio.backends.base import FilePath
from mm2pl.fileio.file_client import FileClient
from mm2pl.fileio.handlers import BaseFileHandler, file_handlers
from mm2pl.fileio.uri import parse_uri_prefix as _parse_uri_prefix

BackendArgs = dict[str, Any] | None

backend_instances: dict[str, Any] = {}
"""The backends that functions share, by prefix and options."""


def get_file_backend(
    uri: FilePath | None = None,
    *,
    backend_args: BackendArgs = None,
    enable_singleton: bool = False,
) -> Any:
    """Return the backend for a path or URL.

    Args:
        uri: May be left out if ``backend_args`` names the backend.
        backend_args: Its options.
        enable_singleton: Return the same one for the same options.

    Raises:
        ValueError: Neither says which backend, or there is none of that name.
        ImportError: The package of a protocol of fsspec's is missing.
    """
    # A copy, as `backend` is taken out of it.
    options = dict(backend_args or {})
    if uri is None and "backend" not in options:
        raise ArgumentError('uri should not be None when "backend" does not exist in backend_args')
    prefix = "" if uri is None else _parse_uri_prefix(uri)
    if not enable_singleton:
        return _build(prefix, options)
    # MMEngine 0.10.7 fails on options that JSON cannot hold.
    key = f"{prefix}:{json.dumps(options, default=repr)}"
    if key not in backend_instances:
        backend_instances[key] = _build(prefix, options)
    return backend_instances[key]


def _build(prefix: str, options: dict[str, Any]) -> Any:
    if "backend" not in options:
        # MMEngine 0.10.7 raises KeyError for a scheme that it does not have, such as file://.
        name, known = prefix, prefix_to_backends
    else:
        name, known = options.pop("backend"), backends
    if name in known:
        return known[name](**options)
    # fsspec takes 0.3 s to import, and only other backends than ours need it.
    from fsspec import get_filesystem_class

    try:
        get_filesystem_class(name)
    except ValueError as error:
        raise ArgumentError(
            f"There is no storage backend {name!r}: choose from {', '.join(backends)}, or a "
            "protocol of fsspec, or register it with register_backend."
        ) from error
    except ImportError as error:  # fsspec knows the protocol and not its package
        raise MissingPackageError(f"{name}:// → {error}") from error
    return FsspecBackend(**options)


def _shared(uri: FilePath, backend_args: BackendArgs) -> Any:
    return get_file_backend(uri, backend_args=backend_args, enable_singleton=True)


def get(filepath: FilePath, backend_args: BackendArgs = None) -> bytes:
    """Return the bytes of the file ``filepath``.

    ``backend_args``: see the module.
    """
    return _shared(filepath, backend_args).get(filepath)


def get_text(filepath: FilePath, encoding: str = "utf-8", backend_args: BackendArgs = None) -> str:
    """Return the text of the file ``filepath``, decoded from ``encoding``.

    ``backend_args``: see the module.
    """
    return _shared(filepath, backend_args).get_text(filepath, encoding)


def put(obj: bytes, filepath: FilePath, backend_args: BackendArgs = None) -> None:
    """Write the bytes ``obj`` to ``filepath``, over what is there; missing folders are made.

    ``backend_args``: see the module.
    """
    _shared(filepath, backend_args).put(obj, filepath)


def put_text(obj: str, filepath: FilePath, backend_args: BackendArgs = None) -> None:
    """Write the text ``obj`` to ``filepath`` in UTF-8, over what is there; missing folders are made.

    ``backend_args``: see the module.
    """
    _shared(filepath, backend_args).put_text(obj, filepath)


def exists(filepath: FilePath, backend_args: BackendArgs = None) -> bool:
    """Return whether ``filepath`` is a file or folder.

    ``backend_args``: see the module.
    """
    return _shared(filepath, backend_args).exists(filepath)


def isdir(filepath: FilePath, backend_args: BackendArgs = None) -> bool:
    """Return whether ``filepath`` is a folder.

    ``backend_args``: see the module.
    """
    return _shared(filepath, backend_args).isdir(filepath)


def isfile(filepath: FilePath, backend_args: BackendArgs = None) -> bool:
    """Return whether ``filepath`` is a file.

    ``backend_args``: see the module.
    """
    return _shared(filepath, backend_args).isfile(filepath)


def join_path(filepath: FilePath, *filepaths: FilePath, backend_args: BackendArgs = None) -> Any:
    """Join ``filepath``, a path or URL, with the parts ``filepaths``.

    ``backend_args``: see the module.
    """
    return _shared(filepath, backend_args).join_path(filepath, *filepaths)


@contextmanager
def get_local_path(filepath: FilePath, backend_args: BackendArgs = None) -> Iterator[FilePath]:
    """Give a local path of ``filepath`` within a ``with`` block: itself, or a copy that is deleted at the end.

    ``backend_args``: see the module.
    """
    # A string, as MMEngine 0.10.7 hands over: a user's backend may not take a Path.
    with _shared(filepath, backend_args).get_local_path(str(filepath)) as local_path:
        yield local_path


def copyfile(src: FilePath, dst: FilePath, backend_args: BackendArgs = None) -> Any:
    """Copy a file within a backend, and return where it is.

    Args:
        src: The file.
        dst: The new file, or a folder that it goes into.
        backend_args: See the module.
    """
    return _shared(src, backend_args).copyfile(src, dst)


def copytree(src: FilePath, dst: FilePath, backend_args: BackendArgs = None) -> Any:
    """Copy the folder ``src`` within a backend; ``dst`` must not exist.

    ``backend_args``: see the module.
    """
    return _shared(src, backend_args).copytree(src, dst)


def copyfile_from_local(src: FilePath, dst: FilePath, backend_args: BackendArgs = None) -> Any:
    """Copy the local file ``src`` to ``dst``, which may be elsewhere.

    ``backend_args``, of ``dst``: see the module.
    """
    return _shared(dst, backend_args).copyfile_from_local(src, dst)


def copytree_from_local(src: FilePath, dst: FilePath, backend_args: BackendArgs = None) -> Any:
    """Copy the local folder ``src`` to ``dst``, which may be elsewhere and must not exist.

    ``backend_args``, of ``dst``: see the module.
    """
    return _shared(dst, backend_args).copytree_from_local(src, dst)


def copyfile_to_local(src: FilePath, dst: FilePath, backend_args: BackendArgs = None) -> Any:
    """Copy the file ``src``, which may be elsewhere, to the local ``dst``.

    ``backend_args``, of ``src``: see the module.
    """
    # MMEngine 0.10.7 chooses the backend by dst, so nothing but local files can be copied.
    return _shared(src, backend_args).copyfile_to_local(src, dst)


def copytree_to_local(src: FilePath, dst: FilePath, backend_args: BackendArgs = None) -> Any:
    """Copy the folder ``src``, which may be elsewhere, to the local ``dst``.

    ``backend_args``, of ``src``: see the module.
    """
    return _shared(src, backend_args).copytree_to_local(src, dst)


def remove(filepath: FilePath, backend_args: BackendArgs = None) -> None:
    """Remove the file ``filepath``.

    ``backend_args``: see the module.
    """
    _shared(filepath, backend_args).remove(filepath)


def rmtree(dir_path: FilePath, backend_args: BackendArgs = None) -> None:
    """Remove the folder ``dir_path`` and what is in it.

    ``backend_args``: see the module.
    """
    _shared(dir_path, backend_args).rmtree(dir_path)


def copy_if_symlink_fails(src: FilePath, dst: FilePath, backend_args: BackendArgs = None) -> bool:
    """Make ``dst`` a link to ``src``, or a copy where that fails; return whether it is a link.

    Args:
        src: The file or folder.
        dst: The new path, within the backend of ``src``.
        backend_args: See the module.
    """
    return _shared(src, backend_args).copy_if_symlink_fails(src, dst)


def list_dir_or_file(
    dir_path: FilePath,
    list_dir: bool = True,
    list_file: bool = True,
    suffix: str | tuple[str, ...] | None = None,
    recursive: bool = False,
    backend_args: BackendArgs = None,
) -> Iterator[str]:
    """Yield the paths in a folder, relative to it; hidden files are left out.

    Args:
        dir_path: The folder.
        list_dir: Yield folders.
        list_file: Yield files.
        suffix: Only files that end so; not together with ``list_dir``.
        recursive: Also what is in the folders below.
        backend_args: See the module.
    """
    backend = _shared(dir_path, backend_args)
    yield from backend.list_dir_or_file(dir_path, list_dir, list_file, suffix, recursive)


def generate_presigned_url(
    url: str,
    client_method: str = "get_object",
    expires_in: int = 3600,
    backend_args: BackendArgs = None,
) -> str:
    """Return an address under which anybody can reach a file for some time.

    Args:
        url: The file, in a store that can do so, such as ``s3://bucket/a.txt``.
        client_method: The operation that the address allows, by the name that the store's client has for it.
        expires_in: Seconds.
        backend_args: See the module.
    """
    return _shared(url, backend_args).generate_presigned_url(url, client_method, expires_in)


def load(
    file: Any,
    file_format: str | None = None,
    file_client_args: BackendArgs = None,
    backend_args: BackendArgs = None,
    **kwargs: Any,
) -> Any:
    """Read an object from a JSON, YAML or pickle file.

    Args:
        file: A path, a URL or an open file.
        file_format: Default: the path's suffix.
        file_client_args: Deprecated.
        backend_args: See the module.
        **kwargs: For the format's handler.

    Raises:
        TypeError: There is no handler for the format.
    """
    file = str(file) if isinstance(file, Path) else file
    # As in MMEngine 0.10.7, an open file has no suffix, so the format must be given with it.
    handler = _handler(file, file_format)
    backend = _backend(file, file_client_args, backend_args)
    if hasattr(file, "read"):
        return handler.load_from_fileobj(file, **kwargs)
    if not isinstance(file, str):
        raise ArgumentError(f'"file" must be a filepath str or a file-object, but got {file!r}')
    content: Any = (
        StringIO(backend.get_text(file)) if handler.str_like else BytesIO(backend.get(file))
    )
    return handler.load_from_fileobj(content, **kwargs)


def dump(
    obj: Any,
    file: Any = None,
    file_format: str | None = None,
    file_client_args: BackendArgs = None,
    backend_args: BackendArgs = None,
    **kwargs: Any,
) -> Any:
    """Write an object to a JSON, YAML or pickle file, or return its text or bytes.

    Args:
        obj: What to write.
        file: A path, a URL or an open file; None: return it.
        file_format: Default: the path's suffix.
        file_client_args: Deprecated.
        backend_args: See the module.
        **kwargs: For the format's handler.

    Raises:
        ValueError: Neither file nor format is given.
        TypeError: There is no handler for the format.
    """
    file = str(file) if isinstance(file, Path) else file
    if file is None and file_format is None:
        raise ArgumentError("file_format must be specified since file is None")
    handler = _handler(file, file_format)
    if file is None:
        return handler.dump_to_str(obj, **kwargs)
    if hasattr(file, "write"):
        handler.dump_to_fileobj(obj, file, **kwargs)
        return None
    if not isinstance(file, str):
        raise ArgumentError(f'"file" must be a filename str or a file-object, but got {file!r}')
    # Into memory first: an object that cannot be written must not leave half a file.
    content: Any = StringIO() if handler.str_like else BytesIO()
    handler.dump_to_fileobj(obj, content, **kwargs)
    backend = _backend(file, file_client_args, backend_args)
    (backend.put_text if handler.str_like else backend.put)(content.getvalue(), file)
    return None


def _handler(file: Any, file_format: str | None) -> BaseFileHandler:
    # As in MMEngine 0.10.7, a name without a dot is its own suffix: the file `json` holds JSON.
    suffix = file.split(".")[-1] if file_format is None and isinstance(file, str) else file_format
    if suffix not in file_handlers:
        raise ArgumentError(
            f"Unsupported format: {suffix}, choose from {', '.join(file_handlers)}, "
            "or register it with register_handler."
        )
    return file_handlers[suffix]


def _backend(file: Any, file_client_args: BackendArgs, backend_args: BackendArgs) -> Any:
    if not isinstance(file, str):
        return None
    if file_client_args is None:
        # As in MMEngine 0.10.7, load and dump do not share a backend, whereas the functions above do.
        return get_file_backend(file, backend_args=backend_args)
    return deprecated_client(file, file_client_args, backend_args)


def deprecated_client(
    file: FilePath, file_client_args: BackendArgs, backend_args: BackendArgs
) -> FileClient:
    """Return the client of ``file_client_args``, with a warning.

    Raises:
        ValueError: ``backend_args`` is given as well.
    """
    warnings.warn(
        '"file_client_args" will be deprecated in future. Please use "backend_args" instead',
        DeprecationWarning,
        # Two functions of this package lie between here and the user's call of load or list_from_file.
        stacklevel=4,
    )
    if backend_args is not None:
        raise ArgumentError('"file_client_args" and "backend_args" cannot be set at the same time.')
    return FileClient.infer_client(file_client_args, file)
