"""FSDP with the arguments of MMEngine's strategy; runs whose two processes share a model, and how they go on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.fabric.plugins.environments import LightningEnvironment
from torch import nn
from torch.distributed.fsdp import BackwardPrefetch, ShardingStrategy
from torch.distributed.fsdp.wrap import size_based_auto_wrap_policy

from mm2pl.cli.main import main
from mm2pl.lightning import MMLightningModule
from mm2pl.lightning.sharding import MMFSDPStrategy
from mm2pl.lightning.trainer import instantiate
from mm2pl.plan.processes import strategy_of
from mm2pl.registry import FUNCTIONS
from mm2pl.runner import load_checkpoint
from tests.lightning.processes import sharded
from tests.processes import trained


def is_linear(module: nn.Module) -> bool:
    return isinstance(module, nn.Linear)


def test_every_argument_of_a_flexible_runners_config() -> None:
    FUNCTIONS.register_module(name="by_number", module=size_based_auto_wrap_policy)
    FUNCTIONS.register_module(name="is_linear", module=is_linear)
    config: dict[str, Any] = {
        "type": "FSDPStrategy",
        "model_wrapper": {
            "type": "MMFullyShardedDataParallel",
            "use_orig_params": True,
            "sharding_strategy": "SHARD_GRAD_OP",
            "cpu_offload": True,
            "auto_wrap_policy": {"type": "by_number", "min_num_params": 100},
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


PROCESSES = Path(__file__).parent / "processes"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return where two processes have trained, saved and resumed."""
    folder = tmp_path_factory.mktemp("sharded")
    trained(PROCESSES / "sharded.py", folder)
    return folder


def results(folder: Path, rank: int = 0) -> dict[str, Any]:
    return torch.load(folder / f"{rank}.pt", weights_only=True)


def assert_same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], value) for name, value in other.items())


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_weights_move_as_those_of_a_module_by_hand(folder: Path, rank: int) -> None:
    found = results(folder, rank)
    start, hand, ours = found["start"], found["by hand"], found["automatic"]
    assert ours[0] == hand[0]
    assert ours[2:] == hand[2:]
    assert_same(ours[1], hand[1])
    assert all(not torch.equal(start[name], value) for name, value in ours[1].items())


@pytest.mark.slow
@pytest.mark.parametrize("name", sharded.RUNS)
def test_two_processes_resume_exactly(folder: Path, name: str) -> None:
    for rank in (0, 1):
        found = results(folder, rank)
        whole, resumed = found[name], found[f"{name}, resumed"]
        assert len(whole[0]) == sharded.STEPS
        assert resumed[0] == whole[0][sharded.SAVED_AT :]
        assert resumed[2:] == whole[2:]
        assert_same(resumed[1], whole[1])


@pytest.fixture(scope="module")
def plain(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the one file that is made of a folder."""
    file = str(tmp_path_factory.mktemp("plain") / "plain.pth")
    assert main(["convert", str(folder / "equal" / "saved"), "-o", file]) == 0
    return file


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:You defined a `validation_step`", "ignore:You're resuming from")
@pytest.mark.parametrize("converted", [False, True], ids=["folder", "converted"])
def test_one_process_goes_on(folder: Path, plain: str, tmp_path: Path, converted: bool) -> None:
    """With equal batches the mean over two processes is that of one."""
    module = sharded.ours(kind=MMLightningModule)
    file = plain if converted else str(folder / "equal" / "saved")
    losses, weights, *rest = sharded.train(
        module, tmp_path, file, differ=False, devices=1, strategy="auto"
    )
    whole = results(folder)["equal batches"]
    assert losses == whole[0][sharded.SAVED_AT :]
    assert rest == list(whole[2:])
    assert_same(weights, whole[1])


@pytest.mark.slow
def test_weights_of_a_folder_are_loaded_like_those_of_its_file(folder: Path, plain: str) -> None:
    models = [sharded.Net(), sharded.Net()]
    for model, file in zip(models, (plain, str(folder / "equal" / "saved")), strict=True):
        load_checkpoint(model, file, strict=True)
    assert_same(models[0].state_dict(), models[1].state_dict())
