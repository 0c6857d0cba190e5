"""Small things that 1.x train scripts import from `mmcv.runner`."""

from __future__ import annotations

import getpass
import random
import socket
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from mm2pl.dist import get_dist_info as get_dist_info
from mm2pl.dist import get_rank, sync_random_seed
from mm2pl.errors import ArgumentError


def obj_from_dict(
    info: Mapping[str, Any], parent: Any = None, default_args: Mapping[str, Any] | None = None
) -> Any:
    """Make the object that a dict describes; the registries have replaced it since MMCV 0.3.

    Args:
        info: ``type`` and arguments; the type is a class, or its name in ``parent``.
        parent: A module.
        default_args: Arguments that ``info`` may leave out.

    Raises:
        TypeError: ``info`` has no ``type``, or one that is neither a class nor a name in ``parent``.
    """
    arguments = {**(default_args or {}), **info}
    kind = arguments.pop("type", None)
    # Without a parent MMCV 1.7.2 looks the name up among the modules, and none can be called.
    found = getattr(parent, kind, None) if isinstance(kind, str) else kind
    if not callable(found):
        raise ArgumentError(f"type={kind!r} → a class, or the name of one in {parent!r}")
    return found(**arguments)


def get_host_info() -> str:
    """Return ``user@host``, or an empty string if the process has no user."""
    try:
        return f"{getpass.getuser()}@{socket.gethostname()}"
    # In a container the user id may have no name: `getpass` then raises KeyError, from Python 3.13 on OSError.
    except (OSError, KeyError, ImportError):
        return ""


def get_time_str() -> str:
    """Return the time as ``YYYYMMDD_HHMMSS``."""
    return time.strftime("%Y%m%d_%H%M%S", time.localtime())


def set_random_seed(seed: int, deterministic: bool = False, use_rank_shift: bool = False) -> None:
    """Seed Python, NumPy and torch; stands for `mmcv.runner.set_random_seed`.

    Args:
        seed: The seed.
        deterministic: Make cuDNN choose deterministic algorithms.
        use_rank_shift: Add the rank to the seed.
    """
    # The rank counts only on request: MMDetection 2 and MMSegmentation 0.x shift the seed with --diff-seed alone.
    seed += get_rank() if use_rank_shift else 0
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    # MMCV 1.7.2 also sets PYTHONHASHSEED. Only interpreters that
    # start later read it, so it has no effect on this run.
    torch.cuda.manual_seed_all(seed)
    if deterministic:
        torch.backends.cudnn.deterministic = True
        torch.backends.cudnn.benchmark = False


def init_random_seed(seed: int | None = None, device: str = "cuda") -> int:
    """Return ``seed``, or a random one that all processes agree on.

    ``device`` has no effect: the seed travels by the process group's own device.
    """
    # Processes that shuffle with different seeds would share out a data set with repeats and gaps.
    return sync_random_seed() if seed is None else seed
