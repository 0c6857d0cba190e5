"""Transforms one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from mm2pl.errors import ArgumentError
from mm2pl.registry import TRANSFORMS


class Compose:
    """Apply transforms in order; stands for `mmengine.dataset.Compose`.

    Args:
        transforms: Callables, or configs of transforms.

    Raises:
        TypeError: One is neither a dict nor callable, or its config builds nothing callable.

    Example:
        >>> Compose([str.strip, len])("  four ")
        4
    """

    def __init__(self, transforms: Iterable[dict | Callable] | None) -> None:
        self.transforms: list[Callable] = []
        for given in transforms or ():
            transform = TRANSFORMS.build(given) if isinstance(given, dict) else given
            if not callable(transform):
                raise ArgumentError(
                    f"transform must be a callable object or dict, but got {type(transform)} "
                    f"from {given!r}: give it a __call__(self, results)."
                )
            self.transforms.append(transform)

    def __call__(self, data: Any) -> Any:
        """Return the transformed ``data``, or None as soon as a transform returns None."""
        for transform in self.transforms:
            data = transform(data)
            # None means "take another sample": what follows need not expect it.
            if data is None:
                return None
        return data

    def __repr__(self) -> str:
        lines = "".join(f"\n    {transform}" for transform in self.transforms)
        return f"{type(self).__name__}({lines}\n)"
