"""One message for the failure of several processes: the first to fail says why, the others end."""

from __future__ import annotations

import datetime
import os
import socket

import torch.distributed as torch_dist

COMMUNICATION = ("gloo", "nccl", "processgroup", "distbackend", "connection closed by peer")
"""What stands in a collective's error when its partner is gone, in small letters."""


class OtherProcessFailed(SystemExit):
    """End a process quietly whose only trouble is that another one, which has said why, is gone."""


def is_first_failure(error: BaseException) -> bool:
    """Say whether no other process of the run has failed before; asks the run's store, once per error.

    Where there is no store to ask, the first process of the run is gone; an echo of that does not count as first.
    """
    known = vars(error)
    if "_mm2pl_first" not in known:
        number = _count_failure()
        known["_mm2pl_first"] = not is_echo(error) if number is None else number == 1
    return known["_mm2pl_first"]


def is_echo(error: BaseException) -> bool:
    """Say whether an error is one that a process has when its partner in a collective is gone."""
    text = f"{type(error).__name__} {error}".lower()
    return isinstance(error, RuntimeError) and any(word in text for word in COMMUNICATION)


def _count_failure() -> int | None:
    """Count this failure among those of all processes and return its number; None if nobody counts."""
    host, port = os.environ.get("MASTER_ADDR", "127.0.0.1"), os.environ.get("MASTER_PORT")
    if port is None:
        return 1  # one process; Lightning 2.6 has deleted WORLD_SIZE by now
    try:
        # torch would complain at length about a port at which nobody listens.
        socket.create_connection((host, int(port)), timeout=1).close()
        # torchrun's agent holds the store, else the first process does from its process group on.
        store = torch_dist.TCPStore(
            host,
            int(port),
            is_master=False,
            timeout=datetime.timedelta(seconds=1),
            wait_for_workers=False,
        )
        return store.add(f"mm2pl/failures/{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", 1)
    except (OSError, RuntimeError):
        return None
