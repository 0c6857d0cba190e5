"""One message for the failure of several processes: the first to fail says why, the others end.

It counts, at any time: a config fails before there is a Trainer. :mod:`mm2pl.lightning.ranks` names who is missing in a
run in which none has failed.
"""

from __future__ import annotations

import datetime
import os
import socket

import torch.distributed as torch_dist

COMMUNICATION = (
    "gloo",
    "nccl",
    "processgroup",
    "distbackend",
    "diststore",
    "connection closed by peer",
)
"""What stands in a collective's error when its partner is gone, in small letters."""

RANKS = ("RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID")
"""Variables of launchers that are 0 or unset in the first process of a run."""


class OtherProcessFailed(SystemExit):
    """End a process quietly whose only trouble is that another one, which has said why, is gone."""


def is_first_failure(error: BaseException) -> bool:
    """Return whether no other process of the run has failed before; asks the run's store, once per error.

    Where there is no store to ask, the first process of the run is gone; another's echo of that does not count as
    first.
    """
    known = vars(error)
    if "_mm2pl_first" not in known:
        number = _count_failure()
        alone = _is_first_process() or not is_echo(error)
        known["_mm2pl_first"] = alone if number is None else number == 1
    return known["_mm2pl_first"]


def is_echo(error: BaseException) -> bool:
    """Return whether an error is one that a process has when its partner in a collective is gone."""
    text = f"{type(error).__name__} {error}".lower()
    return isinstance(error, RuntimeError) and any(word in text for word in COMMUNICATION)


def _is_first_process() -> bool:
    return not any(int(os.environ.get(name) or 0) for name in RANKS)


def _count_failure() -> int | None:
    """Count this failure among those of all processes and return its number; None if nobody counts."""
    if "MASTER_PORT" not in os.environ:
        return 1  # one process; Lightning 2.6 has deleted WORLD_SIZE by now
    store = store_of_run()
    if store is None:
        return None
    try:
        return store.add(f"mm2pl/failures/{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", 1)
    except RuntimeError:
        return None


def store_of_run(
    timeout: datetime.timedelta = datetime.timedelta(seconds=1),
) -> torch_dist.TCPStore | None:
    """Return a connection to the store in which the processes of the run have met; None if it is gone.

    Args:
        timeout: How long it may take to answer.
    """
    host, port = os.environ.get("MASTER_ADDR", "127.0.0.1"), os.environ.get("MASTER_PORT")
    if port is None:
        return None
    try:
        # torch would complain at length about a port at which nobody listens.
        socket.create_connection((host, int(port)), timeout=1).close()
        # torchrun's agent holds the store, else the first process does from its process group on.
        return torch_dist.TCPStore(
            host, int(port), is_master=False, timeout=timeout, wait_for_workers=False
        )
    except (OSError, RuntimeError):
        return None
