"""A registry: names in configs, classes and functions in code."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from importlib import import_module
from typing import Any, ClassVar, TypeVar, overload
from weakref import WeakSet

from mm2pl.compat import import_module as import_package
from mm2pl.compat import ours
from mm2pl.errors import ArgumentError
from mm2pl.registry.build_functions import build_from_cfg
from mm2pl.registry.default_scope import DefaultScope
from mm2pl.registry.errors import RegistryKeyError, unknown_scope
from mm2pl.utils import get_object_from_string, is_seq_of
from mm2pl.utils.package_utils import MODULE2PACKAGE

_Registered = TypeVar("_Registered", bound=Callable[..., Any])

SCOPE = "mm2pl"
"""The scope of the root registries; ``mmengine`` is an alias of it, as prefix and as default."""


def canonical(scope: str) -> str:
    """Return the scope that ``scope`` stands for."""
    return SCOPE if scope == "mmengine" else scope


def import_scope(scope: str) -> ImportError | None:
    """Import ``<scope>.registry``, or at least the package; return what kept it from importing.

    A package that does not exist does no harm: the scope may have been registered by hand.
    """
    if not scope.isidentifier():
        return None
    try:
        import_package(f"{scope}.registry")
    # The package itself may be missing. Any other missing module is a mistake inside the package.
    except ModuleNotFoundError as problem:
        return None if problem.name in (scope, f"{scope}.registry") else problem
    except ImportError as problem:
        return problem
    return None


class Registry:
    """Map names to classes and functions, in a tree of scopes; stands for `mmengine.Registry`.

    A look-up goes from the registry to its parents. ``scope.Name`` asks the registry of that scope
    (importing ``scope.registry`` if need be); any other dotted name is an import path. A short name
    is never imported.

    Args:
        name: What is registered, for messages.
        build_func: ``(cfg, *args, registry, **kwargs) -> object``; default: the parent's, else
            :func:`build_from_cfg`.
        parent: The registry that is asked for names not found here.
        scope: Default: the name of the package in which the registry is made.
        locations: Modules that register something here; imported at the first miss.

    Raises:
        ArgumentError: ``scope`` is not a string, or ``parent`` not a Registry.

    Example:
        >>> SHAPES = Registry("shape", scope="geometry")
        >>> @SHAPES.register_module()
        ... class Circle:
        ...     def __init__(self, radius: float) -> None:
        ...         self.area = 3.0 * radius**2
        >>> SHAPES.build(dict(type="Circle", radius=2)).area
        12.0
    """

    # Weak, so that a registry which nobody holds does not answer for its scope.
    _all: ClassVar[WeakSet[Registry]] = WeakSet()

    def __init__(
        self,
        name: str,
        build_func: Callable[..., Any] | None = None,
        parent: Registry | None = None,
        scope: str | None = None,
        locations: Sequence[str] = (),
    ) -> None:
        if not (scope is None or isinstance(scope, str)):
            raise ArgumentError(f"scope should be a string or None, but got {scope!r}")
        if not (parent is None or isinstance(parent, Registry)):
            raise ArgumentError(f"parent should be a Registry or None, but got {parent!r}")
        self._name = name
        self._scope = self.infer_scope() if scope is None else scope
        self._locations = list(locations)
        self._imported = False
        self._module_dict: dict[str, Any] = {}
        self._children: dict[str, Registry] = {}
        self.parent = parent
        if parent is not None:
            parent._add_child(self)
        inherited = build_from_cfg if parent is None else parent.build_func
        self.build_func: Callable[..., Any] = build_func or inherited
        # Last, so that a registry which could not be made is not found.
        Registry._all.add(self)

    def __len__(self) -> int:
        return len(self._module_dict)

    def __contains__(self, key: str) -> bool:
        return self.get(key) is not None

    def __repr__(self) -> str:
        width = max(map(len, self._module_dict), default=0)
        rows = (f"  {name:<{width}}  {obj}" for name, obj in sorted(self._module_dict.items()))
        return "\n".join([f"Registry of {self._name} (scope {self._scope})", *rows])

    @staticmethod
    def infer_scope() -> str:
        """Return the top package of the code that calls the caller of this function."""
        # Frames: 0 is here, 1 is Registry.__init__, 2 is where the registry is made.
        # MMEngine 0.10.7 asks inspect.getmodule instead, which searches all of sys.modules.
        module = sys._getframe(2).f_globals.get("__name__")
        return module.partition(".")[0] if module else SCOPE

    @staticmethod
    def split_scope_key(key: str) -> tuple[str | None, str]:
        """Split the first scope off.

        Example:
            >>> Registry.split_scope_key("mmdet.ResNet"), Registry.split_scope_key("ResNet")
            (('mmdet', 'ResNet'), (None, 'ResNet'))
        """
        scope, dot, rest = key.partition(".")
        return (scope, rest) if dot else (None, key)

    @property
    def name(self) -> str:
        """What is registered here, such as ``'hook'``."""
        return self._name

    @property
    def scope(self) -> str:
        """The scope, such as ``'mmdet'``."""
        return self._scope

    @property
    def module_dict(self) -> dict[str, Any]:
        """What is registered here so far: not the parents', nor what would be imported."""
        return self._module_dict

    @property
    def children(self) -> dict[str, Registry]:
        """The child registries by scope."""
        return self._children

    @property
    def root(self) -> Registry:
        """The top of the tree."""
        return self._get_root_registry()

    def _get_root_registry(self) -> Registry:
        return self if self.parent is None else self.parent._get_root_registry()

    def import_from_location(self) -> None:
        """Import the modules that register something here, once."""
        if self._imported:
            return
        # Set first, since the modules below look names up while they are imported, and come back here.
        self._imported = True
        try:
            # OpenMMLab's packages from before `locations` register themselves on request.
            if not self._locations and self._scope in MODULE2PACKAGE:
                _register_all_modules(self._scope)
            for location in self._locations:
                import_module(location)
        # The next look-up tries again and so names the same cause.
        except BaseException:
            self._imported = False
            raise

    def get(self, key: str) -> Any:
        """Return what is registered as ``key``, or None.

        ``key`` is a name, looked up here and then in the parents; ``scope.name``; or an import path
        (``torchmetrics.classification.MulticlassAccuracy``). ``scope.name`` with the scope of this
        very registry does not ask the parents.

        Raises:
            TypeError: ``key`` is not a string.
        """
        if not isinstance(key, str):
            raise ArgumentError(
                f"The key argument of `Registry.get` must be a str, got {type(key)}"
            )
        scope, name = self.split_scope_key(key)
        # No short name is imported. In MMEngine 0.10.7 `json` is found: it is the standard library's module.
        if scope is None:
            return self._get_upwards(name)
        found = self._get_scoped(canonical(scope), name)
        return self._import_object(key) if found is None else found

    def awaited(self, key: str) -> str | None:
        """Return the name for which :meth:`get` would import what mm2pl itself registers; None if it would not.

        No room of mm2pl's is imported to find out. A toolbox's registry may import what registers something there.

        Raises:
            Exception: What such an import raises.
        """
        scope, name = self.split_scope_key(key)
        # A dotted name is asked of another registry, or is an import path.
        if scope is not None or self.parent is None or self._find(name) is not None:
            return None
        return self.parent.awaited(name)

    def _find(self, name: str) -> Any:
        """Return what is registered as ``name`` in this very registry."""
        # MMEngine 0.10.7 imports the locations at the first get, even for a name that is registered already.
        if name not in self._module_dict:
            self.import_from_location()
        return self._module_dict.get(name)

    def _get_upwards(self, name: str) -> Any:
        registry: Registry | None = self
        while registry is not None:
            if (found := registry._find(name)) is not None:
                return found
            registry = registry.parent
        return None

    def _get_scoped(self, scope: str, name: str) -> Any:
        if scope == canonical(self._scope):
            return self._find(name)
        if scope not in self.children:
            import_scope(scope)
        if scope in self.children:
            return self.children[scope].get(name)
        root = self.root
        # Only if the root knows the scope, since it would otherwise ask itself for ever.
        if root is not self and (scope == canonical(root._scope) or scope in root.children):
            return root._get_scoped(scope, name)
        return None

    def _import_object(self, path: str) -> Any:
        if path.startswith("mmengine."):
            # Ours first, even where MMEngine is installed: its class may not fit our Runner.
            found = get_object_from_string(ours(path))
            if found is not None:
                return found
        return get_object_from_string(path)

    def _search_child(self, scope: str) -> Registry | None:
        """Return the registry of ``scope`` in this tree, depth first."""
        if canonical(self._scope) == canonical(scope):
            return self
        found = (child._search_child(scope) for child in self.children.values())
        return next((registry for registry in found if registry is not None), None)

    @contextmanager
    def switch_scope_and_registry(self, scope: str | None) -> Iterator[Registry]:
        """Make ``scope`` the default scope for a while, and yield its registry of this tree.

        With None the default scope stays what it is. Where another tree has the scope but this one
        has not, the registry itself is yielded, as MMEngine does.

        Raises:
            RegistryKeyError: No registry at all has the scope (MMEngine 0.10.7 only warns).
        """
        with DefaultScope.overwrite_default_scope(scope):
            current = DefaultScope.get_current_instance()
            if current is None:
                yield self
                return
            registry = self._in_scope(canonical(current.scope_name))
            with registry._entered(for_a_while=scope is not None):
                yield registry

    def _in_scope(self, scope: str) -> Registry:
        root = self.root
        registry = root._search_child(scope)
        if registry is None:
            # Only at a miss. MMEngine 0.10.7 tries this import for every object it builds, and forgets each failure.
            problem = import_scope(scope)
            registry = root._search_child(scope)
        if registry is not None:
            return registry
        scopes = Registry.all_scopes()
        if scope not in scopes:
            raise unknown_scope(scope, scopes, problem) from problem
        return self

    @staticmethod
    def all_scopes() -> set[str]:
        """Return the scopes of all registries there are, children included."""
        for registry in list(Registry._all):
            registry._search_child("")  # makes linked trees known
        return {canonical(registry._scope) for registry in Registry._all}

    def _entered(self, for_a_while: bool) -> AbstractContextManager[Any]:
        """Do what must be done while this registry builds something."""
        return nullcontext()

    def build(self, cfg: Any, *args: Any, **kwargs: Any) -> Any:
        """Build the object that ``cfg`` describes, with :attr:`build_func`."""
        return self.build_func(cfg, *args, **kwargs, registry=self)

    def _add_child(self, registry: Registry) -> None:
        if registry.scope in self._children:
            raise ArgumentError(
                f"scope {registry.scope} exists in {self.name} registry: give the new one another."
            )
        self._children[registry.scope] = registry

    def _register_module(
        self, module: Any, module_name: str | Sequence[str] | None = None, force: bool = False
    ) -> None:
        if not callable(module):
            raise ArgumentError(
                f"module must be Callable, but got {type(module)}: register a class or a function."
            )
        names = module.__name__ if module_name is None else module_name
        for name in [names] if isinstance(names, str) else names:
            if not force and name in self._module_dict and not self._is_run_again(name, module):
                there = getattr(self._module_dict[name], "__module__", "an unknown module")
                raise RegistryKeyError(
                    f"{name} is already registered in {self.name} at {there}. Choose another "
                    f"name=..., or replace it with register_module(force=True)."
                )
            self._module_dict[name] = module

    def _is_run_again(self, name: str, module: Any) -> bool:
        """Return whether an interactive session has run once more the definition of what has this name.

        A cell of a notebook is run many times. MMEngine 0.10.7 refuses the second; in a script so do we.
        """
        there = self._module_dict[name]
        here = [getattr(module, key, None) for key in ("__module__", "__qualname__")]
        return (
            hasattr(sys, "ps1")
            and None not in here
            and here == [getattr(there, key, None) for key in ("__module__", "__qualname__")]
        )

    @overload
    def register_module(
        self, name: str | Sequence[str] | None = None, force: bool = False, module: None = None
    ) -> Callable[[_Registered], _Registered]: ...
    @overload
    def register_module(
        self, name: str | Sequence[str] | None = None, force: bool = False, *, module: _Registered
    ) -> _Registered: ...
    @overload
    def register_module(
        self, name: str | Sequence[str] | None, force: bool, module: _Registered
    ) -> _Registered: ...
    def register_module(
        self,
        name: str | Sequence[str] | None = None,
        force: bool = False,
        module: Any = None,
    ) -> Any:
        """Register a class or function, as a decorator or (with ``module``) by a call.

        Args:
            name: One or several names; default: the object's own.
            force: Replace what has this name already.
            module: What to register; None makes it a decorator.

        Raises:
            RegistryKeyError: The name is taken.
        """
        if not isinstance(force, bool):
            raise ArgumentError(f"force must be a boolean, but got {type(force)}")
        if not (name is None or isinstance(name, str) or is_seq_of(name, str)):
            raise ArgumentError(
                "name must be None, an instance of str, or a sequence of str, "
                f"but got {type(name)}: is register_module() missing its parentheses?"
            )
        if module is not None:
            self._register_module(module, name, force)
            return module

        def register(module: Any) -> Any:
            self._register_module(module, name, force)
            return module

        return register


def _register_all_modules(scope: str) -> None:
    try:
        utils = import_module(f"{scope}.utils")
    except ImportError:
        return
    # A project that has grown out of a 1.x toolbox keeps its package's name and has no such function. MMEngine 0.10.7
    # ends in an AttributeError there.
    if hasattr(utils, "register_all_modules"):
        # False leaves the default scope alone, which the toolbox would otherwise set to its own.
        utils.register_all_modules(False)
