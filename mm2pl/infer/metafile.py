"""The models that a toolbox lists in its metafiles."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mm2pl.config.utils import MODULE2PACKAGE
from mm2pl.errors import ArgumentError, MissingFileError, MissingPackageError, ReadableKeyError
from mm2pl.fileio import load


def config_folder(scope: str) -> str:
    """Return the folder in which a toolbox keeps ``configs`` and ``model-index.yml``.

    Raises:
        KeyError: No toolbox of OpenMMLab's has this scope.
        ImportError: It is not installed.
        FileNotFoundError: It was installed without its configs.
    """
    if scope not in MODULE2PACKAGE:
        raise ReadableKeyError(
            f"{scope} is not a valid scope. The available scopes are {[*MODULE2PACKAGE]}"
        )
    try:
        package = Path(importlib.import_module(scope).__path__[0])
    except ImportError as error:
        project = MODULE2PACKAGE[scope]
        raise MissingPackageError(
            f"Cannot import {scope} correctly, please try to install the {project} "
            f'by "pip install {project}"'
        ) from error
    for folder in (package.parent, package / ".mim"):  # a clone, or an installed package
        if (folder / "configs").is_dir():
            return str(folder)
    raise MissingFileError(
        f"Cannot find `configs` directory in {package}!, please check the completeness of the {scope}."
    )


def models(folder: str) -> Iterator[dict[str, Any]]:
    """Yield the entries of all metafiles that ``model-index.yml`` of a folder imports."""
    for path in load(str(Path(folder, "model-index.yml")))["Import"]:
        yield from load(str(Path(folder, path)))["Models"]


def names(entry: dict[str, Any]) -> list[str]:
    """Return the name and the aliases of a model."""
    # A metafile holds a string or a list.
    alias = entry.get("Alias", [])
    return [entry["Name"], *([alias] if isinstance(alias, str) else alias)]


def find(name: str, scope: str | None) -> tuple[str, str]:
    """Return the config file and the weights of a model; the case of its name does not matter.

    Raises:
        ValueError: There is no such model, or no scope to look in.
    """
    if scope not in MODULE2PACKAGE:
        raise ArgumentError(
            f"scope={scope!r} → one of {[*MODULE2PACKAGE]} is needed to find {name!r}"
        )
    folder = config_folder(scope)
    for entry in models(folder):
        # As in MMEngine 0.10.7, users need not know which letters of a name are capitals.
        if name.lower() in [known.lower() for known in names(entry)]:
            # A model may have several. As in MMEngine 0.10.7, the first one is taken.
            weights = entry["Weights"]
            return str(Path(folder, entry["Config"])), weights[0] if isinstance(
                weights, list
            ) else weights
    raise ArgumentError(f"Cannot find model: {name} in {scope}")
