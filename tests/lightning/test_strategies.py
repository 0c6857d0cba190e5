"""From MMEngine's keys to the Trainer's strategy."""

from __future__ import annotations

from typing import Any

import pytest

from mm2pl.lightning.strategies import DDP, DEEPSPEED, FSDP, processes, strategy_of
from mm2pl.lightning.trainer import instantiate

TORCHRUN = {"WORLD_SIZE": "16", "LOCAL_WORLD_SIZE": "8"}


@pytest.mark.parametrize(
    ("config", "kind", "arguments"),
    [
        ({}, DDP, {"broadcast_buffers": False, "find_unused_parameters": False}),
        (
            {"find_unused_parameters": True, "env_cfg": {"dist_cfg": {"backend": "gloo"}}},
            DDP,
            {
                "broadcast_buffers": False,
                "find_unused_parameters": True,
                "process_group_backend": "gloo",
            },
        ),
        # With a wrapper of its own, MMEngine leaves the rest to torch's defaults.
        ({"model_wrapper_cfg": {"static_graph": True}}, DDP, {"static_graph": True}),
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
    ids=["default", "unused", "static", "device", "wrapper", "fsdp", "deepspeed"],
)
def test_the_strategy(config: Any, kind: str, arguments: Any) -> None:
    made = strategy_of(config)
    assert made == {"class_path": kind, "init_args": arguments}
    if kind != DEEPSPEED:  # whose package is not installed
        assert type(instantiate(made)).__name__ == kind.rpartition(".")[2]


def test_processes_follow_the_launcher() -> None:
    assert processes({"sync_bn": "torch"}, TORCHRUN) == {"devices": 1}
    made = processes({"launcher": "pytorch", "sync_bn": "torch"}, TORCHRUN)
    assert (made["devices"], made["num_nodes"], made["sync_batchnorm"]) == (8, 2, True)


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
        ({"sync_bn": "apex"}, r"sync_bn='apex' → one of \['torch', 'mmcv'\]"),
        (
            {"strategy": {"type": "DeepSpeedStrategy", "config": "ds.json", "fp16": {}}},
            r"config='ds.json' and \['fp16'\]",
        ),
    ],
    ids=["strategy", "wrapper", "sync_bn", "deepspeed"],
)
def test_what_lightning_does_not_have(config: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        processes({"launcher": "pytorch", **config}, TORCHRUN)
