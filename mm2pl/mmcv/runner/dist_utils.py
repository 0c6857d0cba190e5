"""What 1.x code imports from `mmcv.runner.dist_utils`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch

from mm2pl.dist import all_reduce_params
from mm2pl.dist import get_dist_info as get_dist_info
from mm2pl.dist import init_dist as init_dist
from mm2pl.dist import master_only as master_only


def allreduce_params(
    params: Iterable[torch.Tensor], coalesce: bool = True, bucket_size_mb: int = -1
) -> None:
    """Average ``params``, parameters or buffers, over all processes, in place; integers stay as they are.

    ``coalesce`` and ``bucket_size_mb`` are those of :func:`all_reduce_params`.
    """
    # BatchNorm's `num_batches_tracked` is an integer: MMCV 1.7.2 divides it in place, which torch refuses.
    tensors = [param.data for param in params if param.is_floating_point()]
    all_reduce_params(tensors, coalesce=coalesce, bucket_size_mb=bucket_size_mb, op="mean")


def allreduce_grads(
    params: Iterable[torch.nn.Parameter], coalesce: bool = True, bucket_size_mb: int = -1
) -> None:
    """Average the gradients of ``params`` over all processes, in place.

    ``coalesce`` and ``bucket_size_mb`` are those of :func:`all_reduce_params`.
    """
    grads: list[Any] = [p.grad.data for p in params if p.requires_grad and p.grad is not None]
    all_reduce_params(grads, coalesce=coalesce, bucket_size_mb=bucket_size_mb, op="mean")
