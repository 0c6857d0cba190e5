"""Names that a pure-Python config imports, kept unimported until somebody needs them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

from mm2pl.compat import import_module, ours, reexported

from .errors import ConfigImportError, ConfigModuleNotFoundError, ConfigParsingError


def _import(module: str, location: str | None) -> Any:
    # A config written for MMEngine names mmengine's classes; ours have paths of their own.
    name = ours(module) if module.partition(".")[0] == "mmengine" else module
    try:
        return import_module(name)
    # The module may run any code when it is imported, and so raise anything.
    except Exception as error:
        missing = isinstance(error, ModuleNotFoundError)
        kind = ConfigModuleNotFoundError if missing else ConfigImportError
        raise kind(f"Failed to import {module} in {location} for {error}") from error


class LazyObject:
    """Stand for what an import statement of a config would have bound.

    ===========================  ====================================
    statement                    object
    ===========================  ====================================
    ``from a.b import C``        ``LazyObject('a.b', 'C')``
    ``import a.b as m``          ``LazyObject('a.b')``
    ``import a.b; import a.c``   ``a = LazyObject(['a.b', 'a.c'])``
    ===========================  ====================================

    Args:
        module: Dotted path, or the paths of several statements that bind the same package.
        imported: The name taken from the module.
        location: ``"<file>, line <n>"`` of the statement, for messages.

    Raises:
        TypeError: ``module`` or ``imported`` is not a name.
    """

    def __init__(
        self,
        module: str | Sequence[str],
        imported: str | None = None,
        location: str | None = None,
    ) -> None:
        paths = [module] if isinstance(module, str) else module
        if not isinstance(paths, (list, tuple)) or not all(isinstance(p, str) for p in paths):
            raise TypeError(f"module={module!r} must be a str or a list of str.")
        if imported is not None and not isinstance(imported, str):
            raise TypeError(f"imported={imported!r} must be a str or None.")
        self._module = module
        self._imported = imported
        self.location = location

    @property
    def module(self) -> str:
        """Dotted path of the module, or of the package that several imports share."""
        return self._module if isinstance(self._module, str) else self._module[0].split(".")[0]

    def build(self) -> Any:
        """Import and return the real object.

        Raises:
            ConfigImportError: The module does not import, or lacks the name.
        """
        if not isinstance(self._module, str):
            # Importing a submodule makes it an attribute of its package, which is returned.
            for module in self._module:
                _import(module, self.location)
            return _import(self.module, self.location)
        module = _import(self._module, self.location)
        return module if self._imported is None else _member(module, self._imported, self)

    @property
    def dotted_path(self) -> str:
        """What this object is called in a dumped config."""
        return self.module if self._imported is None else f"{self.module}.{self._imported}"

    def __getattr__(self, name: str) -> LazyAttr:
        return _attribute(self, name)

    def __call__(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refuse: a config only names what it imports."""
        _refuse_call(self)

    def __mro_entries__(self, bases: tuple[Any, ...]) -> NoReturn:
        """Refuse a class that derives from what a config imports."""
        _refuse_base(self)

    def __deepcopy__(self, memo: dict) -> LazyObject:
        return LazyObject(self._module, self._imported, self.location)

    def __str__(self) -> str:
        return self.module if self._imported is None else self._imported

    __repr__ = __str__

    # Pickle asks the instance for these; without them __getattr__ would answer.
    def __getstate__(self) -> dict:
        return self.__dict__

    def __setstate__(self, state: dict) -> None:
        self.__dict__ = state


class LazyAttr:
    """Stand for ``source.name`` where ``source`` is itself not imported yet."""

    def __init__(
        self, name: str, source: LazyObject | LazyAttr, location: str | None = None
    ) -> None:
        self.name = name
        self.source = source
        self.location = location
        self._module = source.dotted_path

    @property
    def module(self) -> str:
        """Dotted path of what the attribute is taken from."""
        return self._module

    @property
    def dotted_path(self) -> str:
        """What this object is called in a dumped config."""
        return f"{self._module}.{self.name}"

    def build(self) -> Any:
        """Import the source and return its attribute.

        Raises:
            ConfigImportError: The source does not import, or lacks the name.
        """
        return _member(self.source.build(), self.name, self)

    def __getattr__(self, name: str) -> LazyAttr:
        return _attribute(self, name)

    def __call__(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refuse: a config only names what it imports."""
        _refuse_call(self)

    def __mro_entries__(self, bases: tuple[Any, ...]) -> NoReturn:
        """Refuse a class that derives from what a config imports."""
        _refuse_base(self)

    def __deepcopy__(self, memo: dict) -> LazyAttr:
        return LazyAttr(self.name, self.source, self.location)

    def __str__(self) -> str:
        return self.name

    __repr__ = __str__

    def __getstate__(self) -> dict:
        return self.__dict__

    def __setstate__(self, state: dict) -> None:
        self.__dict__ = state


LAZY_TYPES = (LazyObject, LazyAttr)


def _attribute(source: LazyObject | LazyAttr, name: str) -> LazyAttr:
    if name.startswith("__"):  # Python's own protocols must see that they are not there
        raise AttributeError(f"{type(source).__name__} {source.dotted_path} has no {name!r}.")
    # The line of the access is unknown; only the file is certain.
    location = source.location and source.location.split(", line")[0]
    return LazyAttr(name, source, location)


def _member(owner: Any, name: str, lazy: LazyObject | LazyAttr) -> Any:
    try:
        # The names that MMEngine's module imports only are ours to find too.
        return getattr(owner, name) if hasattr(owner, name) else reexported(lazy.module, name)
    except AttributeError as error:
        raise ConfigImportError(
            f"Failed to import {name} from {lazy.module} in {lazy.location}",
            key=name,
            accepted=dir(owner),
        ) from error


def _refuse_call(lazy: LazyObject | LazyAttr) -> NoReturn:
    raise ConfigParsingError(
        f"{lazy.dotted_path} is imported lazily in {lazy.location} and cannot be called while the "
        f"config is read. Write dict(type={lazy}, ...) and let the registry build it."
    )


def _refuse_base(lazy: LazyObject | LazyAttr) -> NoReturn:
    raise ConfigParsingError(
        f"{lazy.dotted_path} is imported lazily in {lazy.location}, and no class can derive from it there."
    )
