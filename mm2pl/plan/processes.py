"""How many processes train, and how they share a model: from MMEngine's keys to the Trainer's arguments."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

from mm2pl.errors import ArgumentError, MissingPackageError

DDP = "mm2pl.lightning.ddp.MMDDPStrategy"
FSDP = "mm2pl.lightning.sharding.MMFSDPStrategy"
FSDP2 = "mm2pl.lightning.fully_shard.MMModelParallelStrategy"
DEEPSPEED = "lightning.pytorch.strategies.DeepSpeedStrategy"

MODEL_WRAPPERS = {
    "MMDistributedDataParallel": DDP,
    "MMSeparateDistributedDataParallel": DDP,
    "DistributedDataParallel": DDP,
    "MMFullyShardedDataParallel": FSDP,
    "FullyShardedDataParallel": FSDP,
}
"""What wraps a model in ``model_wrapper_cfg``, and the strategy that does so in Lightning."""

ONE_BY_ONE = ("MMSeparateDistributedDataParallel",)
"""Those that wrap each child of the model by itself."""

STRATEGIES = {
    "SingleDeviceStrategy": DDP,
    "DDPStrategy": DDP,
    "FSDPStrategy": FSDP,
    "FSDP2": FSDP2,
    "ModelParallelStrategy": FSDP2,
    "DeepSpeedStrategy": DEEPSPEED,
}
"""FlexibleRunner's strategies, and FSDP2 by two names. With one process, the strategy has nothing to do."""

# `mmcv` asks for mmcv's compiled layer. The Trainer has only torch's, which takes its place.
SYNC_BN = ("torch", "mmcv")

WORLD_VARIABLES = {
    "pytorch": ("WORLD_SIZE", "LOCAL_WORLD_SIZE", ""),
    "slurm": ("SLURM_NTASKS", "SLURM_NTASKS_PER_NODE", "SLURM_NNODES"),
    "mpi": ("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_SIZE", ""),
}
"""Where a launcher says how many processes there are: in all, on this machine, and on how many machines."""


RANK_VARIABLES = {"pytorch": "RANK", "slurm": "SLURM_PROCID", "mpi": "OMPI_COMM_WORLD_RANK"}
"""Where a launcher says which of its processes this is."""

ALONE = {"class_path": "lightning.pytorch.plugins.environments.LightningEnvironment"}


ALONE_BY_NAME = "single_device"
"""Lightning's name for the strategy of one process, which would leave out other devices without a word."""


def launched_by(environ: Mapping[str, str]) -> str:
    """Return who has unmistakably started this process and others with it; ``"none"``: nobody.

    An allocation of SLURM is not enough: its batch script runs once, with the variables of the allocation.

    >>> launched_by({"TORCHELASTIC_RUN_ID": "none", "WORLD_SIZE": "2"})
    'pytorch'
    >>> launched_by({"SLURM_NTASKS": "4"}), launched_by({"SLURM_STEP_NUM_TASKS": "4"})
    ('none', 'slurm')
    """
    told = {
        "pytorch": "WORLD_SIZE" if "TORCHELASTIC_RUN_ID" in environ else "",
        "slurm": "SLURM_STEP_NUM_TASKS",  # of what `srun` has started
        "mpi": "OMPI_COMM_WORLD_SIZE",
    }
    found = (name for name, variable in told.items() if int(environ.get(variable, 1)) > 1)
    return next(found, "none")


def processes(config: Mapping[str, Any], environ: Mapping[str, str]) -> dict[str, Any]:
    """Return devices, nodes and strategy: one process without a launcher, else those the launcher has started.

    Raises:
        ImportError: The strategy needs a package that is not installed.
        ValueError: ``model_wrapper_cfg``, ``strategy`` or ``sync_bn`` asks for what Lightning does not have.
    """
    launcher = config.get("launcher") or "none"
    if launcher == "none":
        if config.get("strategy"):
            strategy_of(
                config
            )  # a mistake in it is told; model_wrapper_cfg has no effect: nothing wraps the model
        # In an allocation of SLURM, Lightning would wait for the tasks that the batch script may start with `srun`.
        return {"devices": 1, "plugins": [ALONE]} if "SLURM_NTASKS" in environ else {"devices": 1}
    world, local = sizes(launcher, environ)
    return {"devices": local, "num_nodes": max(world // local, 1), **several(config)}


def several(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the Trainer of several processes gets, whoever starts them: a strategy, and synchronised norms.

    Raises:
        ImportError: The strategy needs a package that is not installed.
        ValueError: See :func:`processes`.
    """
    strategy = strategy_of(config)
    if strategy["class_path"] == DEEPSPEED and find_spec("deepspeed") is None:
        raise MissingPackageError(
            "strategy=dict(type='DeepSpeedStrategy') needs the package deepspeed → pip install deepspeed, or use "
            "DDPStrategy or FSDPStrategy"
        )
    sync_bn = config.get("sync_bn")
    if sync_bn not in (None, *SYNC_BN):
        raise ArgumentError(f"sync_bn={sync_bn!r} → one of {list(SYNC_BN)}, or None")
    if sync_bn and strategy["class_path"] == FSDP2:
        raise ArgumentError(
            f"sync_bn={sync_bn!r} with FSDP2 → Lightning synchronises no norms under it: sync_bn=None, or DDPStrategy"
        )
    return {"strategy": strategy, "sync_batchnorm": True} if sync_bn else {"strategy": strategy}


def left_out(config: Mapping[str, Any], strategy: object, sync_batchnorm: bool) -> list[str]:
    """Return the keys of the config that have no effect under a strategy given to the Trainer by name.

    >>> left_out({"find_unused_parameters": True, "sync_bn": "torch"}, "ddp", False)
    ['find_unused_parameters', 'sync_bn']
    """
    if not isinstance(strategy, str) or strategy == "auto":
        return []
    keys = ("model_wrapper_cfg", "strategy", "find_unused_parameters", "sync_bn")
    return [key for key in keys if config.get(key) and not (key == "sync_bn" and sync_batchnorm)]


def are_several(devices: int | str | list[Any], num_nodes: int | str) -> bool:
    """Return whether the Trainer's arguments ask for more than one process.

    >>> [are_several(devices, 1) for devices in (1, "1", [3], "3,", "auto")]
    [False, False, False, False, False]
    >>> are_several(2, 1), are_several("0,1", 1), are_several([0, 1], 1), are_several(1, 2)
    (True, True, True, True)

    Raises:
        ArgumentError: One of them is no number.
    """
    if devices in ("auto", -1, "-1"):
        # Only here: `translate` does without torch, whose import takes a second.
        import torch

        devices = torch.cuda.device_count()
    elif isinstance(devices, str) and "," in devices:
        devices = devices.strip(",").split(",")
    count = len(devices) if isinstance(devices, list) else _number(devices, "devices")
    return count > 1 or _number(num_nodes, "num_nodes") > 1


def _number(value: int | str, name: str) -> int:
    try:
        return int(value)
    except ValueError:
        accepted = ", '0,2' or 'auto'" if name == "devices" else ""
        raise ArgumentError(f"Trainer({name}={value!r}) → a number{accepted}") from None


def sizes(launcher: str, environ: Mapping[str, str]) -> tuple[int, int]:
    """Return how many processes a launcher has started, in all and on this machine.

    >>> sizes("slurm", {"SLURM_NTASKS": "16", "SLURM_NNODES": "2"})
    (16, 8)
    """
    world_name, local_name, nodes_name = WORLD_VARIABLES.get(launcher, WORLD_VARIABLES["pytorch"])
    world = int(environ.get(world_name, 1))
    # SLURM sets the second variable only if --ntasks-per-node was given.
    local = environ.get(local_name) or world // int(environ.get(nodes_name) or 1)
    return world, max(int(local), 1)


def strategy_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the strategy of a run with several processes, in LightningCLI's form.

    Raises:
        ValueError: See :func:`processes`.

    >>> strategy_of({"find_unused_parameters": True})["init_args"]
    {'broadcast_buffers': False, 'find_unused_parameters': True}
    """
    own, wrapper = config.get("strategy"), config.get("model_wrapper_cfg")
    if own:
        kind = _looked_up(own.get("type", "DDPStrategy"), STRATEGIES, "strategy")
        # MMEngine's strategies take the wrapper's arguments in a dict of their own.
        whole = {**own, **(own.get("model_wrapper") or {})}
        arguments = {k: v for k, v in whole.items() if k not in ("type", "model_wrapper")}
    elif wrapper:
        kind = _looked_up(
            wrapper.get("type", "MMDistributedDataParallel"), MODEL_WRAPPERS, "model_wrapper_cfg"
        )
        if wrapper.get("detect_anomalous_params"):
            raise ArgumentError(
                "model_wrapper_cfg has detect_anomalous_params=True → a Trainer has no such search: drop it; where a "
                "loss does not reach all parameters, find_unused_parameters=True trains on"
            )
        # Which device a process has is Lightning's to say.
        unused = ("type", "device_ids", "detect_anomalous_params")
        arguments = {k: v for k, v in wrapper.items() if k not in unused}
        if _short(wrapper.get("type")) in ONE_BY_ONE:
            # A loss needs to reach one child only; Lightning wraps all of them as one.
            arguments["find_unused_parameters"] = True
    else:
        kind = DDP
        arguments = {
            "broadcast_buffers": False,  # MMEngine's default; torch's and Lightning's is True
            "find_unused_parameters": config.get("find_unused_parameters", False),
        }
    if kind == DEEPSPEED:
        arguments = _deepspeed(arguments)
    if kind == DDP and hasattr(sys, "ps1"):
        # A notebook has no script to start once more, so Lightning takes fork there, as for its own DDP.
        arguments = {"start_method": "fork", **arguments}
    dist_cfg = (config.get("env_cfg") or {}).get("dist_cfg") or {}
    if backend := dist_cfg.get("backend"):
        arguments["process_group_backend"] = backend
    if kind != DEEPSPEED and (timeout := dist_cfg.get("timeout")) is not None:
        # Lightning's own wants a timedelta, which is not plain data.
        arguments["timeout"] = timeout
    return {"class_path": kind, "init_args": arguments}


def _deepspeed(arguments: dict[str, Any]) -> dict[str, Any]:
    """Gather what MMEngine spreads over arguments into DeepSpeed's own configuration."""
    rest = {k: v for k, v in arguments.items() if k not in ("config", "exclude_frozen_parameters")}
    config = arguments.get("config")
    if isinstance(config, str) and rest:
        raise ArgumentError(
            f"strategy has config={config!r} and {sorted(rest)} → write them into that file, or drop it"
        )
    whole = config if isinstance(config, str) else {**(config or {}), **rest}
    kept = {k: v for k, v in arguments.items() if k == "exclude_frozen_parameters"}
    return {"config": whole, **kept}


def _looked_up(name: object, table: Mapping[str, str], key: str) -> str:
    short = _short(name)
    if short not in table:
        raise ArgumentError(
            f"{key} has type={name!r} → one of {list(table)}; others through --trainer.strategy"
        )
    return table[short]


def _short(name: object) -> str:
    # A type may have a scope (`mmdet.…`), or be the class itself.
    return name.rpartition(".")[2] if isinstance(name, str) else getattr(name, "__name__", "")
