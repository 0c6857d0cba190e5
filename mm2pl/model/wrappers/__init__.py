"""Models for several processes."""

from typing import Any

from mm2pl.model.wrappers.distributed import MMDistributedDataParallel as MMDistributedDataParallel
from mm2pl.model.wrappers.seperate_distributed import (
    MMSeparateDistributedDataParallel as MMSeparateDistributedDataParallel,
)
from mm2pl.model.wrappers.utils import is_model_wrapper as is_model_wrapper


def __getattr__(name: str) -> Any:
    # torch.distributed.fsdp takes a second to import, and few need it.
    if name != "MMFullyShardedDataParallel":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from mm2pl.model.wrappers.fully_sharded_distributed import MMFullyShardedDataParallel

    return MMFullyShardedDataParallel
