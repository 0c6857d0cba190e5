"""Setting up a library when somebody imports it, and not importing it for that."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Any


def once_imported(name: str, set_up: Callable[[Any], None]) -> None:
    """Call ``set_up`` with a module: now if it is imported, else as soon as it is, in forked processes too.

    A later call for the same module takes the place of one that still waits.

    Args:
        name: Of a top-level module.
        set_up: Gets the module.
    """
    if name in sys.modules:
        set_up(sys.modules[name])
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
        # Taken away first: this search comes here again, and so does OpenCV, which imports a library of its own name.
        set_up = self.calls.pop(name, None)
        spec = None if set_up is None else find_spec(name)
        if spec is None or spec.loader is None or set_up is None:
            return None
        run = spec.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            try:
                run(module)
            except BaseException:
                self.calls[name] = set_up  # the next attempt may succeed
                raise
            set_up(sys.modules.get(name, module))

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


_WAITING = _Waiting()
