"""What each of two real processes does; run as a script by ``test_dist.py``.

Writes everything it got to ``<folder>/rank<r>.pt``, by name of the scenario.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

SCENARIOS: dict[str, Any] = {}


def scenario(function: Any) -> Any:
    SCENARIOS[function.__name__] = function
    return function


@scenario
def info(dist: Any, rank: int, folder: Path) -> Any:
    return {
        "info": dist.get_dist_info(),
        "main": dist.is_main_process(),
        "distributed": dist.is_distributed(),
        "backend": dist.get_backend(),
        "comm_device": str(dist.get_comm_device()),
        "launcher": dist.infer_launcher(),
        "master_only": dist.master_only(lambda x: x + 1)(1),
    }


@scenario
def all_reduce(dist: Any, rank: int, folder: Path) -> Any:
    results = {}
    for op in ("sum", "mean", "min", "max", "product", "SUM"):
        for dtype in (torch.float32, torch.int64):
            data = torch.tensor([1, 2, 3], dtype=dtype) + rank
            dist.all_reduce(data, op)
            results[f"{op} {dtype}"] = data
    for op in ("band", "bor", "bxor"):
        data = torch.tensor([1, 2, 3]) + rank
        dist.all_reduce(data, op)
        results[op] = data
    strided = torch.arange(6.0).reshape(2, 3).t() + rank
    dist.all_reduce(strided)
    return {**results, "strided": strided}


@scenario
def gathering(dist: Any, rank: int, folder: Path) -> Any:
    data = torch.arange(2) + 10 * rank
    return {
        "all_gather": dist.all_gather(data),
        "gather 0": dist.gather(data),
        "gather 1": dist.gather(data, dst=1),
        "all_gather_object": dist.all_gather_object({"rank": rank}),
        "gather_object 0": dist.gather_object("x" * (rank + 1)),
        "gather_object 1": dist.gather_object("x" * (rank + 1), dst=1),
    }


@scenario
def broadcasting(dist: Any, rank: int, folder: Path) -> Any:
    tensors = {}
    for src in (0, 1):
        data = (torch.arange(6).reshape(2, 3) + 10 * rank).t()
        dist.broadcast(data, src)
        tensors[src] = data
    objects = ["a", {"b": 1}] if rank == 0 else [None, None]
    dist.broadcast_object_list(objects)
    np.random.seed(rank)
    return {
        **tensors,
        "objects": objects,
        "seed": dist.sync_random_seed(),
        "next": np.random.rand(),
    }


@scenario
def dicts_and_params(dist: Any, rank: int, folder: Path) -> Any:
    results: dict[Any, Any] = {}
    for op in ("sum", "mean"):
        keys = ("b", "a") if rank else ("a", "b")
        data = {key: torch.full((2, ord(key) - 96), rank + 1.0) for key in keys}
        dist.all_reduce_dict(data, op)
        results[op] = dict(sorted(data.items()))
    for bucket in (False, -1, 1):
        params = [torch.full((n,), float(rank), dtype=t) for n, t in PARAMS]
        generator = (p for p in params)
        dist.all_reduce_params(generator, bool(bucket), bucket or -1, "mean")
        results[bucket] = [(p.shape[0], p.dtype, set(p.tolist())) for p in params]
    return results


PARAMS = [(3, torch.float32), (300_000, torch.float32), (5, torch.float64), (4, torch.float32)]


@scenario
def collecting(dist: Any, rank: int, folder: Path) -> Any:
    # Five samples dealt to two processes, the sixth is a copy that makes the counts equal.
    mine = [0, 2, 4] if rank == 0 else [1, 3, 0]
    shared = folder / "shared"
    results = {
        "cpu": dist.collect_results(mine, 5),
        "gpu": dist.collect_results(mine, 5, "gpu"),
        "tmpdir": dist.collect_results(mine, 5, "cpu", str(shared)),
        "uneven": dist.collect_results([0, 2, 4] if rank == 0 else [1, 3], 5),
        "none": dist.collect_results([0, None] if rank == 0 else [1, 3], 4),
        "objects": dist.collect_results_cpu([{"rank": rank}], 2),
    }
    dist.barrier()
    return {**results, "left": shared.exists()}


@scenario
def local_group(dist: Any, rank: int, folder: Path) -> Any:
    before = (dist.get_local_rank(), dist.get_local_size())
    local_rank = os.environ.pop("LOCAL_RANK")
    try:
        dist.get_local_rank()
    except RuntimeError as error:
        message = str(error)
    os.environ["LOCAL_RANK"] = local_rank
    dist.init_local_group(0, 2)
    after = (dist.get_local_rank(), dist.get_local_size())
    return {"before": before, "message": message, "after": after}


def main() -> None:
    package, folder = sys.argv[1], Path(sys.argv[2])
    import importlib

    dist = importlib.import_module(f"{package}.dist")
    if package == "mm2pl":
        dist.init_dist("pytorch", backend="gloo", timeout=60)
    else:  # MMEngine's needs CUDA
        torch.distributed.init_process_group("gloo")
    rank = dist.get_rank()
    names = sys.argv[3:] or list(SCENARIOS)
    results = {name: SCENARIOS[name](dist, rank, folder) for name in names}
    torch.save(results, folder / f"rank{rank}.pt")
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main()
