"""Run MMEngine-style projects on the PyTorch Lightning Trainer.

As `mmengine` does, the package itself has the names of its config, fileio, logging, registry and utils
rooms: ``from mm2pl import Config, MODELS, print_log``. They are imported on first use.
"""

from importlib import import_module
from typing import Any

from mm2pl.version import __version__ as __version__
from mm2pl.version import version_info as version_info

_ROOMS = ("registry", "utils", "logging", "fileio", "config")


def __getattr__(name: str) -> Any:
    """Return a public name of one of the rooms."""
    # Python and its tools ask modules for names such as __path__, which must not import the rooms.
    if not name.startswith("_"):
        for room in _ROOMS:
            module = import_module(f"mm2pl.{room}")
            if name in vars(module):
                return vars(module)[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
