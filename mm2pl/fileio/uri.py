"""The scheme of a URL."""

from __future__ import annotations

from pathlib import Path

from mm2pl.errors import ArgumentError
from mm2pl.utils import is_filepath


def parse_uri_prefix(uri: str | Path) -> str:
    """Return the scheme of a URL; ``''`` for a path.

    A cluster's name before the scheme is left out; of chained schemes the first counts.

    Raises:
        ArgumentError: ``uri`` is neither a string nor a Path.

    Example:
        >>> [parse_uri_prefix(u) for u in ("s3://bucket/a", "cluster:s3://bucket/a", "a/b")]
        ['s3', 's3', '']
    """
    if not is_filepath(uri):
        raise ArgumentError(f"uri should be a string or a Path, but got {uri!r}")
    # MMEngine 0.10.7 raises ValueError for a second :// or a second colon before it.
    scheme, separator, _ = str(uri).partition("://")
    if not separator:
        return ""
    # fsspec chains schemes: simplecache::s3://bucket/a.
    return scheme.partition("::")[0] if "::" in scheme else scheme.rpartition(":")[2]
