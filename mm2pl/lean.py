"""Keep torchmetrics from importing two packages that no training uses: ``scipy.signal`` and ``matplotlib``.

Lightning compares the version of torchmetrics by importing it, and torchmetrics 1.x imports both where they are
installed: the one to patch a name for the package SRMRpy, the other for ``Metric.plot``. That is a quarter of the time
before a run's first line, in every process. While torchmetrics is imported, stand-ins are in their place; each of
them brings the real module as soon as anybody asks for what is in it. Afterwards both can be imported as ever.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import find_spec
from types import ModuleType
from typing import Any

PLOT = "torchmetrics.utilities.plot"
SIGNAL = "scipy.signal"


class PlotStandIn(ModuleType):
    """Stand for torchmetrics' module of plot functions: they load it when they are called."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        # _AX_TYPE and its like are types of matplotlib that only annotations name.
        return object if name.isupper() else _called_later(name)


def _called_later(name: str) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        return getattr(import_module(PLOT), name)(*args, **kwargs)

    return call


class SignalStandIn(ModuleType):
    """Stand for ``scipy.signal`` as long as nobody asks for more than whether ``hamming`` is there."""

    hamming = None

    def __getattr__(self, name: str) -> Any:
        # `inspect` asks every module for its __file__; an import of a submodule asks for __path__.
        if name.startswith("__") and name != "__path__":
            raise AttributeError(name)
        if sys.modules.get(SIGNAL) is self:
            del sys.modules[SIGNAL]
        return getattr(import_module(SIGNAL), name)


@contextmanager
def stand_ins() -> Iterator[None]:
    """Hold the stand-ins where an import of torchmetrics finds them."""
    held: list[ModuleType] = [PlotStandIn(PLOT)]
    # The patch is for SRMRpy: where that is installed, scipy.signal is imported and patched.
    if SIGNAL not in sys.modules and find_spec("scipy") and not find_spec("srmrpy"):
        held.append(SignalStandIn(SIGNAL))
    for module in held:
        sys.modules[module.__name__] = module
    try:
        yield
    finally:
        for module in held:
            if sys.modules.get(module.__name__) is module:
                del sys.modules[module.__name__]


class LeanFinder:
    """Find torchmetrics as Python does, with a loader that holds the stand-ins while it runs."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return what Python's own finder finds for torchmetrics; None for every other name."""
        spec = PathFinder.find_spec(name) if name == "torchmetrics" else None
        if spec is None or spec.loader is None:
            return None
        run = spec.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            with stand_ins():
                run(module)

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec
