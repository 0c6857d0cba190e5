"""Test a 1.x model over a loader; stands for `mmcv.engine`."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from mm2pl.dist import collect_results_cpu as collect_results_cpu
from mm2pl.dist import collect_results_gpu as collect_results_gpu
from mm2pl.dist import get_dist_info
from mm2pl.mmcv.deep import serve
from mm2pl.utils import ProgressBar


def single_gpu_test(model: nn.Module, data_loader: Any) -> list[Any]:
    """Return the results of ``model(return_loss=False, **batch)`` over a loader, in its order.

    Args:
        model: Switched to evaluation mode; it stays there.
        data_loader: Its batches are dicts.
    """
    # MMCV 1.7.2 leaves the model in evaluation mode: the next training epoch calls `train()`.
    model.eval()
    results: list[Any] = []
    bar = ProgressBar(len(data_loader.dataset))
    for data in data_loader:
        with torch.no_grad():
            # 1.x models have one `forward` for both uses. A model without this argument is none of 1.x'.
            result = model(return_loss=False, **data)
        results.extend(result)
        bar.update(len(result))
    return results


def multi_gpu_test(
    model: nn.Module, data_loader: Any, tmpdir: str | None = None, gpu_collect: bool = False
) -> list[Any] | None:
    """Do `single_gpu_test` in each process; return all results on rank 0, None elsewhere.

    Args:
        model: Switched to evaluation mode; it stays there.
        data_loader: Its batches are dicts; its sampler deals samples out to the processes in turn.
        tmpdir: A shared folder to collect results in.
        gpu_collect: Collect them over the network instead.
    """
    model.eval()
    results: list[Any] = []
    # MMCV 1.7.2 sleeps for two seconds after this, against a deadlock of old loaders between epochs.
    rank, world_size = get_dist_info()
    total = len(data_loader.dataset)
    bar = ProgressBar(total) if rank == 0 else None
    for data in data_loader:
        with torch.no_grad():
            result = model(return_loss=False, **data)
        results.extend(result)
        if bar is not None:
            # Rank 0 guesses that all ranks are as far as it is. The
            # sampler's padding would push the bar beyond its end.
            bar.update(min(len(result) * world_size, total - bar.completed))
    # The sampler pads the last round with repeats; collecting in the samplers' order cuts to `total`.
    if gpu_collect:
        return collect_results_gpu(results, total)
    return collect_results_cpu(results, total, tmpdir)


serve("engine")
