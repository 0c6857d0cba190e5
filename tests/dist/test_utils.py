from __future__ import annotations

import datetime
import os
import subprocess
from collections import OrderedDict
from typing import Any

import numpy as np
import pytest
import torch
from torch import distributed as torch_dist

from mm2pl import dist
from mm2pl.dist import utils

VARIABLES = (
    "SLURM_NTASKS_PER_NODE",
    "RANK",
    "LOCAL_RANK",
    "WORLD_SIZE",
    "MASTER_ADDR",
    "MASTER_PORT",
    "LOCAL_WORLD_SIZE",
)
OTHERS = ("SLURM_NTASKS", "SLURM_PROCID", "SLURM_LOCALID", "OMPI_COMM_WORLD_LOCAL_RANK")


@pytest.fixture
def env(monkeypatch: pytest.MonkeyPatch) -> Any:
    for name in (*VARIABLES, *OTHERS):
        monkeypatch.setenv(name, "")  # so that what the code sets is taken back
        monkeypatch.delenv(name)
    return monkeypatch


def test_alone() -> None:
    assert dist.get_dist_info() == (0, 1)
    assert (dist.get_local_rank(), dist.get_local_size()) == (0, 1)
    assert dist.get_backend() is None
    assert dist.get_local_group() is None
    assert dist.get_default_group() is None
    assert dist.is_main_process()
    assert not dist.is_distributed()
    assert dist.get_comm_device() == torch.device("cpu")
    assert dist.master_only(lambda: 1)() == 1


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, "none"),
        ({"WORLD_SIZE": "2", "SLURM_NTASKS": "2"}, "pytorch"),
        ({"SLURM_NTASKS": "2", "OMPI_COMM_WORLD_LOCAL_RANK": "0"}, "slurm"),
        ({"OMPI_COMM_WORLD_LOCAL_RANK": "0"}, "mpi"),
    ],
)
def test_infer_launcher(env: Any, variables: dict[str, str], expected: str) -> None:
    for name, value in variables.items():
        env.setenv(name, value)
    assert dist.infer_launcher() == expected


@pytest.fixture
def group_arguments(env: Any) -> dict[str, Any]:
    """What `init_process_group` is called with, without a second machine to talk to."""
    arguments: dict[str, Any] = {}
    env.setattr(torch_dist, "init_process_group", lambda **kw: arguments.update(kw))
    env.setattr(utils.mp, "set_start_method", lambda method: None)
    return arguments


def test_torchrun(env: Any, group_arguments: dict[str, Any]) -> None:
    with pytest.raises(KeyError, match="needs the environment variable RANK: start with torchrun"):
        dist.init_dist("pytorch", "gloo")
    for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE"):
        env.setenv(name, "0")
    dist.init_dist("pytorch", "gloo", timeout=7)
    assert group_arguments == {"backend": "gloo", "timeout": datetime.timedelta(seconds=7)}


@pytest.mark.parametrize(
    ("device", "expected"), [("cpu", "gloo"), ("cuda", "nccl"), ("npu", "hccl")]
)
def test_default_backend(
    env: Any, group_arguments: dict[str, Any], device: str, expected: str
) -> None:
    for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE"):
        env.setenv(name, "0")
    env.setattr(utils.devices, "get_device", lambda: device)
    env.setattr(utils, "_set_device", lambda local_rank: None)
    dist.init_dist("pytorch")
    assert group_arguments == {"backend": expected}


@pytest.mark.parametrize(
    ("port", "before", "expected"),
    [(None, None, "29500"), (123, None, "123"), (None, "77", "77"), (123, "77", "123")],
)
def test_slurm(
    env: Any, group_arguments: dict[str, Any], port: int | None, before: str | None, expected: str
) -> None:
    env.setenv("SLURM_PROCID", "3")
    env.setenv("SLURM_NTASKS", "8")
    env.setenv("SLURM_NODELIST", "node[1-2]")
    env.setenv("SLURM_LOCALID", "1")
    if before is not None:
        env.setenv("MASTER_PORT", before)
    asked = []
    env.setattr(subprocess, "check_output", lambda cmd, text: asked.append(cmd) or "node1\nnode2\n")
    dist.init_dist("slurm", "gloo", **({} if port is None else {"port": port}))
    assert asked == [["scontrol", "show", "hostname", "node[1-2]"]]
    got = {name: os.environ[name] for name in VARIABLES if name in os.environ}
    assert got == {
        "RANK": "3",
        "LOCAL_RANK": "1",
        "WORLD_SIZE": "8",
        "MASTER_ADDR": "node1",
        "MASTER_PORT": expected,
        "SLURM_NTASKS_PER_NODE": "8",
    }
    assert group_arguments == {"backend": "gloo"}


def test_mpi(env: Any, group_arguments: dict[str, Any]) -> None:
    for name, value in (("LOCAL_RANK", "1"), ("SIZE", "4"), ("RANK", "3")):
        env.setenv(f"OMPI_COMM_WORLD_{name}", value)
    with pytest.raises(KeyError, match=r"^The environment variable MASTER_ADDR is not set$"):
        dist.init_dist("mpi", "mpi")
    env.setenv("MASTER_ADDR", "node1")
    dist.init_dist("mpi", "mpi")
    assert [os.environ[k] for k in ("RANK", "WORLD_SIZE", "MASTER_PORT")] == ["3", "4", "29500"]
    assert group_arguments == {"backend": "mpi"}


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        ({"launcher": "none"}, ValueError, "Invalid launcher type: 'none', choose from pytorch"),
        ({"launcher": "pytorch", "timeout": "1h"}, TypeError, "timeout in seconds, but got '1h'"),
        ({"launcher": "pytorch", "init_backend": "x"}, ValueError, 'supported "init_backend" is'),
    ],
)
def test_wrong_init(arguments: dict, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        dist.init_dist(**arguments)


def test_a_local_group_is_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(utils, "_LOCAL_PROCESS_GROUP", object())
    with pytest.raises(AssertionError, match="exists already"):
        dist.init_local_group(0, 2)


CPU, META = torch.zeros(1), torch.zeros(1, device="meta")


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (CPU, "cpu"),
        ([META, [META]], "meta"),
        ({"a": CPU, "b": (CPU,)}, "cpu"),
        ((t for t in [META]), "meta"),
    ],
)
def test_data_device(data: Any, expected: str) -> None:
    assert dist.get_data_device(data) == torch.device(expected)


@pytest.mark.parametrize(
    ("data", "kind", "message"),
    [
        ([CPU, META], ValueError, "device type in data should be consistent, but got"),
        ({"a": CPU, "b": META}, ValueError, "should be consistent"),
        ([], ValueError, "data should not be empty"),
        ({}, ValueError, "data should not be empty"),
        ("cpu", TypeError, "data should be a Tensor, sequence of tensor or dict, but got 'cpu'"),
        ([1], TypeError, "but got 1"),
    ],
)
def test_no_data_device(data: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        dist.get_data_device(data)


def test_cast_data_device() -> None:
    data = OrderedDict(a=[CPU, CPU], b=(CPU,))
    moved = dist.cast_data_device(data, torch.device("meta"))
    assert type(moved) is OrderedDict
    assert [type(moved[k]) for k in "ab"] == [list, tuple]
    assert dist.get_data_device(moved) == torch.device("meta")
    assert dist.cast_data_device(CPU, torch.device("cpu")) is CPU


def test_cast_data_device_into_out() -> None:
    data = {"a": [torch.ones(2), torch.zeros(2)]}
    out = {"a": [torch.full((2,), 5.0), torch.full((2,), 5.0)]}
    target = out["a"][0]
    dist.cast_data_device(data, torch.device("cpu"), out)
    assert target.tolist() == [1, 1]
    assert out["a"][1].tolist() == [0, 0]


@pytest.mark.parametrize(
    ("data", "out", "kind", "message"),
    [
        ([CPU], (CPU,), TypeError, "out should be the same type with data"),
        ({CPU}, {CPU}, TypeError, "should not be a set"),
        ([CPU], [CPU, CPU], ValueError, "length of data and out should be same, but got 1 and 2"),
        ([], None, ValueError, "data should not be empty"),
        ([1], None, TypeError, "data should be a Tensor, list of tensor or dict, but got 1"),
        (np.ones(1), None, TypeError, "data should be a Tensor"),
    ],
)
def test_wrong_cast(data: Any, out: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        dist.cast_data_device(data, torch.device("cpu"), out)
