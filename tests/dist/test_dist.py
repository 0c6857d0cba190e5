"""Collectives in two real processes (gloo), and without a process group."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from mm2pl import dist

Ranks = list[dict[str, Any]]


@pytest.fixture(scope="module")
def ranks(run_two_processes, tmp_path_factory) -> Ranks:
    return run_two_processes("mm2pl", tmp_path_factory.mktemp("dist"))


def test_info(ranks: Ranks) -> None:
    for rank, got in enumerate(ranks):
        assert got["info"] == {
            "info": (rank, 2),
            "main": rank == 0,
            "distributed": True,
            "backend": "gloo",
            "comm_device": "cpu",
            "launcher": "pytorch",
            "master_only": 2 if rank == 0 else None,
        }


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("sum torch.float32", [3, 5, 7]),
        ("SUM torch.int64", [3, 5, 7]),
        ("mean torch.float32", [1.5, 2.5, 3.5]),
        ("mean torch.int64", [1, 2, 3]),
        ("min torch.int64", [1, 2, 3]),
        ("max torch.float32", [2, 3, 4]),
        ("product torch.float32", [2, 6, 12]),
        ("band", [0, 2, 0]),
        ("bor", [3, 3, 7]),
        ("bxor", [3, 1, 7]),
        ("strided", [[1, 7], [3, 9], [5, 11]]),
    ],
)
def test_all_reduce(ranks: Ranks, key: str, expected: list) -> None:
    for got in ranks:
        assert got["all_reduce"][key].tolist() == expected


def test_gathering(ranks: Ranks) -> None:
    both = [[0, 1], [10, 11]]
    for rank, got in enumerate(ranks):
        got = got["gathering"]
        assert [t.tolist() for t in got["all_gather"]] == both
        for dst in (0, 1):
            here = rank == dst
            assert [t.tolist() for t in got[f"gather {dst}"]] == (both if here else [])
            assert got[f"gather_object {dst}"] == (["x", "xx"] if here else None)
        assert got["all_gather_object"] == [{"rank": 0}, {"rank": 1}]


def test_broadcasting(ranks: Ranks) -> None:
    np.random.seed(0)
    seed = np.random.randint(2**31)
    for rank, got in enumerate(ranks):
        got = got["broadcasting"]
        for src in (0, 1):
            expected = (torch.arange(6).reshape(2, 3) + 10 * src).t()
            assert torch.equal(got[src], expected)
        assert got["objects"] == ["a", {"b": 1}]
        assert got["seed"] == seed
        np.random.seed(rank)
        np.random.randint(2**31)
        assert got["next"] == np.random.rand()


def test_dicts_and_params(ranks: Ranks) -> None:
    for got in ranks:
        got = got["dicts_and_params"]
        for op, value in (("sum", 3.0), ("mean", 1.5)):
            assert list(got[op]) == ["a", "b"]
            assert torch.equal(got[op]["a"], torch.full((2, 1), value))
            assert torch.equal(got[op]["b"], torch.full((2, 2), value))
        for bucket in (False, -1, 1):
            assert got[bucket] == [
                (3, torch.float32, {0.5}),
                (300_000, torch.float32, {0.5}),
                (5, torch.float64, {0.5}),
                (4, torch.float32, {0.5}),
            ]


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("cpu", [0, 1, 2, 3, 4]),
        ("gpu", [0, 1, 2, 3, 4]),
        ("tmpdir", [0, 1, 2, 3, 4]),
        ("uneven", [0, 1, 2, 3, 4]),
        ("none", [0, 1, 3]),
        ("objects", [{"rank": 0}, {"rank": 1}]),
    ],
)
def test_collecting(ranks: Ranks, key: str, expected: list) -> None:
    assert ranks[0]["collecting"][key] == expected
    assert ranks[1]["collecting"][key] is None
    assert not ranks[0]["collecting"]["left"]


def test_local_group(ranks: Ranks) -> None:
    for rank, got in enumerate(ranks):
        assert got["local_group"]["before"] == (rank, 2)
        assert got["local_group"]["after"] == (rank, 2)
        assert "please use `init_local_group`" in got["local_group"]["message"]


def test_alone_nothing_is_communicated() -> None:
    data = torch.tensor([1.0])
    dist.all_reduce(data)
    dist.broadcast(data)
    dist.barrier()
    dist.all_reduce_params([data])
    objects = [1]
    dist.broadcast_object_list(objects)
    content = {"a": data}
    dist.all_reduce_dict(content)
    assert content["a"] is data
    assert data.tolist() == [1.0]
    assert dist.all_gather(data)[0] is data
    assert dist.gather(data)[0] is data
    assert dist.all_gather_object(objects) == [[1]]
    assert dist.gather_object(objects) == [[1]]
    np.random.seed(0)
    seed = dist.sync_random_seed()
    np.random.seed(0)
    assert seed == np.random.randint(2**31)


@pytest.mark.parametrize("device", ["cpu", "gpu", "npu"])
def test_alone_results_are_cut(device: str) -> None:
    assert dist.collect_results([1, None, 3], 2, device) == [1, None]


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda: dist.collect_results([], 0, "tpu"), NotImplementedError, "but got 'tpu'"),
        (lambda: dist.collect_results([], 0, "gpu", "x"), AssertionError, "tmpdir should be None"),
        (lambda: dist.broadcast_object_list((1,)), AssertionError, "data should be a list"),
        (lambda: dist.all_reduce_dict([1]), AssertionError, "data should be a dict"),
        (lambda: dist.dist._get_reduce_op("avg"), ValueError, "one of mean, sum, .*got 'avg'"),
    ],
)
def test_wrong_calls(call: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        call()
