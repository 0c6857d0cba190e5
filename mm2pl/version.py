"""The version of mm2pl, readable without importing torch."""

from __future__ import annotations

__version__ = "0.1.0"


def parse_version_info(version: str) -> tuple[int | str, ...]:
    """Split a version into its parts.

    Example:
        >>> parse_version_info("1.2.3"), parse_version_info("1.2.3rc1")
        ((1, 2, 3), (1, 2, 3, 'rc1'))
    """
    parts: list[int | str] = []
    for part in version.split("."):
        number, mark, rest = part.partition("rc")
        parts += [int(number), f"{mark}{rest}"] if mark else [int(part)]
    return tuple(parts)


version_info = parse_version_info(__version__)
