"""What a process says of those that are missing; real ones die and hang in ``tests/faults/test_kill``."""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
import time
from types import SimpleNamespace
from typing import Any

import pytest
import torch.distributed as torch_dist

from mm2pl.lightning import ranks
from mm2pl.lightning.ddp import MMDDPStrategy
from mm2pl.lightning.ranks import Ranks
from mm2pl.lightning.sharding import MMFSDPStrategy
from tests.lightning.test_failures import GONE

ECHO = RuntimeError(GONE)


@pytest.fixture
def store(monkeypatch):
    """Return the store of a run of two processes."""
    made = torch_dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setenv("MASTER_PORT", str(made.port))
    monkeypatch.setattr(torch_dist, "is_initialized", lambda: True)
    monkeypatch.setattr(ranks, "PATIENCE", 0.2)
    yield made
    for watch in MADE:
        watch._listener.close()
    MADE.clear()


MADE: list[Any] = []


def process(rank: int, children: tuple = ()) -> Any:
    """Return what one of two processes watches with, its thread not started."""
    run = SimpleNamespace(reached="after_train_iter", points=40, epoch=1, iter=11, others=None)
    run.logger = logging.getLogger(f"rank {rank}")
    launcher = SimpleNamespace(procs=children)
    trainer = SimpleNamespace(
        world_size=2, global_rank=rank, strategy=SimpleNamespace(launcher=launcher)
    )
    watch = Ranks(run, trainer)
    watch._prefix = "mm2pl/ranks/0/7"  # as on entering, which starts the thread
    # One connection in some hundreds is not answered in time (torch 2.13); the thread asks again as well.
    assert any(watch._join() for _ in range(3))
    MADE.append(watch)
    return watch


def test_one_that_hangs_is_named_with_its_place(store, caplog):
    first, second = process(0), process(1)
    second._beat()
    assert first.is_told(RuntimeError(GONE))
    (record,) = caplog.records
    assert f"rank 1 (process {os.getpid()} on {socket.gethostname()}) has not" in record.message
    assert "last seen at after_train_iter in epoch 2, iteration 12" in record.message
    assert "env_cfg.dist_cfg.timeout" in record.message
    second._beat()
    assert second._condemned > 0


def test_one_that_has_ended_is_named(store, caplog):
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    first, second = process(0, (child,)), process(1)
    second._beat()
    child.kill()
    child.wait()
    first._beat()
    assert "was ended by SIGKILL: last seen at after_train_iter" in caplog.text
    assert first.is_told(RuntimeError(GONE))
    assert len(caplog.records) == 1


def test_all_that_wait_are_named(store, caplog):
    first, second = process(0), process(1)
    for each in (first, second):
        each._beat()
        store.set(each._key("waits", each._rank), "")
    assert first.is_told(RuntimeError(GONE))
    assert second.is_told(RuntimeError(GONE))
    (record,) = caplog.records
    assert f"in different places, or fail alike: {GONE}; rank 0" in record.message
    assert "; rank 1" in record.message


def test_a_failure_is_its_own_processs_to_tell(store, caplog):
    first, second = process(0), process(1)
    assert not second.is_told(ValueError("mine"))
    assert first.is_told(RuntimeError(GONE))
    assert caplog.text == ""


def test_processes_that_do_not_meet(monkeypatch, caplog):
    monkeypatch.setattr(torch_dist, "is_initialized", lambda: False)
    run = SimpleNamespace(logger=logging.getLogger(), others=None)
    watch = Ranks(run, SimpleNamespace(world_size=2))
    watch._prefix = "mm2pl/ranks/0/7"
    late = torch_dist.DistStoreError("Timed out after 6 seconds. 1/2 clients joined.")
    assert watch.is_told(late)
    assert "2 processes do not meet: Timed out after 6 seconds. 1/2 clients joined" in caplog.text
    assert not watch.is_told(ValueError("other"))


def test_a_single_process_has_nobody_to_ask(store, caplog):
    run = SimpleNamespace(logger=logging.getLogger(), others=None)
    with Ranks(run, SimpleNamespace(world_size=1)) as watch:
        assert not watch.is_told(RuntimeError(GONE))
    with Ranks(None, SimpleNamespace(world_size=2)) as watch:
        assert not watch.is_told(RuntimeError(GONE))
    assert caplog.text == ""


def test_a_long_validation_goes_on(store):
    watch = process(0)
    before = watch._note()["since"]
    watch._run.points += 1  # before_val_iter again, at the same epoch and iteration
    assert watch._note()["since"] > before


def test_a_first_process_that_has_left_in_good_order_is_not_missed(store, monkeypatch):
    monkeypatch.setattr(Ranks, "_watch", lambda self: None)
    first, second = process(0), process(1)
    first._beat()
    with first:
        first._prefix = second._prefix
    second._beat()
    assert second._first_is_done
    assert not second._condemned


def test_an_abort_is_not_blamed_on_memory(store, caplog):
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    first, second = process(0, (child,)), process(1)
    second._beat()
    child.send_signal(signal.SIGABRT)
    child.wait()
    first._beat()
    assert "was ended by SIGABRT" in caplog.text
    assert "whether another process hangs" in caplog.text
    assert "memory" not in caplog.text


@pytest.mark.parametrize(
    ("note", "how", "text"),
    [
        ({}, "", "rank 3 is missing: it has told nothing of itself yet"),
        ({"line": "a.py:3, in f"}, "", "has not gone on for 5 seconds: last seen at the start in"),
        ({"line": "a.py:3, in f"}, "", "epoch 1, iteration 1, at a.py:3, in f"),
        ({"pid": 2**22 + 1}, "", "is gone: last seen"),
        ({"pid": 1, "host": "other"}, "", "(process 1 on other) has not gone on"),
        ({}, "was ended by SIGBUS", "rank 3 was ended by SIGBUS"),
    ],
)
def test_the_text(note, how, text):
    whole = {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "place": ["", 0, 0],
        "since": time.time() - 5,
        "line": "",
    }
    assert text in ranks._described(3, note and {**whole, **note}, how)


def test_the_line_that_a_process_is_at(store):
    watch = process(0)
    assert "test_ranks.py" in watch._line()
    assert watch._line().endswith("in test_the_line_that_a_process_is_at")


def test_children_that_are_left_are_ended():
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    ranks._end([child])
    assert child.returncode is not None


@pytest.mark.parametrize(("given", "seconds"), [({}, 1800), ({"timeout": 20}, 20)])
@pytest.mark.parametrize("strategy", [MMDDPStrategy, MMFSDPStrategy])
def test_the_longest_wait_is_in_seconds(strategy, given, seconds):
    assert strategy(**given)._timeout.total_seconds() == seconds
