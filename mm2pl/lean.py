"""Import torch and Lightning in less time: that is what people wait for before a run's first line.

Python collects garbage while they are imported: it looks through all that is there, dozens of times, and hardly
anything is garbage. That is a quarter of a start. While one of them is imported it waits (:data:`MANNERS`).

And torchmetrics is kept from importing two packages that no training uses: ``scipy.signal`` and ``matplotlib``.
Lightning compares the version of torchmetrics by importing it, and torchmetrics 1.x imports both where they are
installed: the one to patch a name for the package SRMRpy, the other for ``Metric.plot``. While torchmetrics is
imported, stand-ins are in their place; each of them brings the real module as soon as anybody asks for what is in it.
Afterwards both can be imported as ever.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from importlib import import_module
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Any

from mm2pl.loading import LoaderWithin, found_behind

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


@contextmanager
def collected_later() -> Iterator[None]:
    """Let the garbage collector wait, and then take what there is for old.

    It is one switch for the whole process: another thread that uses it meanwhile finds it off, and afterwards it is on.
    """
    if not gc.isenabled():  # a user has switched it off, or this is an import inside of another one
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        # A user may have frozen something, which is thousands of objects; Python 3.12 itself begins with 375.
        if gc.get_freeze_count() < 1000:
            # Both together move all objects to the oldest generation: the next collection looks at new ones only.
            gc.freeze()
            gc.unfreeze()
        gc.enable()


MANNERS: dict[str, Callable[[], AbstractContextManager[None]]] = {
    "torch": collected_later,
    "torch._dynamo": collected_later,  # by the first optimizer, where Lightning has not done so
    "lightning": collected_later,
    "torchmetrics": stand_ins,
}
"""Module → in what it is imported."""


class LeanFinder:
    """Find a module as Python does, with a loader that runs in the manner of :data:`MANNERS`."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return what the other finders find for these modules; None for every other name."""
        manner = MANNERS.get(name)
        spec = None if manner is None else found_behind(self, name, path, target)
        if manner is not None and spec is not None and spec.loader is not None:
            spec.loader = LoaderWithin(spec.loader, lambda module: manner())
        return spec
