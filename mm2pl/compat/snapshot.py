"""What packages loaded under the alias leave in mm2pl and in ``sys.modules``, and how it is taken back.

Only what is loaded already is looked at: the alias itself needs none of mm2pl's rooms.
"""

from __future__ import annotations

import sys
from types import FunctionType, ModuleType
from typing import Any


def _registries() -> list[Any]:
    module = sys.modules.get("mm2pl.registry.registry")
    return [] if module is None else list(module.Registry._all)


def _scopes() -> dict[str, Any]:
    module = sys.modules.get("mm2pl.registry.default_scope")
    return {} if module is None else module.DefaultScope._instance_dict


class Snapshot:
    """The modules, registries and default scopes of this moment."""

    def __init__(self) -> None:
        self._modules = set(sys.modules)
        self._entries = {
            registry: (dict(registry.module_dict), dict(registry._children), registry._imported)
            for registry in _registries()
        }
        self._scopes = dict(_scopes())

    def restore(self) -> None:
        """Forget packages that hold something of mm2pl's, and what has been registered.

        Packages such as torch, loaded meanwhile, stay; so does what mm2pl itself registers.
        """
        packages = self._forget_packages()
        for registry in _registries():
            own = getattr(registry, "_own", None)
            if registry in self._entries:
                names, children, imported = self._entries[registry]
            elif own is not None:  # a root registry: mm2pl.registry was not loaded yet
                names, children, imported = {}, {}, registry._imported
            else:
                if registry._scope in packages:
                    type(registry)._all.discard(registry)
                continue
            registry._module_dict.clear()
            registry._module_dict.update({**(own or {}), **names})
            registry._children.clear()
            registry._children.update(children)
            registry._imported = imported if own is None else registry._imported
        scopes = _scopes()
        scopes.clear()
        scopes.update(self._scopes)

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
