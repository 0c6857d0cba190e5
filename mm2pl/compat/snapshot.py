"""What packages loaded under the alias leave in mm2pl and in ``sys.modules``, and how it is taken back.

The alias itself needs none of mm2pl's rooms. A room with something that packages change, such as the
registries, says by :func:`keep` how that is saved and restored.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FunctionType, ModuleType
from typing import Any

Save = Callable[[], Any]
Restore = Callable[[Any, set[str]], None]

_KEPT: list[tuple[Save, Restore]] = []


def keep(save: Save, restore: Restore) -> None:
    """Have a room's state restored whenever an alias is removed.

    Args:
        save: Returns the state.
        restore: Takes that state, or None if the room was loaded after the alias began, and the
            packages that are forgotten.
    """
    _KEPT.append((save, restore))


class Snapshot:
    """The modules, and what rooms keep, of this moment."""

    def __init__(self) -> None:
        self._modules = set(sys.modules)
        self._saved = {restore: save() for save, restore in _KEPT}

    def restore(self) -> None:
        """Forget packages that hold something of mm2pl's, and what they have changed in its rooms.

        Packages such as torch, loaded meanwhile, stay; so does what mm2pl itself registers.
        """
        packages = self._forget_packages()
        for _, restore in _KEPT:
            restore(self._saved.get(restore), packages)

    def _forget_packages(self) -> set[str]:
        new = [name for name in sys.modules if name not in self._modules]
        packages = {
            name.partition(".")[0]
            for name in new
            if not name.startswith("mm2pl") and _holds_ours(sys.modules[name])
        }
        for name in new:
            if name.partition(".")[0] in packages:
                module = sys.modules.pop(name)
                unbind(name, module)
        return packages


def unbind(name: str, module: ModuleType) -> None:
    """Undo the binding of a submodule in its parent, which importing it has made."""
    parent, _, child = name.rpartition(".")
    owner = vars(sys.modules[parent]) if parent in sys.modules else {}
    # The parent may have bound another object to this name since.
    if owner.get(child) is module:
        del owner[child]


def _holds_ours(module: Any) -> bool:
    return issubclass(type(module), ModuleType) and any(map(_is_ours, list(vars(module).values())))


def _is_ours(value: Any) -> bool:
    # Only its type is asked, never the value itself: lazy and deprecated objects would answer.
    kind = type(value)
    if issubclass(kind, ModuleType):
        home: Any = vars(value).get("__name__")
    elif issubclass(kind, (type, FunctionType)):
        home = value.__module__
    else:
        home = kind.__module__
    return isinstance(home, str) and home.partition(".")[0] in ("mm2pl", "mmengine")
