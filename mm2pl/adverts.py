"""Words of other libraries at the start of a run which nobody here can act on."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

WARNINGS = (
    # Lightning 2.5 to 2.6 ask torch >= 2.9 so in their own pytree walk → goes with Lightning's next release.
    r"`isinstance\(treespec, LeafSpec\)` is deprecated, use `isinstance\(treespec, TreeSpec\) and ",
    # jsonargparse >= 4.49 of LightningCLI 2.6's calls → goes with Lightning's next release.
    r"\s*``instantiate_classes`` was deprecated in v4\.49\.0",
    r"\s*By default only one JsonargparseDeprecationWarning per type is shown\.",
)
"""Beginnings of warnings."""

LOG = (
    # Lightning 2.6 advertises a package of its makers at each start → may go when it stops.
    "💡 Tip: For seamless cloud logging and experiment tracking,",
    "💡 Tip: For seamless cloud uploads and versioning,",
)
"""Beginnings of log records."""


class _Adverts(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether a record is to be printed."""
        return not (isinstance(record.msg, str) and record.msg.startswith(LOG))


@contextmanager
def without_adverts() -> Iterator[None]:
    """Leave out :data:`WARNINGS` and :data:`LOG` as long as a command runs."""
    adverts = _Adverts()
    # A logger's filter does not see its children's records; Lightning 2.5 to 2.6 write these into this very logger.
    logger = logging.getLogger("lightning.pytorch.utilities.rank_zero")
    with warnings.catch_warnings():
        for text in WARNINGS:
            warnings.filterwarnings("ignore", text)
        logger.addFilter(adverts)
        try:
            yield
        finally:
            logger.removeFilter(adverts)
