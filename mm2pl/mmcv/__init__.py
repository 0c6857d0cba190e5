"""MMCV 1.x projects: their configs and code brought over, or run as they are.

`migrate_config` is imported at once; the names of MMCV 1.x itself (``mm2pl.mmcv.EpochBasedRunner``,
``mm2pl.mmcv.mkdir_or_exist``…) when they are first used.
"""

from importlib import import_module
from typing import Any

from mm2pl.mmcv.deep import serve
from mm2pl.mmcv.migration import Entry as Entry
from mm2pl.mmcv.migration import Migrated as Migrated
from mm2pl.mmcv.migration import Report as Report
from mm2pl.mmcv.migration import Status as Status
from mm2pl.mmcv.migration import migrate_config as migrate_config
from mm2pl.mmcv.migration import migrate_with_report as migrate_with_report

# `mmcv` itself re-exported mmcv.utils and mmcv.fileio, and 1.x code writes mmcv.runner after a mere `import mmcv`.
# The order is that of the search: cheap modules first, since the runner imports Lightning.
_ROOMS = (
    "mm2pl.mmcv.utils",
    "mm2pl.fileio",
    "mm2pl.mmcv.parallel",
    "mm2pl.mmcv.runner",
    "mm2pl.mmcv.engine",
    "mm2pl.mmcv.model",
)


def __getattr__(name: str) -> Any:
    """Return a name of MMCV 1.x."""
    # Python asks packages for names such as `__path__`: importing all of them for that would make each import slow.
    if not name.startswith("_"):
        for room in _ROOMS:
            if name == room.rpartition(".")[2]:
                return import_module(room)
            module = import_module(room)
            if hasattr(module, name):
                return getattr(module, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


serve("fileio")
