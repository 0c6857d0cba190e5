"""Ranks, groups and devices of a distributed run; the functions of `mmengine.dist.utils`.

Without a process group every function answers as one process of one: rank 0, world size 1.
"""

from __future__ import annotations

import datetime
import functools
import os
import subprocess
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from importlib import import_module
from typing import Any, TypeVar

import numpy as np
import torch
import torch.multiprocessing as mp
from torch import distributed as torch_dist
from torch.distributed import ProcessGroup

from mm2pl import device as devices
from mm2pl.errors import ArgumentError, ReadableKeyError, StateError

Function = TypeVar("Function", bound=Callable[..., Any])

_LOCAL_PROCESS_GROUP: ProcessGroup | None = None

BACKEND_DEVICES = {
    "nccl": "cuda",
    "smddp": "cuda",
    "hccl": "npu",
    "cncl": "mlu",
    "mccl": "musa",
}
"""The type of device that a backend communicates on; all others use the CPU."""

_VENDOR_BACKENDS = {"mlu": "cncl", "npu": "hccl", "musa": "mccl"}


def is_distributed() -> bool:
    """Return whether a process group has been made."""
    return torch_dist.is_available() and torch_dist.is_initialized()


def get_default_group() -> ProcessGroup | None:
    """Return the group of all processes."""
    # None without a process group, where MMEngine 0.10.7 raises ValueError.
    return torch_dist.group.WORLD


def get_local_group() -> ProcessGroup | None:
    """Return the group of this machine's processes.

    Raises:
        RuntimeError: :func:`init_local_group` was not called.
    """
    if not is_distributed():
        return None
    if _LOCAL_PROCESS_GROUP is None:
        raise StateError(
            "Local process group is not created, please use `init_local_group` to setup local "
            "process group."
        )
    return _LOCAL_PROCESS_GROUP


def init_local_group(node_rank: int, num_gpus_per_node: int) -> None:
    """Make the group of this machine's processes; every process must call it.

    Args:
        node_rank: The number of this machine.
        num_gpus_per_node: How many processes each machine runs.

    Raises:
        ArgumentError: The group exists already.
    """
    global _LOCAL_PROCESS_GROUP
    if _LOCAL_PROCESS_GROUP is not None:
        raise ArgumentError("The local process group exists already: call init_local_group once.")
    first = node_rank * num_gpus_per_node
    _LOCAL_PROCESS_GROUP = torch_dist.new_group(list(range(first, first + num_gpus_per_node)))


def infer_launcher() -> str:
    """Return which launcher's environment variables are set.

    That is ``'pytorch'``, ``'slurm'``, ``'mpi'`` or ``'none'``.
    """
    # In MMEngine's order: torchrun inside a SLURM job has the variables of both.
    variables = {
        "WORLD_SIZE": "pytorch",
        "SLURM_NTASKS": "slurm",
        "OMPI_COMM_WORLD_LOCAL_RANK": "mpi",
    }
    return next((name for variable, name in variables.items() if variable in os.environ), "none")


def init_dist(
    launcher: str, backend: str = "nccl", init_backend: str = "torch", **kwargs: Any
) -> None:
    """Make the process group that the launcher's environment variables describe.

    A Trainer makes its own; this is for code that runs without one.

    Args:
        launcher: ``'pytorch'`` (torchrun), ``'slurm'`` or ``'mpi'``.
        backend: ``'nccl'`` (on a CPU ``'gloo'`` is taken for it), ``'gloo'``, ``'mpi'``, …
        init_backend: ``'torch'`` or ``'deepspeed'``.
        **kwargs: For `torch.distributed.init_process_group`, but ``timeout`` is in seconds;
            ``port`` for SLURM.

    Raises:
        TypeError: ``timeout`` is not a number.
        ValueError: The launcher or ``init_backend`` is unknown.
    """
    if (timeout := kwargs.get("timeout")) is not None:
        try:
            # torch wants a timedelta, which a config does not hold.
            kwargs["timeout"] = datetime.timedelta(seconds=timeout)
        except TypeError as error:
            raise ArgumentError(
                "Timeout for distributed training must be provided as timeout in seconds, but got "
                f"{timeout!r}: write dist_cfg=dict(backend='nccl', timeout=1800)."
            ) from error
    launchers = {"pytorch": _read_torchrun, "slurm": _read_slurm, "mpi": _read_mpi}
    if launcher not in launchers:
        raise ArgumentError(
            f"Invalid launcher type: {launcher!r}, choose from {', '.join(launchers)}."
        )
    if init_backend not in ("torch", "deepspeed"):
        raise ArgumentError(
            f'supported "init_backend" is "torch" or "deepspeed", not {init_backend}'
        )
    # As MMEngine 0.10.7: a process that is forked after CUDA has started cannot use CUDA.
    if mp.get_start_method(allow_none=True) is None:
        mp.set_start_method("spawn")
    # torch's init_process_group does not know `port`.
    local_rank = launchers[launcher](kwargs.pop("port", None))
    _set_device(local_rank)
    if init_backend == "deepspeed":
        import_module("deepspeed").init_distributed(dist_backend=backend, **kwargs)
        return
    device = devices.get_device()
    if device == "cpu" and backend == "nccl":
        # The default of MMEngine's configs, with which it fails without a GPU; under our strategies it is gloo too.
        backend = "gloo"
    torch_dist.init_process_group(
        # As in MMEngine 0.10.7, a vendor's device has its own backend, no matter what the config says.
        backend=_VENDOR_BACKENDS.get(device, backend),
        **kwargs,
    )


def _require(launcher: str, variables: Sequence[str], how: str) -> None:
    missing = [name for name in variables if name not in os.environ]
    if missing:
        raise ReadableKeyError(
            f"launcher={launcher!r} needs the environment variable {missing[0]}: start with {how}."
        )


def _read_torchrun(port: int | None) -> int:
    _require("pytorch", ("RANK", "LOCAL_RANK", "WORLD_SIZE"), "torchrun")
    return int(os.environ["LOCAL_RANK"])


def _read_mpi(port: int | None) -> int:
    os.environ.setdefault("MASTER_PORT", "29500")
    if "MASTER_ADDR" not in os.environ:
        raise ReadableKeyError("The environment variable MASTER_ADDR is not set")
    prefix = "OMPI_COMM_WORLD_"
    _require("mpi", [prefix + name for name in ("SIZE", "RANK", "LOCAL_RANK")], "Open MPI's mpirun")
    os.environ["WORLD_SIZE"] = os.environ[f"{prefix}SIZE"]
    rank = os.environ["RANK"] = os.environ[f"{prefix}RANK"]
    # MMEngine 0.10.7 leaves these out; without them Lightning would start processes of its own.
    local_rank = os.environ["LOCAL_RANK"] = os.environ[f"{prefix}LOCAL_RANK"]
    local_size = int(os.environ.get(f"{prefix}LOCAL_SIZE", os.environ["WORLD_SIZE"]))
    os.environ.setdefault("NODE_RANK", str(int(rank) // local_size))
    return int(local_rank)


def _read_slurm(port: int | None) -> int:
    # MMEngine 0.10.7 asks for SLURM_NODELIST even where MASTER_ADDR is known.
    nodes = () if "MASTER_ADDR" in os.environ else ("SLURM_NODELIST",)
    _require("slurm", ("SLURM_PROCID", "SLURM_NTASKS", *nodes), "srun")
    rank = int(os.environ["SLURM_PROCID"])
    local_rank = os.environ.get("SLURM_LOCALID")
    if local_rank is None:
        # MMEngine 0.10.7 divides by the number of GPUs, which may be 0.
        local_rank = str(rank % max(torch.cuda.device_count(), 1))
    if port is not None:
        os.environ["MASTER_PORT"] = str(port)
    os.environ.setdefault("MASTER_PORT", "29500")
    if nodes:
        command = ["scontrol", "show", "hostname", os.environ["SLURM_NODELIST"]]
        os.environ["MASTER_ADDR"] = subprocess.check_output(command, text=True).split()[0]
    world = os.environ["WORLD_SIZE"] = os.environ["SLURM_NTASKS"]
    # `srun -n 2` does not say it, and Lightning refuses to go on without.
    each = int(world) // int(os.environ.get("SLURM_NNODES", "1"))
    os.environ.setdefault("SLURM_NTASKS_PER_NODE", str(each))
    os.environ["LOCAL_RANK"] = local_rank
    os.environ["RANK"] = str(rank)
    return int(local_rank)


def _set_device(local_rank: int) -> None:
    # MMEngine 0.10.7 calls torch.cuda.set_device even where there is no CUDA, and fails.
    kind = devices.get_device()
    if kind in ("cuda", *_VENDOR_BACKENDS):
        getattr(torch, kind).set_device(local_rank)


def get_backend(group: ProcessGroup | None = None) -> str | None:
    """Return the name of the group's backend; None without a process group.

    ``group``: see `mm2pl.dist`.
    """
    return torch_dist.get_backend(group) if is_distributed() else None


def get_world_size(group: ProcessGroup | None = None) -> int:
    """Return how many processes the group has.

    ``group``: see `mm2pl.dist`.
    """
    return torch_dist.get_world_size(group) if is_distributed() else 1


def get_rank(group: ProcessGroup | None = None) -> int:
    """Return this process's rank in the group.

    ``group``: see `mm2pl.dist`.
    """
    return torch_dist.get_rank(group) if is_distributed() else 0


_SHARE: ContextVar[tuple[int, int] | None] = ContextVar("share", default=None)


def get_dist_info(group: ProcessGroup | None = None) -> tuple[int, int]:
    """Return rank and world size; inside :func:`sharing_data`, those of the shares of the data.

    ``group``: see `mm2pl.dist`. With one given, the shares do not matter.
    """
    share = _SHARE.get()
    if share is not None and group is None:
        return share
    return get_rank(group), get_world_size(group)


@contextmanager
def sharing_data(rank: int, world_size: int) -> Iterator[None]:
    """Let :func:`get_dist_info` answer for one of ``world_size`` shares of the data, while a loader is built.

    A share is not always a process: under tensor parallelism several processes take the same batches, and XLA's
    processes have no process group.
    """
    token = _SHARE.set((rank, world_size))
    try:
        yield
    finally:
        _SHARE.reset(token)


def get_local_size() -> int:
    """Return how many processes run on this machine."""
    return _local("LOCAL_WORLD_SIZE", 1, torch_dist.get_world_size)


def get_local_rank() -> int:
    """Return this process's number on its machine."""
    return _local("LOCAL_RANK", 0, torch_dist.get_rank)


def _local(variable: str, alone: int, ask: Callable[[ProcessGroup | None], int]) -> int:
    if not is_distributed():
        return alone
    # Launchers tell it too, so that a Trainer's processes need no local group.
    if _LOCAL_PROCESS_GROUP is None and variable in os.environ:
        return int(os.environ[variable])
    return ask(get_local_group())


def is_main_process(group: ProcessGroup | None = None) -> bool:
    """Return whether this process has rank 0 in the group.

    ``group``: see `mm2pl.dist`.
    """
    return get_rank(group) == 0


def master_only(func: Function) -> Function:
    """Let only rank 0 call ``func``; the others get None."""

    @functools.wraps(func)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return func(*args, **kwargs) if is_main_process() else None

    return wrapper  # type: ignore[return-value]


def barrier(group: ProcessGroup | None = None) -> None:
    """Wait until every process of the group is here.

    ``group``: see `mm2pl.dist`.
    """
    if is_distributed():
        torch_dist.barrier(group)


def get_comm_device(group: ProcessGroup | None = None) -> torch.device:
    """Return the device on which the group communicates.

    ``group``: see `mm2pl.dist`.
    """
    backend = get_backend(group) or ""
    # torch can give a group several backends, such as "cpu:gloo,cuda:nccl".
    kind = next((device for name, device in BACKEND_DEVICES.items() if name in backend), "cpu")
    if kind == "cpu":
        return torch.device("cpu")
    return torch.device(kind, getattr(torch, kind).current_device())


def _is_sequence(data: Any) -> bool:
    return isinstance(data, Iterable) and not isinstance(data, (str, np.ndarray))


def get_data_device(data: Any) -> torch.device:
    """Return the device of ``data``: a tensor, or a sequence or dict of tensors at any depth.

    Raises:
        ValueError: They are on several devices, or there are none.
        TypeError: There is something else in it.
    """
    if isinstance(data, torch.Tensor):
        return data.device
    if not _is_sequence(data):
        raise ArgumentError(
            f"data should be a Tensor, sequence of tensor or dict, but got {data!r}"
        )
    items = data.values() if isinstance(data, Mapping) else data
    found = list(dict.fromkeys(map(get_data_device, items)))
    if not found:
        raise ArgumentError("data should not be empty.")
    if len(found) > 1:
        raise ArgumentError(f"device type in data should be consistent, but got {found}")
    return found[0]


def cast_data_device(data: Any, device: torch.device, out: Any = None) -> Any:
    """Move a tensor, or all tensors in a sequence or dict, to ``device``.

    Args:
        data: Tensors already there are not copied.
        device: Where to.
        out: Of the same structure; the values are also copied into its tensors.

    Raises:
        TypeError: There is something else in it, or ``out`` is of another type.
        ValueError: It is empty, or ``out`` has another length.
    """
    # A set has no order in which to match its tensors.
    if out is not None and (type(data) is not type(out) or isinstance(out, set)):
        raise ArgumentError(
            "out should be the same type with data and should not be a set, but got data is "
            f"{type(data)} and out is {type(out)}"
        )
    if isinstance(data, torch.Tensor):
        moved = data.to(device)
        if out is not None:
            out.copy_(moved)
        return moved
    if not _is_sequence(data):
        raise ArgumentError(f"data should be a Tensor, list of tensor or dict, but got {data!r}")
    if len(data) == 0:
        raise ArgumentError("data should not be empty")
    # MMEngine 0.10.7 checks dicts only, and fills the beginning of a longer list.
    if out is not None and len(data) != len(out):
        raise ArgumentError(
            f"length of data and out should be same, but got {len(data)} and {len(out)}"
        )
    if isinstance(data, Mapping):
        outs = dict.fromkeys(data) if out is None else out
        return type(data)({k: cast_data_device(v, device, outs[k]) for k, v in data.items()})  # type: ignore[call-arg]
    outs = [None] * len(data) if out is None else out
    return type(data)([cast_data_device(v, device, o) for v, o in zip(data, outs, strict=True)])
