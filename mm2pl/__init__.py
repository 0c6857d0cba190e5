"""Run MMEngine-style projects on the PyTorch Lightning Trainer.

As `mmengine` does, the package itself has the names of its config, fileio, logging, registry and utils
rooms: ``from mm2pl import Config, MODELS, print_log``. They are imported on first use.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

from mm2pl.lean import LeanFinder
from mm2pl.version import __version__ as __version__
from mm2pl.version import version_info as version_info

FOUND_LIGHTNING = "lightning.pytorch" in sys.modules
"""Whether somebody else had imported Lightning before; `mm2pl.lightning` does so too."""

if not any(isinstance(each, LeanFinder) for each in sys.meta_path):
    sys.meta_path.insert(0, LeanFinder())

_ROOMS = ("registry", "utils", "logging", "fileio", "config")

if TYPE_CHECKING:
    # What `__getattr__` finds, for type checkers and editors: they take a misspelt name for an error.
    from mm2pl.config import *  # noqa: F403
    from mm2pl.fileio import *  # noqa: F403
    from mm2pl.logging import *  # noqa: F403
    from mm2pl.registry import *  # noqa: F403
    from mm2pl.utils import *  # noqa: F403
else:

    def __getattr__(name):
        """Return a public name of one of the rooms."""
        # Python and its tools ask modules for names such as __path__, which must not import the rooms.
        if name in _ROOMS:
            return import_module(f"mm2pl.{name}")
        if not name.startswith("_"):
            for room in _ROOMS:
                value = vars(import_module(f"mm2pl.{room}")).get(name)
                # A room's own files are not names of the package: `mm2pl.registry.utils` is not `mm2pl.utils`.
                if value is not None and not isinstance(value, ModuleType):
                    return value
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
