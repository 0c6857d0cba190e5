"""Find checkpoints in folders, behind URLs and in model zoos, by the prefix of a path."""

from __future__ import annotations

import logging
import os
import re
import tempfile
from collections import OrderedDict
from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from mm2pl.checkpoint import model_zoo
from mm2pl.checkpoint.download import download
from mm2pl.checkpoint.reader import CheckpointError, MapLocation, is_sharded, read_checkpoint
from mm2pl.checkpoint.schema import check
from mm2pl.errors import ArgumentError, MissingPackageError, ReadableKeyError
from mm2pl.fileio import get_file_backend
from mm2pl.logging import print_log

_Loader = TypeVar("_Loader", bound=Callable[..., Any])


class CheckpointLoader:
    """Choose a loader by the prefix of a path; stands for ``mmengine.runner.CheckpointLoader``.

    Example:
        >>> @CheckpointLoader.register_scheme(prefixes="shelf://")
        ... def load_from_shelf(filename, map_location):
        ...     return {"state_dict": {}}
        >>> CheckpointLoader.load_checkpoint("shelf://resnet", logger="silent")
        {'state_dict': {}}
        >>> del CheckpointLoader._schemes["shelf://"]
    """

    #: Regular expressions, the longer of two that match first.
    _schemes: ClassVar[dict[str, Callable[..., Any]]] = {}

    @classmethod
    def _register_scheme(
        cls, prefixes: str | Sequence[str], loader: Callable[..., Any], force: bool = False
    ) -> None:
        for prefix in [prefixes] if isinstance(prefixes, str) else prefixes:
            if prefix in cls._schemes and not force:
                raise ReadableKeyError(
                    f"{prefix} is already registered as a loader backend, "
                    'add "force=True" if you want to override it'
                )
            cls._schemes[prefix] = loader
        cls._schemes = OrderedDict(sorted(cls._schemes.items(), reverse=True))

    @classmethod
    def register_scheme(
        cls,
        prefixes: str | Sequence[str],
        loader: Callable[..., Any] | None = None,
        force: bool = False,
    ) -> Callable[[_Loader], _Loader] | None:
        """Register ``loader(filename, map_location)``; without ``loader`` a decorator.

        Raises:
            KeyError: A prefix is taken and ``force`` is False.
        """
        if loader is not None:
            cls._register_scheme(prefixes, loader, force)
            return None

        def register(decorated: _Loader) -> _Loader:
            cls._register_scheme(prefixes, decorated, force)
            return decorated

        return register

    @classmethod
    def _get_checkpoint_loader(cls, path: str) -> Callable[..., Any]:
        """Return the loader of the first prefix that matches; ``""`` matches every path."""
        return next(loader for prefix, loader in cls._schemes.items() if re.match(prefix, path))

    @classmethod
    def load_checkpoint(
        cls,
        filename: str,
        map_location: MapLocation = None,
        logger: logging.Logger | str | None = "current",
        *,
        weights_only: bool = True,
    ) -> Any:
        """Load from a path, URL or model zoo name.

        Args:
            filename: Such as ``epoch_1.pth``, ``https://…``, ``torchvision://resnet50``, ``open-mmlab://resnet50_v1c``.
            map_location: As for ``torch.load``.
            logger: As for :func:`mm2pl.logging.print_log`.
            weights_only: ``False`` runs any code that the file contains.

        Raises:
            CheckpointError: See :func:`read_checkpoint`.
        """
        filename = os.fspath(filename)
        loader = cls._get_checkpoint_loader(filename)
        scheme = loader.__name__.removeprefix("load_from_")
        print_log(f"Loads checkpoint by {scheme} backend from path: {filename}", logger=logger)
        # Loaders that users register take two arguments.
        options = {} if weights_only else {"weights_only": False}
        content = loader(filename, map_location, **options)
        check(content, filename, whole=False)
        return content


@CheckpointLoader.register_scheme(prefixes="")  # type: ignore[misc]
def load_from_local(
    filename: str, map_location: MapLocation = None, weights_only: bool = True
) -> Any:
    """Load from a local path (``~`` is expanded), or a URI that a storage backend of :mod:`mm2pl.fileio` knows.

    A folder may be that of a sharded run.
    """
    if "://" in filename:
        content = BytesIO(get_file_backend(filename).get(filename))
        return read_checkpoint(content, map_location, weights_only=weights_only, name=filename)
    path = os.path.expanduser(filename)
    if is_sharded(path):
        # Imported only here: it takes two seconds.
        from mm2pl.checkpoint.sharded import read_sharded

        return read_sharded(path)
    return read_checkpoint(path, map_location, weights_only=weights_only)


@CheckpointLoader.register_scheme(prefixes=("http://", "https://"))  # type: ignore[misc]
def load_from_http(
    filename: str,
    map_location: MapLocation = None,
    model_dir: str | None = None,
    progress: bool | None = None,
    weights_only: bool = True,
) -> Any:
    """Load from a URL, kept in torch.hub's folder or ``model_dir``; rank 0 downloads, the other ranks wait.

    Raises:
        CheckpointError: It could not be downloaded, or what was downloaded is not a checkpoint.
    """
    path = download(filename, model_dir, progress=progress)
    return _read_downloaded(path, filename, map_location, weights_only)


def _read_downloaded(path: Path, url: str, map_location: MapLocation, weights_only: bool) -> Any:
    try:
        # A file that is there is never downloaded again, so a broken one would fail for ever without a hint.
        return read_checkpoint(path, map_location, weights_only=weights_only)
    except CheckpointError as error:
        raise CheckpointError(
            f"{error}. It was downloaded from {url}: delete it to download again"
        ) from error


def load_url(
    url: str,
    model_dir: str | None = None,
    map_location: MapLocation = None,
    progress: bool = True,
    check_hash: bool = False,
    file_name: str | None = None,
    weights_only: bool = True,
) -> Any:
    """Load from a URL; stands for ``torch.hub.load_state_dict_from_url``, which MMEngine calls ``load_url``.

    Args:
        url: ``http://`` or ``https://``.
        model_dir: Where the file is kept; default: torch.hub's folder.
        map_location: As for ``torch.load``.
        progress: Draw a bar.
        check_hash: Compare the content with the hash in the file's name.
        file_name: The name of the local copy.
        weights_only: ``False`` runs any code that the file contains; torch's own default depends on its version.

    Raises:
        CheckpointError: It could not be downloaded, or is not a checkpoint.
    """
    path = download(url, model_dir, progress=progress, name=file_name, check_hash=check_hash)
    return _read_downloaded(path, url, map_location, weights_only)


@CheckpointLoader.register_scheme(prefixes=[r"(\S+\:)?s3://", r"(\S+\:)?petrel://"])  # type: ignore[misc]
def load_from_ceph(
    filename: str,
    map_location: MapLocation = None,
    backend: str = "petrel",
    weights_only: bool = True,
) -> Any:
    """Load through a storage backend of :mod:`mm2pl.fileio`."""
    storage = get_file_backend(filename, backend_args={"backend": backend})
    content = BytesIO(storage.get(filename))
    return read_checkpoint(content, map_location, weights_only=weights_only, name=filename)


@CheckpointLoader.register_scheme(prefixes=("modelzoo://", "torchvision://"))  # type: ignore[misc]
def load_from_torchvision(
    filename: str, map_location: MapLocation = None, weights_only: bool = True
) -> Any:
    """Load weights that torchvision publishes, such as ``torchvision://resnet50``."""
    scheme, _, name = filename.partition("://")
    if scheme == "modelzoo":
        print_log(
            'The URL scheme of "modelzoo://" is deprecated, please use "torchvision://" instead',
            logger="current",
            level=logging.WARNING,
        )
    url = model_zoo.look_up(filename, name, model_zoo.get_torchvision_models())
    return load_from_http(url, map_location, weights_only=weights_only)


@CheckpointLoader.register_scheme(prefixes=("open-mmlab://", "openmmlab://"))  # type: ignore[misc]
def load_from_openmmlab(
    filename: str, map_location: MapLocation = None, weights_only: bool = True
) -> Any:
    """Load weights that OpenMMLab hosts, or a name from ``$MMENGINE_HOME/open_mmlab.json``."""
    scheme, _, name = filename.partition("://")
    newer = model_zoo.get_deprecated_model_names().get(name)
    if newer is not None:
        print_log(
            f"{filename} is deprecated in favor of {scheme}://{newer}",
            logger="current",
            level=logging.WARNING,
        )
    url = model_zoo.look_up(filename, newer or name, model_zoo.get_external_models())
    if url.startswith(("http://", "https://")):
        return load_from_http(url, map_location, weights_only=weights_only)
    # The user's own table may hold paths, which are relative to the folder of the table.
    return read_checkpoint(model_zoo.home() / url, map_location, weights_only=weights_only)


@CheckpointLoader.register_scheme(prefixes="mmcls://")  # type: ignore[misc]
def load_from_mmcls(
    filename: str, map_location: MapLocation = None, weights_only: bool = True
) -> Any:
    """Load the backbone of a classifier that OpenMMLab hosts; its keys lose ``backbone.``."""
    url = model_zoo.look_up(filename, filename.partition("://")[2], model_zoo.get_mmcls_models())
    checkpoint = load_from_http(url, map_location, weights_only=weights_only)
    weights = checkpoint.get("state_dict", checkpoint)
    prefix = "backbone."
    return {
        "state_dict": OrderedDict(
            (key[len(prefix) :], value) for key, value in weights.items() if key.startswith(prefix)
        )
    }


@CheckpointLoader.register_scheme(prefixes="pavi://")  # type: ignore[misc]
def load_from_pavi(
    filename: str, map_location: MapLocation = None, weights_only: bool = True
) -> Any:
    """Load from a model cloud, ``pavi://NAME``, through its own package ``pavi``.

    Raises:
        ArgumentError: Another scheme.
        ImportError: The package is missing; it is not on PyPI.
    """
    scheme, separator, name = filename.partition("://")
    if (scheme, separator) != ("pavi", "://"):
        raise ArgumentError(f"{filename!r} → pavi://NAME → other paths: load_checkpoint")
    try:
        from pavi import modelcloud
    except ImportError as error:
        raise MissingPackageError(
            f"{filename} lies in a model cloud whose package pavi is not installed → install it from where your "
            "cloud offers it, or download the file and give its path"
        ) from error
    model = modelcloud.get(name)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / Path(model.name).name
        model.download(str(path))
        return read_checkpoint(path, map_location, weights_only=weights_only, name=filename)
