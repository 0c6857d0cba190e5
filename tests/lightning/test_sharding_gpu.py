"""Strategies that shard a model on its devices: trained as under DDP, and resumed as if never stopped.

Not one of them has been run: no CUDA device was at hand. The script itself is, on a CPU, where FSDP2 can train.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.lightning.processes.on_gpu import STRATEGIES
from tests.processes import ROOT

SCRIPT = Path(__file__).parent / "processes" / "on_gpu.py"


def losses(folder: Path, processes: int, backend: str, *names: str) -> dict[str, list[float]]:
    launch = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes))
    done = subprocess.run(
        [sys.executable, *launch, str(SCRIPT), str(folder), backend, *names],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": ROOT},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-5000:]
    return torch.load(folder / "results.pt", weights_only=True)


def assert_alike(found: dict[str, list[float]], name: str) -> None:
    assert found[name] == pytest.approx(found["ddp"], rel=1e-4)
    second_epoch = found[name][len(found[name]) // 2 :]
    assert found[f"{name}, resumed"] == pytest.approx(second_epoch, rel=1e-4)


@pytest.mark.gpu
@pytest.mark.parametrize("name", [name for name in STRATEGIES if name != "ddp"])
def test_trained_and_resumed_as_under_ddp(tmp_path: Path, name: str) -> None:
    if name == "DeepSpeed":
        pytest.importorskip("deepspeed")
    assert_alike(losses(tmp_path, min(torch.cuda.device_count(), 2), "nccl", "ddp", name), name)


@pytest.mark.matrix
@pytest.mark.skipif(torch.cuda.is_available(), reason="processes of a launcher take the GPU")
def test_the_script_on_a_cpu(tmp_path: Path) -> None:
    name = "FSDP2 in parts, first process only"
    assert_alike(losses(tmp_path, 2, "gloo", "ddp", name), name)
