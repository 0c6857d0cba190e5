"""Collective operations; the functions of `mmengine.dist`.

Tensors may be on any device: they travel on the group's. With one process nothing is communicated.
"""

from __future__ import annotations

import os
import pickle
import tempfile
from collections.abc import Iterable
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import distributed as torch_dist
from torch.distributed import ProcessGroup

from mm2pl.dist.utils import (
    barrier,
    cast_data_device,
    get_backend,
    get_comm_device,
    get_dist_info,
    get_rank,
    get_world_size,
)
from mm2pl.errors import ArgumentError, MissingFileError, UnsupportedError

_REDUCE_OPS = ("sum", "product", "min", "max", "band", "bor", "bxor")


def _get_reduce_op(name: str) -> Any:
    if name.lower() not in _REDUCE_OPS:
        raise ArgumentError(
            f"reduce op should be one of mean, {', '.join(_REDUCE_OPS)}, got {name!r}"
        )
    return getattr(torch_dist.ReduceOp, name.upper())


def all_reduce(data: torch.Tensor, op: str = "sum", group: ProcessGroup | None = None) -> None:
    """Combine ``data`` of all processes, in place.

    Args:
        data: Of the same shape everywhere.
        op: mean, sum, product, min, max, band, bor or bxor.
        group: See `mm2pl.dist`.
    """
    world_size = get_world_size(group)
    if world_size == 1:
        return
    mean = op.lower() == "mean"
    reduced = data.to(get_comm_device(group))
    torch_dist.all_reduce(reduced, _get_reduce_op("sum" if mean else op), group)
    # A true division: in a tensor of integers copy_ cuts the fraction off, as in MMEngine 0.10.7.
    data.copy_(reduced / world_size if mean else reduced)


def all_gather(data: torch.Tensor, group: ProcessGroup | None = None) -> list[torch.Tensor]:
    """Return the tensors ``data`` of all processes, by rank; they must have the same shape.

    ``group``: see `mm2pl.dist`.
    """
    world_size = get_world_size(group)
    if world_size == 1:
        return [data]
    sent = data.to(get_comm_device(group))
    received = [torch.empty_like(sent) for _ in range(world_size)]
    torch_dist.all_gather(received, sent, group)
    return cast_data_device(received, data.device)


def gather(
    data: torch.Tensor, dst: int = 0, group: ProcessGroup | None = None
) -> list[torch.Tensor]:
    """Return the tensors ``data`` of all processes at rank ``dst``, an empty list elsewhere.

    They must have the same shape. ``group``: see `mm2pl.dist`.
    """
    world_size = get_world_size(group)
    if world_size == 1:
        return [data]
    sent = data.to(get_comm_device(group))
    if get_rank(group) != dst:
        # MMEngine 0.10.7 sends `data` as it is, which may lie on another device than the group's.
        torch_dist.gather(sent, None, dst, group)
        return []
    received = [torch.empty_like(sent) for _ in range(world_size)]
    torch_dist.gather(sent, received, dst, group)
    return cast_data_device(received, data.device)


def broadcast(data: torch.Tensor, src: int = 0, group: ProcessGroup | None = None) -> None:
    """Copy ``data`` of rank ``src`` into that of the others, in place.

    ``group``: see `mm2pl.dist`.
    """
    if get_world_size(group) == 1:
        return
    # torch broadcasts contiguous memory only.
    sent = data.to(get_comm_device(group)).contiguous()
    torch_dist.broadcast(sent, src, group)
    if get_rank(group) != src:
        data.copy_(sent)


def sync_random_seed(group: ProcessGroup | None = None) -> int:
    """Return one random seed for all processes, drawn by rank 0 with NumPy's generator.

    Every process draws, so that their generators stay in step.

    ``group``: see `mm2pl.dist`.
    """
    seed = np.random.randint(2**31)
    if get_world_size(group) == 1:
        return seed
    # The seed is below 2**31, so int32 holds it.
    tensor = torch.tensor(seed, dtype=torch.int32, device=get_comm_device(group))
    torch_dist.broadcast(tensor, src=0, group=group)
    return int(tensor.item())


def broadcast_object_list(data: list[Any], src: int = 0, group: ProcessGroup | None = None) -> None:
    """Replace the picklable items of ``data`` by those of rank ``src``, in place.

    ``group``: see `mm2pl.dist`.

    Raises:
        ArgumentError: ``data`` is not a list.
    """
    if not isinstance(data, list):
        raise ArgumentError(f"data should be a list, but got {type(data)}")
    if get_world_size(group) > 1:
        torch_dist.broadcast_object_list(data, src, group)


def all_gather_object(data: Any, group: ProcessGroup | None = None) -> list[Any]:
    """Return the picklable objects ``data`` of all processes, by rank.

    ``group``: see `mm2pl.dist`.
    """
    world_size = get_world_size(group)
    if world_size == 1:
        return [data]
    received: list[Any] = [None] * world_size
    torch_dist.all_gather_object(received, data, group)
    return received


def gather_object(data: Any, dst: int = 0, group: ProcessGroup | None = None) -> list[Any] | None:
    """Return the picklable objects ``data`` of all processes at rank ``dst``, None elsewhere.

    ``group``: see `mm2pl.dist`.
    """
    world_size = get_world_size(group)
    if world_size == 1:
        return [data]
    # torch refuses a list on the other ranks.
    received: list[Any] | None = [None] * world_size if get_rank(group) == dst else None
    torch_dist.gather_object(data, received, dst, group)
    return received


def all_reduce_dict(
    data: dict[str, torch.Tensor], op: str = "sum", group: ProcessGroup | None = None
) -> None:
    """Combine the tensors of a dict, in one operation; its values are replaced.

    The keys and shapes must be the same everywhere. Tensors of several dtypes all become what they
    promote to, as in MMEngine.

    ``op``: as for :func:`all_reduce`. ``group``: see `mm2pl.dist`.

    Raises:
        ArgumentError: ``data`` is not a dict.
    """
    if not isinstance(data, dict):
        raise ArgumentError(f"data should be a dict, but got {type(data)}")
    if get_world_size(group) == 1:
        return
    # Each process may have filled its dict in another order.
    keys = sorted(data)
    flat = torch.cat([data[key].flatten() for key in keys])
    all_reduce(flat, op, group)
    parts = flat.split([data[key].numel() for key in keys])
    data.update({k: part.reshape(data[k].shape) for k, part in zip(keys, parts, strict=True)})


def all_reduce_params(
    params: Iterable[torch.Tensor],
    coalesce: bool = True,
    bucket_size_mb: int = -1,
    op: str = "sum",
    group: ProcessGroup | None = None,
) -> None:
    """Combine parameters or buffers, in place.

    Args:
        params: What to combine.
        coalesce: Send many at a time.
        bucket_size_mb: The most to send at a time, in MiB; -1: all of one dtype.
        op: As for :func:`all_reduce`.
        group: See `mm2pl.dist`.
    """
    if get_world_size(group) == 1:
        return
    # .data, since autograd forbids to change a parameter in place.
    tensors = [param.data for param in params]
    buckets = _buckets(tensors, bucket_size_mb * 2**20) if coalesce else [[t] for t in tensors]
    for bucket in buckets:
        flat = torch.cat([tensor.flatten() for tensor in bucket])
        all_reduce(flat, op, group)
        for tensor, part in zip(bucket, flat.split([t.numel() for t in bucket]), strict=True):
            tensor.copy_(part.view_as(tensor))


def _buckets(tensors: list[torch.Tensor], max_bytes: int) -> list[list[torch.Tensor]]:
    """Group tensors by dtype and device, up to ``max_bytes`` each (not positive: no limit)."""
    done: list[list[torch.Tensor]] = []
    filling: dict[Any, list[torch.Tensor]] = {}
    for tensor in tensors:
        bucket = filling.setdefault((tensor.dtype, tensor.device), [])
        # A tensor that is larger than the limit travels alone.
        if max_bytes > 0 and sum(t.nbytes for t in [*bucket, tensor]) > max_bytes and bucket:
            done.append(bucket)
            bucket = filling[tensor.dtype, tensor.device] = []
        bucket.append(tensor)
    return [*done, *filling.values()]


def collect_results(
    results: list[Any], size: int, device: str = "cpu", tmpdir: str | None = None
) -> list[Any] | None:
    """Return all processes' results in the order of the data set at rank 0, None elsewhere.

    Rank r of n must hold those of the samples r, r + n, r + 2n, …, as `DefaultSampler` deals them.

    Args:
        results: This process's, one per sample. None is left out, as in MMEngine.
        size: The length of the data set; what a sampler added to it is cut off.
        device: ``'cpu'``, ``'gpu'`` or ``'npu'``: over what they travel.
        tmpdir: With ``'cpu'``: a directory that all processes share, to exchange files.

    Raises:
        NotImplementedError: Another ``device``.
    """
    if device not in ("cpu", "gpu", "npu"):
        raise UnsupportedError(f"device must be 'cpu' , 'gpu' or 'npu', but got {device!r}")
    if device == "cpu":
        return collect_results_cpu(results, size, tmpdir)
    if tmpdir is not None:
        raise ArgumentError(f"tmpdir should be None when device is {device}, but got {tmpdir!r}")
    return collect_results_gpu(results, size)


def collect_results_gpu(result_part: list[Any], size: int) -> list[Any] | None:
    """Collect results over the group's device; see :func:`collect_results`.

    ``result_part`` is this process's ``results``. They must be picklable.
    """
    rank, world_size = get_dist_info()
    if world_size == 1:
        return result_part[:size]
    parts = all_gather_object(result_part)  # NCCL cannot gather
    return _in_order(parts, size) if rank == 0 else None


def collect_results_cpu(
    result_part: list[Any], size: int, tmpdir: str | None = None
) -> list[Any] | None:
    """Collect results without the GPU; see :func:`collect_results`.

    Without ``tmpdir`` they travel over the group if that is gloo's, else through files in a new
    directory below ``./.dist_test``, which all processes must share.

    ``result_part`` is this process's ``results``.

    Raises:
        FileNotFoundError: The processes do not see the same folder.
    """
    rank, world_size = get_dist_info()
    if world_size == 1:
        return result_part[:size]
    if tmpdir is None and get_comm_device().type == "cpu" and get_backend() != "mpi":
        gathered = gather_object(result_part)
        return None if gathered is None else _in_order(gathered, size)
    shared = _shared_directory(tmpdir, rank)
    # Plain open: MMEngine's tools may look for these names.
    with open(shared / f"part_{rank}.pkl", "wb") as file:
        pickle.dump(result_part, file)
    barrier()
    if rank != 0:
        return None
    files = [shared / f"part_{i}.pkl" for i in range(world_size)]
    for i, path in enumerate(files):
        if not path.exists():
            raise MissingFileError(
                f"{shared} is not an shared directory for rank {i}, please make sure {shared} is a "
                "shared directory for all ranks!"
            )
    parts = [pickle.loads(path.read_bytes()) for path in files]
    for path in files:
        path.unlink()
    if not os.listdir(shared):  # MMEngine 0.10.7 removes other files too
        shared.rmdir()
    return _in_order(parts, size)


def _shared_directory(tmpdir: str | None, rank: int) -> Path:
    if tmpdir is not None:
        Path(tmpdir).mkdir(parents=True, exist_ok=True)
        return Path(tmpdir)
    made: list[Any] = [None]
    if rank == 0:
        Path(".dist_test").mkdir(exist_ok=True)
        made = [tempfile.mkdtemp(dir=".dist_test")]
    # mkdtemp chooses the name at random, so the others have to be told.
    broadcast_object_list(made)
    return Path(made[0])


def _in_order(parts: list[list[Any]], size: int) -> list[Any]:
    dealt = chain.from_iterable(zip_longest(*parts))
    return [result for result in dealt if result is not None][:size]
