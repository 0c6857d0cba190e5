"""FSDP with the arguments of MMEngine's strategy."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from lightning.fabric.plugins.environments import LightningEnvironment
from torch import nn
from torch.distributed.fsdp import BackwardPrefetch, ShardingStrategy
from torch.distributed.fsdp.wrap import size_based_auto_wrap_policy

from mm2pl.lightning.sharding import MMFSDPStrategy
from mm2pl.lightning.trainer import instantiate
from mm2pl.plan.processes import strategy_of
from mm2pl.registry import FUNCTIONS


def is_linear(module: nn.Module) -> bool:
    return isinstance(module, nn.Linear)


def test_every_argument_of_a_flexible_runners_config() -> None:
    FUNCTIONS.register_module(name="by_size", module=size_based_auto_wrap_policy)
    FUNCTIONS.register_module(name="is_linear", module=is_linear)
    config: dict[str, Any] = {
        "type": "FSDPStrategy",
        "model_wrapper": {
            "type": "MMFullyShardedDataParallel",
            "use_orig_params": True,
            "sharding_strategy": "SHARD_GRAD_OP",
            "cpu_offload": True,
            "auto_wrap_policy": {"type": "by_size", "min_num_params": 100},
            "backward_prefetch": "BACKWARD_POST",
            "mixed_precision": {"param_dtype": "bfloat16", "reduce_dtype": "float32"},
            "param_init_fn": "is_linear",
            "sync_module_states": True,
            "limit_all_gathers": False,
        },
        "state_dict_cfg": "full",
        "activation_checkpointing": {"check_fn": "is_linear"},
    }
    made = instantiate(strategy_of({"strategy": config}))
    assert made.sharding_strategy is ShardingStrategy.SHARD_GRAD_OP
    assert made.cpu_offload.offload_params
    assert (made.mixed_precision.param_dtype, made.mixed_precision.reduce_dtype) == (
        torch.bfloat16,
        torch.float32,
    )
    policy = made.kwargs.pop("auto_wrap_policy")
    assert policy.func is size_based_auto_wrap_policy
    assert policy.keywords == {"min_num_params": 100}
    assert made.kwargs == {
        "backward_prefetch": BackwardPrefetch.BACKWARD_POST,
        "param_init_fn": is_linear,
        "sync_module_states": True,
        "limit_all_gathers": False,
        "use_orig_params": True,
    }
    check = made._activation_checkpointing_kwargs["auto_wrap_policy"]
    layers = [nn.Linear(2, 2), nn.ReLU()]
    assert [check(layer, recurse=False, nonwrapped_numel=0) for layer in layers] == [True, False]
    assert made._state_dict_type == "full"


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        ({"skip_init_weights": True}, ValueError, "skip_init_weights=True → not supported"),
        ({"use_orig_params": False}, ValueError, "use_orig_params=False → True"),
        ({"auto_wrap_policy": "nobodys"}, ValueError, "'nobodys' is not registered"),
        ({"backward_prefetch": "SOON"}, TypeError, "backward_prefetch='SOON'"),
        ({"mixed_precision": {"param_dtype": "float15"}}, TypeError, "dtype 'float15'"),
        ({"activation_checkpointing": {"fn": 1}}, TypeError, r"→ dict\(check_fn=…\)"),
    ],
    ids=["skip-init", "flat", "policy", "prefetch", "dtype", "checkpointing"],
)
def test_mistakes(arguments: dict[str, Any], kind: type, message: str) -> None:
    with pytest.raises(kind, match=message):
        MMFSDPStrategy(**arguments)


def test_a_cpu_is_refused_in_one_message() -> None:
    strategy = MMFSDPStrategy(parallel_devices=[torch.device("cpu")])
    strategy.cluster_environment = LightningEnvironment()
    with pytest.raises(ValueError, match="on a CPU → torch's FSDP needs an accelerator"):
        strategy.setup_environment()
