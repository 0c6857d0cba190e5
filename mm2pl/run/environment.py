"""The process a run lives in: seeds, worker start method, file limits, process group."""

from __future__ import annotations

import logging
import os
import random
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mm2pl.dist import broadcast, get_rank, init_dist, is_distributed, sync_random_seed
from mm2pl.errors import FileError
from mm2pl.logging import print_log
from mm2pl.plan.processes import launched_by
from mm2pl.utils.dl_utils import collect_env, set_multi_processing

ROOM = 2**18
"""Bytes without which a run does not begin: its log and its config need about as much before the first iteration."""

_TIME_STAMPS: set[str] = set()
_TOLD = "MM2PL_RUN"


def setup_env(env_cfg: dict[str, Any], launcher: str = "none") -> str:
    """Apply an ``env_cfg`` and join the process group that ``launcher`` describes.

    Args:
        env_cfg: ``cudnn_benchmark``, ``mp_cfg``, ``dist_cfg``, ``resource_limit`` (open files).
        launcher: ``none``, ``pytorch``, ``slurm`` or ``mpi``.

    Returns:
        The time of the start as ``YYYYMMDD_HHMMSS``, the same in every process; a second or more later if another run
        of this process has taken that name.
    """
    if env_cfg.get("cudnn_benchmark"):
        torch.backends.cudnn.benchmark = True
    distributed = launcher != "none"
    set_multi_processing(**env_cfg.get("mp_cfg", {}), distributed=distributed)
    if distributed and not is_distributed():
        init_dist(launcher, **env_cfg.get("dist_cfg", {}))
    elif not distributed and (started := launched_by(os.environ)) != "none":
        print_log(
            f"launcher='none' in one of several processes that {started} has started → each trains for itself; "
            f"launcher={started!r} lets them train together",
            logger="current",
            level=logging.WARNING,
        )
    raise_file_limit(env_cfg.get("resource_limit", 4096))
    if (inherited := inherited_time_and_seed()) is not None:
        return inherited[0]
    now = torch.tensor(time.time(), dtype=torch.float64)
    broadcast(now)
    return _new_time_stamp(now.item())


@contextmanager
def telling_children(time_stamp: str, seed: int) -> Iterator[None]:
    """Tell the processes that Lightning starts for this run (``Trainer(devices=2)``) its time and its seed.

    They build the run before there is a process group in which they could ask.
    """
    os.environ[_TOLD] = f"{time_stamp} {seed}"
    try:
        yield
    finally:
        os.environ.pop(_TOLD, None)


def inherited_time_and_seed() -> tuple[str, int] | None:
    """Return the run's time and seed, in a process that Lightning has started."""
    told = os.environ.get(_TOLD, "").split()
    if not told or is_distributed() or os.environ.get("LOCAL_RANK", "0") == "0":
        return None
    return told[0], int(told[1])


def _new_time_stamp(seconds: float) -> str:
    """Return a time stamp that no other run of this process has: loggers and visualizers are kept by its name."""
    while (stamp := time.strftime("%Y%m%d_%H%M%S", time.localtime(seconds))) in _TIME_STAMPS:
        seconds += 1
    _TIME_STAMPS.add(stamp)
    return stamp


def raise_file_limit(soft: int) -> None:
    """Allow at least ``soft`` open files, as far as the hard limit permits: workers share tensors through files."""
    try:
        import resource
    except ImportError:  # Windows
        return
    current, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(max(soft, current), hard), hard))


def set_random_seed(
    seed: int | None = None, deterministic: bool = False, diff_rank_seed: bool = False
) -> int:
    """Seed Python, NumPy and torch.

    Args:
        seed: The seed; ``None``: one random seed that all processes agree on.
        deterministic: Make cuDNN and torch choose deterministic algorithms.
        diff_rank_seed: Add the rank to the seed.

    Returns:
        The seed of this process.
    """
    inherited = inherited_time_and_seed()
    if seed is None:
        seed = sync_random_seed() if inherited is None else inherited[1]
    if diff_rank_seed:
        seed += get_rank() if inherited is None else int(os.environ["LOCAL_RANK"])
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    if torch.cuda.is_available():
        torch.cuda.manual_seed_all(seed)
    if deterministic:
        _choose_deterministic_algorithms()
    return seed


def _choose_deterministic_algorithms() -> None:
    """Let a run that is repeated give the same bits; this comes after :func:`setup_env`, and wins over it."""
    if torch.backends.cudnn.benchmark:
        print_log(
            "cudnn_benchmark=True and deterministic=True → cuDNN's benchmark is switched off, as it chooses by the "
            "time that algorithms take → leave one of the two out",
            logger="current",
            level=logging.WARNING,
        )
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False
    torch.use_deterministic_algorithms(True)
    # Without it torch refuses cuBLAS's products in this mode, where MMEngine 0.10.7 stops with that error. Lightning
    # 2.6 sets the same value for its own flag, but over a value of the user's.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


def described(settings: Mapping[str, Any]) -> str:
    """Describe the machine and a run's settings as MMEngine's log does."""
    line = "-" * 60
    system, runtime = (
        "".join(f"\n    {key}: {value}" for key, value in block.items())
        for block in (collect_env(), settings)
    )
    return f"\n{line}\nSystem environment:{system}\n\nRuntime environment:{runtime}\n{line}\n"


def make_folder(path: str, work_dir: str, *, tries: bool = True) -> None:
    """Make a folder in ``work_dir`` in which there is some room; where there is none, nothing is left behind.

    Args:
        path: The folder.
        work_dir: What the user has called the folder of the run.
        tries: Whether a file is written to see the room; of several processes one does so.

    Raises:
        OSError: It cannot be written.
    """
    made = [folder for folder in (Path(path), *Path(path).parents) if not folder.exists()]
    probe = Path(path, f".room.{os.getpid()}.tmp")
    try:
        try:
            os.makedirs(path, exist_ok=True)
            if tries:
                probe.write_bytes(bytes(ROOM))
        finally:
            if tries:
                probe.unlink(missing_ok=True)
    except OSError as error:
        for folder in made:
            with suppress(OSError):
                folder.rmdir()
        raise FileError(
            error.errno,
            f"work_dir={work_dir!r} cannot be written: {error.strerror} → make room there, or name a folder that can, "
            "in the config or with --work-dir",
        ) from error
