"""Who tells of a failure; runs that fail are in ``test_two_processes``."""

from __future__ import annotations

import pytest
import torch.distributed as torch_dist

from mm2pl.lightning.failures import is_echo, is_first_failure

GONE = "[gloo/transport/tcp/pair.cc:553] Connection closed by peer [127.0.0.1]:23985"


@pytest.mark.parametrize(
    ("error", "echo"),
    [
        (RuntimeError(GONE), True),
        (RuntimeError("NCCL communicator was aborted"), True),
        (torch_dist.DistBackendError("timeout"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("backend='gloo'"), False),
    ],
    ids=lambda case: repr(case)[:40],
)
def test_an_echo(error: Exception, echo: bool) -> None:
    assert is_echo(error) is echo


def test_a_single_process_speaks(monkeypatch) -> None:
    monkeypatch.delenv("MASTER_PORT", raising=False)
    assert is_first_failure(RuntimeError(GONE))


def test_the_first_of_several_speaks(monkeypatch) -> None:
    store = torch_dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setenv("MASTER_PORT", str(store.port))
    first, second = ValueError("a"), ValueError("b")
    assert [is_first_failure(error) for error in (first, second, first)] == [True, False, True]


@pytest.mark.parametrize(
    ("error", "rank", "speaks"),
    [(RuntimeError(GONE), "1", False), (RuntimeError(GONE), "0", True), (ValueError(), "1", True)],
    ids=["echo", "echo in the first process", "other"],
)
def test_where_nobody_counts_an_echo_is_quiet(monkeypatch, error, rank, speaks) -> None:
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setenv("MASTER_PORT", "9")
    monkeypatch.setenv("RANK", rank)
    assert is_first_failure(error) is speaks
