"""From MMEngine's keys to the Trainer's strategy."""

from __future__ import annotations

import inspect
import os
from typing import Any

import pytest
from lightning.pytorch import Callback
from lightning.pytorch.strategies import DeepSpeedStrategy

import mm2pl.plan.processes as module
from mm2pl.lightning.trainer import instantiate, make_trainer
from mm2pl.plan.processes import (
    DDP,
    DEEPSPEED,
    FSDP,
    are_several,
    launched_by,
    left_out,
    processes,
    strategy_of,
)
from mm2pl.plan.translate import trainer_arguments

SEPARATE = "mmagic.MMSeparateDistributedDataParallel"
TORCHRUN = {"WORLD_SIZE": "16", "LOCAL_WORLD_SIZE": "8"}


@pytest.mark.parametrize(
    ("config", "kind", "arguments"),
    [
        ({}, DDP, {"broadcast_buffers": False, "find_unused_parameters": False}),
        (
            {
                "find_unused_parameters": True,
                "env_cfg": {"dist_cfg": {"backend": "gloo", "timeout": 60}},
            },
            DDP,
            {
                "broadcast_buffers": False,
                "find_unused_parameters": True,
                "process_group_backend": "gloo",
                "timeout": 60,
            },
        ),
        # With a wrapper of its own, MMEngine leaves the rest to torch's defaults.
        ({"model_wrapper_cfg": {"static_graph": True}}, DDP, {"static_graph": True}),
        (
            {"model_wrapper_cfg": {"type": SEPARATE, "find_unused_parameters": False}},
            DDP,
            {"find_unused_parameters": True},
        ),
        (
            {
                "model_wrapper_cfg": {
                    "type": "mmengine.MMDistributedDataParallel",
                    "device_ids": [0],
                }
            },
            DDP,
            {},
        ),
        (
            {"model_wrapper_cfg": {"type": "MMFullyShardedDataParallel", "cpu_offload": True}},
            FSDP,
            {"cpu_offload": True},
        ),
        (
            {
                "strategy": {
                    "type": "FSDPStrategy",
                    "model_wrapper": {"sharding_strategy": "SHARD_GRAD_OP"},
                }
            },
            FSDP,
            {"sharding_strategy": "SHARD_GRAD_OP"},
        ),
        (
            {
                "strategy": {
                    "type": "DeepSpeedStrategy",
                    "zero_optimization": {"stage": 3},
                    "exclude_frozen_parameters": True,
                }
            },
            DEEPSPEED,
            {"config": {"zero_optimization": {"stage": 3}}, "exclude_frozen_parameters": True},
        ),
    ],
    ids=["default", "unused", "static", "separate", "device", "wrapper", "fsdp", "deepspeed"],
)
def test_the_strategy(config: Any, kind: str, arguments: Any) -> None:
    made = strategy_of(config)
    assert made == {"class_path": kind, "init_args": arguments}
    if kind != DEEPSPEED:  # whose package is not installed
        assert type(instantiate(made)).__name__ == kind.rpartition(".")[2]


LAUNCHED: dict[str, tuple[str, dict[str, str], int, int]] = {
    "torchrun": ("pytorch", TORCHRUN, 8, 2),
    "slurm": ("slurm", {"SLURM_NTASKS": "6", "SLURM_NTASKS_PER_NODE": "2"}, 2, 3),
    "slurm-by-nodes": ("slurm", {"SLURM_NTASKS": "16", "SLURM_NNODES": "4"}, 4, 4),
    "slurm-one-node": ("slurm", {"SLURM_NTASKS": "3"}, 3, 1),
    "mpi": ("mpi", {"OMPI_COMM_WORLD_SIZE": "8", "OMPI_COMM_WORLD_LOCAL_SIZE": "4"}, 4, 2),
    "mpi-inside-slurm": ("mpi", {"OMPI_COMM_WORLD_SIZE": "2", "SLURM_NTASKS": "1"}, 2, 1),
}


@pytest.mark.parametrize(
    ("launcher", "environ", "devices", "nodes"), LAUNCHED.values(), ids=LAUNCHED
)
def test_processes_follow_the_launcher(launcher, environ, devices, nodes) -> None:
    assert processes({"sync_bn": "torch"}, environ)["devices"] == 1
    made = processes({"launcher": launcher, "sync_bn": "torch"}, environ)
    assert (made["devices"], made["num_nodes"], made["sync_batchnorm"]) == (devices, nodes, True)


STARTED: dict[str, tuple[dict[str, str], str]] = {
    "nobody": ({}, "none"),
    "torchrun": ({"TORCHELASTIC_RUN_ID": "none", "WORLD_SIZE": "2"}, "pytorch"),
    "torchrun of one": ({"TORCHELASTIC_RUN_ID": "none", "WORLD_SIZE": "1"}, "none"),
    "a Trainer's child": ({"WORLD_SIZE": "2", "LOCAL_RANK": "1", "MASTER_PORT": "1"}, "none"),
    "sbatch": ({"SLURM_JOB_ID": "7", "SLURM_NTASKS": "4", "SLURM_PROCID": "0"}, "none"),
    "srun": ({"SLURM_NTASKS": "4", "SLURM_STEP_NUM_TASKS": "4"}, "slurm"),
    "srun of one": ({"SLURM_NTASKS": "4", "SLURM_STEP_NUM_TASKS": "1"}, "none"),
    "torchrun in a task": (
        {"TORCHELASTIC_RUN_ID": "none", "WORLD_SIZE": "8", "SLURM_STEP_NUM_TASKS": "2"},
        "pytorch",
    ),
    "mpirun": ({"OMPI_COMM_WORLD_SIZE": "2"}, "mpi"),
}


@pytest.mark.parametrize(("environ", "launcher"), STARTED.values(), ids=STARTED)
def test_who_has_started_the_processes(environ: dict[str, str], launcher: str) -> None:
    assert launched_by(environ) == launcher


def test_an_allocation_of_slurm_is_no_launcher(monkeypatch) -> None:
    # What a batch script sees that asked for four tasks.
    monkeypatch.setenv("SLURM_NTASKS", "4")
    made = trainer_arguments({}, "work", os.environ)
    assert make_trainer({**made, "accelerator": "cpu"}, Callback()).world_size == 1
    assert "plugins" not in processes({}, {})


def test_deepspeed_without_its_package_is_one_message(monkeypatch) -> None:
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    config = {"launcher": "pytorch", "strategy": {"type": "DeepSpeedStrategy"}}
    with pytest.raises(ImportError, match=r"needs the package deepspeed → pip install deepspeed"):
        processes(config, TORCHRUN)


def test_every_argument_of_deepspeed_arrives() -> None:
    """With Lightning's own signature: the package itself is not installed here."""
    own = {
        "type": "DeepSpeedStrategy",
        "config": {"zero_allow_untested_optimizer": True},
        "fp16": {"enabled": True, "loss_scale": 0},
        "bf16": {"enabled": False},
        "zero_optimization": {"stage": 2, "cpu_offload": False},
        "gradient_clipping": 1.0,
        "activation_checkpointing": {"partition_activations": True},
        "aio": {"block_size": 1048576},
        "train_micro_batch_size_per_gpu": 4,
        "gradient_accumulation_steps": 2,
        "steps_per_print": 100,
    }
    made = strategy_of({"strategy": own})["init_args"]
    inspect.signature(DeepSpeedStrategy).bind(**made)
    whole = {**own["config"], **{k: v for k, v in own.items() if k not in ("type", "config")}}
    assert made == {"config": whole}


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            {"strategy": {"type": "ColossalAIStrategy"}},
            "strategy has type='ColossalAIStrategy' → one of",
        ),
        (
            {"model_wrapper_cfg": {"type": "MyWrapper"}},
            "model_wrapper_cfg has type='MyWrapper' → one of",
        ),
        (
            {"model_wrapper_cfg": {"detect_anomalous_params": True}},
            "detect_anomalous_params=True → .* drop it",
        ),
        ({"sync_bn": "apex"}, r"sync_bn='apex' → one of \['torch', 'mmcv'\]"),
        (
            {"strategy": {"type": "DeepSpeedStrategy", "config": "ds.json", "fp16": {}}},
            r"config='ds.json' and \['fp16'\]",
        ),
    ],
    ids=["strategy", "wrapper", "anomalous", "sync_bn", "deepspeed"],
)
def test_what_lightning_does_not_have(config: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        processes({"launcher": "pytorch", **config}, TORCHRUN)


@pytest.mark.parametrize(
    ("strategy", "synchronised", "keys"),
    [
        ("auto", False, []),
        (object(), False, []),
        ("ddp", False, ["model_wrapper_cfg", "sync_bn"]),
        ("ddp", True, ["model_wrapper_cfg"]),
    ],
    ids=["none given", "the config's", "by name", "norms by flag"],
)
def test_what_a_strategy_given_by_name_leaves_out(strategy, synchronised, keys) -> None:
    config = {"model_wrapper_cfg": {"type": "X"}, "sync_bn": "torch", "strategy": None}
    assert left_out(config, strategy, synchronised) == keys


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("two", 1), r"devices='two'\) → a number, '0,2' or 'auto'"),
        ((1, "x"), r"num_nodes='x'\) → a number"),
    ],
    ids=["devices", "nodes"],
)
def test_a_number_of_processes_that_is_none(given: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        are_several(*given)
