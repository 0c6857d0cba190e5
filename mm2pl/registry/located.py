"""The registries' one look-up upwards: the package's own table of where its classes live."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import Any


@cache
def locations() -> Any:
    """Return the module ``locations`` of the package; it holds data and imports nothing."""
    # By a name that is put together: the registries stand below every room that the table names.
    package = __name__.partition(".")[0]
    return import_module(f"{package}.locations")
