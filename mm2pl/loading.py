"""Parts of an import hook: what other finders find, and a loader that does something around a module's code."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from importlib.abc import Loader
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any


def found_behind(
    finder: Any, name: str, path: Sequence[str] | None, target: ModuleType | None
) -> ModuleSpec | None:
    """Return what would be found without a finder of ``sys.meta_path``, by asking those behind it.

    They may be hooks of others, which are to see what is imported.
    """
    finders = list(sys.meta_path)
    behind = finders[finders.index(finder) + 1 :] if finder in finders else []
    specs = (each.find_spec(name, path, target) for each in behind if hasattr(each, "find_spec"))
    return next((spec for spec in specs if spec is not None), None)


class LoaderWithin(Loader):
    """Run a module's code within a context, and leave the module as its own loader makes it.

    Args:
        loader: Its own loader.
        within: Gets the module, and returns the context.
    """

    def __init__(
        self, loader: Loader, within: Callable[[ModuleType], AbstractContextManager[None]]
    ) -> None:
        self._loader, self._within = loader, within

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """Make the module as its own loader does."""
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        """Run its code; what asks for its loader from here on gets its own."""
        assert module.__spec__ is not None
        module.__spec__.loader = module.__loader__ = self._loader
        with self._within(module):
            self._loader.exec_module(module)

    def __getattr__(self, name: str) -> Any:
        # What is asked of a spec before the import, such as the source.
        return getattr(self._loader, name)
