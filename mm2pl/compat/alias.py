"""Serve ``import mmengine.…`` from mm2pl where MMEngine is not installed.

``mmengine.X.Y`` becomes a second name of the module ``mm2pl.X.Y`` in ``sys.modules``: the same object,
so its classes exist once. Only the package itself is a module of its own, since toolboxes compare
its ``__version__``.
"""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

from mm2pl.errors import MissingModuleError, MissingPackageError

from .mmcv_ext import serve_mmcv_ext
from .names import MOVED, REEXPORTED, ours, reexported
from .snapshot import Snapshot, unbind

VERSION = "0.10.7"
"""The release of MMEngine whose contract mm2pl keeps."""

STEPS_ASIDE = (
    f"`pip install mmengine=={VERSION}`: the alias steps aside where MMEngine is installed."
)
FORCED = "`python SCRIPT` runs it with MMEngine, where that is installed."
"""What to do about a module that mm2pl lacks: where MMEngine would be taken, and under ``mm2pl run``."""
SPAWNED = str(Path(__file__).parent / "spawned")
"""On ``sys.path`` while the alias lasts, before an installed MMEngine: all that a spawned process has of its parent."""


def _missing(what: str, advice: str) -> MissingModuleError:
    # The error's name must not be that of the module: `from package import name` would swallow it.
    return MissingModuleError(
        f"mmengine is served by mm2pl here, which has no {what.partition('.')[2]!r} → {advice}",
        name="mmengine",
    )


class _Versioned(ModuleType):
    """``mmengine`` and ``mmengine.version``: ours under MMEngine's version."""

    def __init__(self, name: str, ours: ModuleType) -> None:
        super().__init__(name, ours.__doc__)
        vars(self).update(
            _ours=ours, __file__=ours.__file__, __version__=VERSION, version_info=(0, 10, 7)
        )

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._ours, name)
        submodule = isinstance(value, ModuleType)
        # Under MMEngine's name as well, so that sys.modules has the module under both.
        return importlib.import_module(f"{self.__name__}.{name}") if submodule else value

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *dir(self._ours)})


class _AliasFinder(MetaPathFinder, Loader):
    """Finds ``mmengine`` and all below it, as second names of mm2pl's modules."""

    def __init__(self, advice: str) -> None:
        self.advice = advice
        self.own_specs: dict[str, ModuleSpec] = {}
        self.own_getattr: dict[str, Any] = {}

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname.partition(".")[0] != "mmengine":
            return None
        try:
            known = find_spec(ours(fullname))
        except ModuleNotFoundError:  # what should be its package is none
            known = None
        if known is None:
            raise _missing(fullname, self.advice)
        # As if each were a package: then `from module import name` asks for a submodule before it
        # fails, and _MissingNames can tell why.
        return ModuleSpec(fullname, self, is_package=True)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = importlib.import_module(ours(spec.name))
        if spec.name in ("mmengine", "mmengine.version"):
            return _Versioned(spec.name, module)
        assert module.__spec__ is not None
        # Python writes the alias's spec into the module. exec_module puts the own one back.
        self.own_specs[spec.name] = module.__spec__
        if spec.name.partition(".")[2] in REEXPORTED:
            self._reexport(spec.name, module)
        return module

    def _reexport(self, name: str, module: ModuleType) -> None:
        """Let the module answer for the names that MMEngine's imports too; by a ``__getattr__``, so none is bound."""
        before = vars(module).get("__getattr__")
        self.own_getattr.setdefault(module.__name__, before)

        def __getattr__(attribute: str) -> Any:
            if before is None or attribute in REEXPORTED[name.partition(".")[2]]:
                return reexported(name, attribute)
            return before(attribute)

        vars(module)["__getattr__"] = __getattr__

    def exec_module(self, module: ModuleType) -> None:
        assert module.__spec__ is not None
        module.__spec__ = self.own_specs.get(module.__spec__.name, module.__spec__)


class _MissingNames(MetaPathFinder):
    """Comes last: says what nobody has found in a module that is served under two names."""

    def __init__(self, served: dict[str, ModuleSpec], advice: str) -> None:
        self.served = served
        self.advice = advice

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> None:
        module, _, _ = fullname.rpartition(".")
        if any(spec.name == module for spec in self.served.values()):
            raise _missing(fullname, self.advice)


class MMEngineAlias:
    """The alias while it lasts: until :meth:`remove`, or the end of a ``with`` block.

    ``advice`` ends the message about a module of MMEngine's that mm2pl lacks.

    Attributes:
        active: Whether this very object serves ``mmengine``. False where MMEngine is installed, or
            served already.
    """

    def __init__(self, active: bool, advice: str = STEPS_ASIDE) -> None:
        self.active = active
        self._mmcv_ext = serve_mmcv_ext()
        if not active:
            return
        self._before = Snapshot()
        finder = _AliasFinder(advice)
        self._own_specs, self._own_getattr = finder.own_specs, finder.own_getattr
        self._finders: list[Any] = [finder, _MissingNames(finder.own_specs, advice)]
        # First, since a mere folder called mmengine would otherwise be imported as a namespace.
        sys.meta_path.insert(0, finder)
        sys.meta_path.append(self._finders[1])
        sys.path.insert(1, SPAWNED)  # the first is the folder of the script

    def remove(self) -> None:
        """Take the alias back, with the packages that were loaded under it and what they registered."""
        if self._mmcv_ext is not None:
            self._mmcv_ext.remove()
        if not self.active:
            return
        self.active = False
        sys.meta_path[:] = [f for f in sys.meta_path if f not in self._finders]
        sys.path[:] = [path for path in sys.path if path != SPAWNED]
        for name in [n for n in sys.modules if n.partition(".")[0] == "mmengine"]:
            module = sys.modules.pop(name)
            own = self._own_specs.get(name)
            if own is not None and own.submodule_search_locations is None:
                # Python made it, since the alias calls every module a package.
                vars(module).pop("__path__", None)
            if name.partition(".")[2] in MOVED:
                unbind(f"mm2pl.{name.partition('.')[2]}", module)
        for name, before in self._own_getattr.items():
            vars(sys.modules[name])["__getattr__"] = before
            if before is None:
                del vars(sys.modules[name])["__getattr__"]
        self._before.restore()

    def __enter__(self) -> MMEngineAlias:
        return self

    def __exit__(self, *error: object) -> None:
        self.remove()


def is_installed() -> bool:
    """Return whether there is a real MMEngine, loaded or not."""
    spec = find_spec("mmengine")
    if spec is None or spec.origin is None:  # a folder of that name has no origin
        return False
    return Path(spec.origin).parent != Path(SPAWNED)


def alias_mmengine(say_so: bool = False, *, force: bool = False) -> MMEngineAlias:
    """Let ``import mmengine.X.Y`` give ``mm2pl.X.Y``, if MMEngine is not installed.

    Either way ``mmcv.ops`` finds operators: :mod:`mm2pl.ops`' where MMCV has no compiled ones that load.
    Nothing is written anywhere. Afterwards ``sys.modules``, ``sys.meta_path``, the registries and the
    default scope are as before; packages loaded under the alias are loaded anew when they are imported again.

    Args:
        say_so: Warn if there is nothing to serve because MMEngine is installed.
        force: Serve it even where MMEngine is installed.

    Raises:
        ImportError: ``force``, and MMEngine has been imported already.

    Example:
        >>> import sys
        >>> before = list(sys.meta_path)
        >>> with alias_mmengine() as alias:  # or: alias = alias_mmengine(); ...; alias.remove()
        ...     import mmengine.structures
        >>> alias.active, sys.meta_path == before
        (False, True)
    """
    served = any(isinstance(finder, _AliasFinder) for finder in sys.meta_path)
    if served:
        return MMEngineAlias(active=False)
    if force:
        if "mmengine" in sys.modules:
            raise MissingPackageError(
                "MMEngine has been imported already → begin to serve it before, as `mm2pl run SCRIPT` does"
            )
        return MMEngineAlias(active=True, advice=FORCED)
    installed = is_installed()
    if installed and say_so:
        warnings.warn(
            "MMEngine is installed, so packages import it and not mm2pl's alias → "
            "`pip uninstall mmengine` to run them without it",
            stacklevel=2,
        )
    return MMEngineAlias(active=not installed)
