"""Setting up a library when somebody imports it, and not importing it for that."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from mm2pl.loading import LoaderWithin, found_behind


def once_imported(name: str, set_up: Callable[[Any], None]) -> None:
    """Call ``set_up`` with a module: now if it is imported, else as soon as it is, in forked processes too.

    A later call for the same module takes the place of one that still waits.

    Args:
        name: Of a top-level module.
        set_up: Gets the module.
    """
    if sys.modules.get(name) is not None:
        # Imported once more, which waits for another thread that has begun to.
        set_up(import_module(name))
        return
    _WAITING.calls[name] = set_up
    if _WAITING not in sys.meta_path:
        sys.meta_path.insert(0, _WAITING)


class _Waiting(MetaPathFinder):
    """Let the other finders find a module that is waited for, and add a call behind its code."""

    def __init__(self) -> None:
        self.calls: dict[str, Callable[[Any], None]] = {}

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the spec that the other finders have."""
        spec = found_behind(self, name, path, target) if name in self.calls else None
        if spec is not None and spec.loader is not None:
            spec.loader = LoaderWithin(spec.loader, self._setting_up)
        return spec

    @contextmanager
    def _setting_up(self, module: ModuleType) -> Iterator[None]:
        name = module.__name__
        # Taken away first: OpenCV imports a library of its own name.
        set_up = self.calls.pop(name, None)
        try:
            yield
        except BaseException:
            if set_up is not None:
                self.calls[name] = set_up  # the next attempt may succeed
            raise
        if set_up is not None:
            set_up(sys.modules.get(name, module))


_WAITING = _Waiting()
