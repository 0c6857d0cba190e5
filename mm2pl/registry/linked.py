"""Registries that also look where MMEngine's packages registered something.

MMPretrain's ``MODELS`` is a child of MMEngine's ``MODELS``. If MMEngine is loaded, a root registry
here treats MMEngine's registry of the same name as a second half of itself: what toolboxes put into
it is found, and its children appear as children here. While one of those builds something, it is
lent what users registered here, since a toolbox's model builds its parts by MMEngine's registries.
MMEngine is never imported for that.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import cache
from types import ModuleType
from typing import Any

from mm2pl.registry.located import locations
from mm2pl.registry.registry import SCOPE, Registry, canonical
from mm2pl.utils import get_object_from_string

_SCOPES = itertools.count()


class LinkedRegistry(Registry):
    """A registry with a counterpart in MMEngine, as soon as there is one."""

    def _theirs(self) -> Any:
        """Return MMEngine's registry, or None."""
        raise NotImplementedError

    @property
    def children(self) -> dict[str, Registry]:
        """The child registries by scope, those of MMEngine's registry included."""
        theirs = self._theirs()
        for scope, child in theirs.children.items() if theirs is not None else ():
            if scope not in self._children and scope != "mmengine":
                # It puts itself into self._children.
                MirrorRegistry(child, self)
        return self._children


class RootRegistry(LinkedRegistry):
    """A root registry of ours: the user's names first, then our own.

    What mm2pl itself registers never blocks a name: a user's class of the same name, registered
    before or after, here or in MMEngine's registry, is the one that is found.
    """

    def __init__(self, name: str, build_func: Callable[..., Any] | None = None) -> None:
        super().__init__(name, build_func, scope=SCOPE)
        self._own: dict[str, Any] = {}

    def import_from_location(self) -> None:
        """Import the rooms that register something here, once."""
        if not self._imported:
            # Read at the first miss, since the table names rooms that stand above this one.
            self._locations = list(locations().MODULES.get(self._name, ()))
        super().import_from_location()

    def _theirs(self) -> Any:
        module = sys.modules.get("mmengine.registry.root")
        return None if module is None else _registries_in(module).get(self._name)

    def _users(self) -> dict[str, Any]:
        """Return what is registered here and not mm2pl's own."""
        return {n: m for n, m in self._module_dict.items() if self._own.get(n) is not m}

    def _find(self, name: str) -> Any:
        users = self._module_dict.get(name)
        if users is not None and users is not self._own.get(name):
            return users
        theirs = self._theirs()
        found = None if theirs is None else theirs.module_dict.get(name)
        # A toolbox's class wins. MMEngine's own class would meet objects of ours, so ours stands in for it.
        if found is not None and not _is_mmengines(found):
            return found
        ours = super()._find(name)
        if ours is None:  # also where MMEngine has its own
            path = locations().BY_NAME.get(self._name, {}).get(name)
            ours = None if path is None else get_object_from_string(path)
        return found if ours is None else ours

    def awaited(self, key: str) -> str | None:
        """Return the name for which :meth:`get` would import the rooms that register something here, or None."""
        scope, name = self.split_scope_key(key)
        theirs = self._theirs()
        known = name in self._module_dict or (theirs is not None and name in theirs.module_dict)
        here = scope is None or (canonical(scope) == SCOPE and "." not in name)
        return name if here and not known and not self._imported else None

    def _import_object(self, path: str) -> Any:
        found = super()._import_object(path)
        if found is None:
            package, _, name = path.partition(".")
            paths = (f"{module}.{name}" for module in locations().FAMILIES.get(package, ()))
            found = next((o for p in paths if (o := get_object_from_string(p)) is not None), None)
        return found

    def _register_module(
        self, module: Any, module_name: str | Sequence[str] | None = None, force: bool = False
    ) -> None:
        if getattr(module, "__module__", "").partition(".")[0] == SCOPE and not force:
            self._register_own(module, module_name or module.__name__)
            return
        names = [module_name] if isinstance(module_name, str) else list(module_name or [])
        for name in names or [getattr(module, "__name__", "")]:
            ours = name in self._own and self._module_dict.get(name) is self._own[name]
            super()._register_module(module, name, force or ours)

    def _register_own(self, module: Any, names: str | Sequence[str]) -> None:
        """Register what is ours; a user's class of that name stays."""
        for name in [names] if isinstance(names, str) else names:
            if self._own.setdefault(name, module) is not module:
                super()._register_module(module, name)  # tells where the other one is
            self._module_dict.setdefault(name, module)


class MirrorRegistry(LinkedRegistry):
    """A toolbox's registry (a child of MMEngine's), seen as a child of ours."""

    def __init__(self, theirs: Any, parent: Registry) -> None:
        self._mirrored = theirs
        super().__init__(theirs.name, _build_func(theirs), parent, theirs.scope)
        self._module_dict = theirs.module_dict  # the same dict, so both see what is registered

    def _theirs(self) -> Any:
        return self._mirrored

    def import_from_location(self) -> None:
        """Let the toolbox import what it registers."""
        self._mirrored.import_from_location()

    def _entered(self, for_a_while: bool) -> AbstractContextManager[Any]:
        stack = ExitStack()
        stack.enter_context(_their_default_scope(self._scope, for_a_while))
        stack.enter_context(_visible_to_mmengine())
        return stack


@cache
def _registries_in(module: ModuleType) -> dict[str, Any]:
    """Return MMEngine's root registries by name; none if the module is our own under its name."""
    # By name, as MMEngine's class is not imported here. Ours under its name are of subclasses, so none counts.
    registries = (v for v in vars(module).values() if type(v).__name__ == "Registry")
    return {registry.name: registry for registry in registries}


def _build_func(theirs: Any) -> Callable[..., Any] | None:
    """Return the toolbox's own build function; None if it is one of MMEngine's, as ours will do."""
    build = theirs.build_func
    if getattr(build, "__module__", "").startswith("mmengine."):
        return None

    def build_theirs(cfg: Any, *args: Any, registry: Registry, **kwargs: Any) -> Any:
        return build(cfg, *args, registry=theirs, **kwargs)

    return build_theirs


def _is_mmengines(obj: Any) -> bool:
    return getattr(obj, "__module__", "").partition(".")[0] in ("mmengine", "torch")


@contextmanager
def _visible_to_mmengine() -> Iterator[None]:
    """Let MMEngine's root registries find what users registered in ours, for a while."""
    lent = []
    for ours in [r for r in Registry._all if isinstance(r, RootRegistry)]:
        theirs = ours._theirs()
        for name, module in ours._users().items() if theirs is not None else ():
            # What a toolbox has registered there keeps its name.
            if name not in theirs.module_dict:
                theirs.module_dict[name] = module
                lent.append((theirs.module_dict, name))
    try:
        yield
    finally:
        for modules, name in lent:
            modules.pop(name, None)


@contextmanager
def _their_default_scope(scope: str, for_a_while: bool) -> Iterator[None]:
    """Make ``scope`` MMEngine's default scope too: toolboxes build parts by its registries."""
    their_scope = sys.modules["mmengine.registry.default_scope"].DefaultScope
    if for_a_while:
        with their_scope.overwrite_default_scope(scope):
            yield
        return
    current = their_scope.get_current_instance()
    if current is None or current.scope_name != scope:
        # A new name each time, since an instance that exists does not become the current one again.
        their_scope.get_instance(f"{SCOPE}-{next(_SCOPES)}", scope_name=scope)
    yield
