"""What MMEngine's own runs leave behind is taken back, like what ours leave."""

from __future__ import annotations

import gc
import sys
import warnings
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def _restored_mmengine() -> Iterator[None]:
    """Forget the loggers, hubs and scopes that a test makes in MMEngine, and close their files."""
    yield
    if "mmengine.utils" not in sys.modules:
        return
    from mmengine.utils import ManagerMixin

    for cls in _managed(ManagerMixin):
        for instance in cls._instance_dict.values():
            for handler in getattr(instance, "handlers", ()):
                handler.close()
        cls._instance_dict.clear()
    with warnings.catch_warnings():  # files that MMEngine's Runner never closes
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


def _managed(cls: type) -> list[type]:
    return [cls, *(found for sub in cls.__subclasses__() for found in _managed(sub))]
