"""An optimizer whose states are spread over the processes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch.distributed.optim import ZeroRedundancyOptimizer as _ZeroRedundancyOptimizer

from mm2pl.dist import is_main_process
from mm2pl.registry import OPTIMIZERS


@OPTIMIZERS.register_module()
class ZeroRedundancyOptimizer(_ZeroRedundancyOptimizer):
    """Build torch's `ZeroRedundancyOptimizer` from the name of an optimizer.

    Stands for `mmengine.optim.ZeroRedundancyOptimizer`.

    Args:
        params: Parameters or param groups.
        optimizer_type: The name of a class in `torch.optim`, such as ``'AdamW'``.
        **kwargs: As of torch's class, the arguments of ``optimizer_type`` included.
    """

    def __init__(self, params: Iterable[Any], optimizer_type: str, **kwargs: Any) -> None:
        super().__init__(list(params), getattr(torch.optim, optimizer_type), **kwargs)

    def state_dict(self) -> dict[str, Any]:
        """Gather the whole state on the main process; the others return an empty dict.

        Every process must call this.
        """
        # A collective, to rank 0 by default; on the others torch's state_dict() would raise.
        self.consolidate_state_dict()
        return super().state_dict() if is_main_process() else {}
