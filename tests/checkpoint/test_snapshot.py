"""Copies of checkpoints for a writer that comes later: what they hold, and whose memory they use."""

from __future__ import annotations

import torch

from mm2pl.checkpoint.snapshot import Snapshot, SnapshotMemory


def addresses(snapshot: Snapshot) -> list[int]:
    return sorted(tensor.data_ptr() for tensor in snapshot.content["weights"])


def test_it_holds_what_was_and_shares_what_is_shared() -> None:
    weight = torch.arange(6.0).reshape(2, 3).t()
    snapshot = Snapshot({"a": weight, "b": [weight, torch.ones(2)]}, SnapshotMemory())
    expected = weight.clone()
    weight.zero_()
    assert torch.equal(snapshot.content["a"], expected)
    assert snapshot.content["a"] is snapshot.content["b"][0]
    assert snapshot.content["a"].stride() == weight.stride()


def test_memory_is_used_again_once_it_is_released_and_not_before() -> None:
    memory = SnapshotMemory()
    state = {"weights": [torch.zeros(4), torch.zeros(4), torch.zeros(4, dtype=torch.int64)]}
    first, second = Snapshot(state, memory), Snapshot(state, memory)
    assert not set(addresses(first)) & set(addresses(second))
    before = addresses(first)
    state["weights"][0].fill_(3)
    first.release()
    third = Snapshot(state, memory)
    assert addresses(third) == before
    assert [tensor.sum().item() for tensor in third.content["weights"]] == [12, 0, 0]
    assert [tensor.sum().item() for tensor in second.content["weights"]] == [0, 0, 0]


def test_a_sparse_tensor_has_no_address() -> None:
    memory, sparse = SnapshotMemory(), torch.eye(2).to_sparse()
    for _ in range(2):
        snapshot = Snapshot({"a": sparse, "b": sparse}, memory)
        assert torch.equal(snapshot.content["a"].to_dense(), torch.eye(2))
        snapshot.release()
