"""Serve ``mmcv._ext`` from :mod:`mm2pl.ops` where MMCV has no compiled operators, or none that load.

``mmcv-lite`` has all of ``mmcv/ops/*.py``; what they lack is this one module, whose functions they ask for by name.
"""

from __future__ import annotations

import importlib
import logging
import os
import sys
from collections.abc import Sequence
from functools import reduce
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import module_from_spec
from types import ModuleType
from typing import Any

from mm2pl.errors import MissingPackageError

NAME = "mmcv._ext"
SWITCH = "MM2PL_MMCV_EXT"
"""Environment variable: ``auto`` (compiled operators if they load), ``mm2pl`` (never these), ``mmcv`` (only these)."""
CHOICES = ("auto", "mm2pl", "mmcv")

logger = logging.getLogger("mm2pl")


class _Loaded(Loader):
    """Loader of a module that is there already."""

    def __init__(self, module: ModuleType) -> None:
        self.module = module

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return self.module

    def exec_module(self, module: ModuleType) -> None:
        """Do nothing: it has been executed."""


class _Adapting(Loader):
    """Loader of a file of ``mmcv/ops`` whose functions are replaced by ours."""

    def __init__(self, loader: Loader, functions: dict[str, Any]) -> None:
        self.loader, self.functions = loader, functions

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self.loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self.loader.exec_module(module)
        for path, adapt in self.functions.items():
            *classes, name = path.split(".")
            holder = reduce(getattr, classes, module)
            setattr(holder, name, adapt(getattr(holder, name)))


class MmcvExt(MetaPathFinder):
    """Finds ``mmcv._ext``: the compiled one if it loads, else ours."""

    served = False
    """Whether ours is in use."""

    def find_spec(  # noqa: D102
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname == NAME:
            return self._find_ext(path)
        if self.served and fullname.startswith("mmcv.ops."):
            functions = importlib.import_module("mm2pl.ops.adapted").FUNCTIONS.get(fullname)
            spec = functions and PathFinder.find_spec(fullname, path)
            if spec and spec.loader is not None:
                spec.loader = _Adapting(spec.loader, functions)
                return spec
        return None

    def _find_ext(self, path: Sequence[str] | None) -> ModuleSpec | None:
        choice = os.environ.get(SWITCH, "auto")
        if choice not in CHOICES:
            raise MissingPackageError(f"{SWITCH}={choice!r} → one of {', '.join(CHOICES)}")
        if choice == "mmcv":
            return None
        found, why = None, "it has no compiled operators"
        if choice == "mm2pl":
            why = f"{SWITCH}=mm2pl"
        else:
            found = PathFinder.find_spec(NAME, path)
        if found is not None and found.loader is not None:
            try:
                compiled = module_from_spec(found)
                found.loader.exec_module(compiled)
            except ImportError as error:  # built for another torch: an undefined symbol
                why = f"its compiled operators do not load: {error}"
            else:
                found.loader = _Loaded(compiled)
                return found
        self.served = True
        logger.warning("mmcv.ops runs on mm2pl's operators in PyTorch (%s)", why)
        # With a loader and an origin, since `mmcv.utils.ext_loader.check_ops_exist` looks for them.
        return ModuleSpec(NAME, _Loaded(_table()), origin="mm2pl.ops.ext")

    def remove(self) -> None:
        """Take it back, with what has bound its functions."""
        sys.meta_path[:] = [finder for finder in sys.meta_path if finder is not self]
        if self.served:
            self.served = False
            _forget(NAME)
            _forget("mmcv.ops")


def serve_mmcv_ext() -> MmcvExt | None:
    """Find ``mmcv._ext`` from now on; return what takes it back, or None if it is found already.

    A half of ``mmcv.ops`` that an earlier, failed import has left is forgotten, so that it can be imported again.
    """
    if any(isinstance(finder, MmcvExt) for finder in sys.meta_path):
        return None
    if NAME not in sys.modules:
        _forget("mmcv.ops")
    finder = MmcvExt()
    sys.meta_path.insert(0, finder)
    return finder


def _table() -> ModuleType:
    ext = importlib.import_module("mm2pl.ops.ext")
    module = ModuleType(NAME, ext.__doc__)
    vars(module).update(ext.FUNCTIONS)
    return module


def _forget(name: str) -> None:
    """Drop a module and all below it, and its name in its package."""
    for each in [key for key in sys.modules if key == name or key.startswith(f"{name}.")]:
        del sys.modules[each]
    parent, _, child = name.rpartition(".")
    if parent in sys.modules:
        vars(sys.modules[parent]).pop(child, None)
