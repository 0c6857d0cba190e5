"""FSDP2 from a config: two processes that share a model train as two that each have it whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.demos.boring_classes import BoringModel
from torch.distributed.fsdp import CPUOffloadPolicy, MixedPrecisionPolicy

from mm2pl.lightning.fully_shard import MMModelParallelStrategy
from mm2pl.lightning.trainer import instantiate
from mm2pl.plan.processes import several, strategy_of
from mm2pl.runner import Runner
from tests.processes import trained
from tests.versions.project import SmokeModel

PROCESSES = Path(__file__).parent / "processes"


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """Return what the trainings of both processes came to."""
    folder = tmp_path_factory.mktemp("fully_sharded")
    trained(PROCESSES / "fully_sharded.py", folder)
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in (0, 1)]


EQUAL = {
    "sharded": "ddp",
    "in parts": "ddp",
    "first process only": "ddp",
    "first process only, loaded": "loaded, ddp",
    "resumed": "ddp",
    "folders": "ddp",
    "resumed from a folder": "ddp",
    "loaded": "loaded, ddp",
    "own seeds": "own seeds, ddp",
}


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize(("name", "whole"), EQUAL.items(), ids=EQUAL)
def test_equal_to_ddp(results: list[dict[str, Any]], rank: int, name: str, whole: str) -> None:
    losses, weights, held, accuracy, had_values = results[rank][name]
    expected = results[rank][whole]
    assert losses == expected[0][-len(losses) :]
    assert weights.keys() == expected[1].keys()
    assert all(torch.equal(weights[key], value) for key, value in expected[1].items())
    assert (held, accuracy) == (29, expected[3])
    assert expected[2] == 58
    assert had_values is (rank == 0 or "first process only" not in name)


@pytest.mark.slow
def test_gradients_are_clipped_by_the_norm_of_all(results: list[dict[str, Any]]) -> None:
    (losses, weights, *_), (expected, theirs, *_) = (
        results[0]["clipped"],
        results[0]["clipped, ddp"],
    )
    # The squares of two halves are added in another order.
    assert [float.fromhex(v) for v in losses] == pytest.approx([float.fromhex(v) for v in expected])
    for name, value in theirs.items():
        torch.testing.assert_close(weights[name], value)


@pytest.mark.slow
def test_computed_in_bfloat16(results: list[dict[str, Any]]) -> None:
    losses, weights, *_ = results[0]["bf16"]
    found = torch.tensor([float.fromhex(v) for v in losses])
    assert torch.equal(found, found.bfloat16().float())
    assert {value.dtype for value in weights.values()} == {torch.float32}


@pytest.mark.slow
def test_averages_of_parts_are_refused(results: list[dict[str, Any]]) -> None:
    assert [each["averaged"].partition(" → ")[0] for each in results] == [
        "EMAHook averages whole weights, and the strategy keeps a part of them in each process"
    ] * 2


def test_every_argument_of_a_config() -> None:
    config = {
        "type": "FSDP2",
        "cpu_offload": True,
        "reshard_after_forward": 2,
        "mixed_precision": {"param_dtype": "bfloat16", "cast_forward_inputs": False},
        "save_distributed_checkpoint": True,
        "meta_init": True,
    }
    env = {"dist_cfg": {"backend": "gloo", "timeout": 9}}
    made = instantiate(strategy_of({"strategy": config, "env_cfg": env}))
    assert made._options == {
        "mp_policy": MixedPrecisionPolicy(torch.bfloat16, cast_forward_inputs=False),
        "offload_policy": CPUOffloadPolicy(),
        "reshard_after_forward": 2,
    }
    assert (made.process_group_backend, made._timeout.seconds) == ("gloo", 9)
    assert made._save_distributed_checkpoint
    assert made.meta_init


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"auto_wrap_policy": "nobodys"}, "'nobodys' is not registered"),
        ({"mixed_precision": {"buffer_dtype": "float16"}}, "→ a dict with some of .'param_dtype'"),
        ({"mixed_precision": {"param_dtype": "float15"}}, "dtype 'float15'"),
        ({"activation_checkpointing": {"fn": 1}}, r"→ dict\(check_fn=…\)"),
        ({"cpu_offload": {"offload_params": False}}, r"cpu_offload=.* → True or False"),
        ({"meta_init": "yes"}, r"meta_init='yes' → True or False"),
        ({"reshard_after_forward": "never"}, r"reshard_after_forward='never' → True, False, or"),
    ],
    ids=["policy", "buffers", "dtype", "checkpointing", "offload", "meta", "reshard"],
)
def test_mistakes(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        MMModelParallelStrategy(**arguments)


def test_who_is_given_without_values_is_refused(tmp_path: Path) -> None:
    with torch.device("meta"):
        model = SmokeModel()
    with pytest.raises(ValueError, match=r"net.weight, .* on the meta device, without values → "):
        Runner(model=model, work_dir=str(tmp_path))


def test_a_lightning_module_is_not_made_by_one_process(tmp_path: Path) -> None:
    config = {
        "model": BoringModel(),
        "strategy": {"type": "FSDP2", "meta_init": True},
        "work_dir": str(tmp_path),
    }
    with pytest.raises(ValueError, match="meta_init=True, and BoringModel is a LightningModule → "):
        Runner.from_cfg(config, trainer={"devices": 2, "accelerator": "cpu"})


def test_norms_are_not_synchronised() -> None:
    with pytest.raises(ValueError, match=r"sync_bn='torch' with FSDP2 → .*DDPStrategy"):
        several({"strategy": {"type": "FSDP2"}, "sync_bn": "torch"})
