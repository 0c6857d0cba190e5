"""A start that fails, and a trial, leave the process as they found it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch

from mm2pl.checkpoint.random_state import rng_state, set_rng_state
from mm2pl.dist import is_distributed
from mm2pl.manager import forget_new_instances


@contextmanager
def undone_on_failure() -> Iterator[None]:
    """Take back what the block has changed in the process, if it raises.

    That is: the current scope, loggers, message hubs and visualizers (their files are closed), the process group, the
    environment variables, ``sys.path``, the working folder, torch's deterministic and cuDNN flags, and the random
    states. What a module that was imported has registered stays, as after any import.

    MMEngine 0.10.7 leaves all of it behind: after a run with a misspelt ``default_scope``, ``MODELS.build`` in the same
    notebook fails with that scope.

    >>> with undone_on_failure():
    ...     sys.path.append("/nowhere")
    ...     raise ValueError("no such model")
    Traceback (most recent call last):
    ValueError: no such model
    >>> "/nowhere" in sys.path
    False
    """
    with _remembered() as undo:
        yield
        undo.pop_all()


@contextmanager
def undone() -> Iterator[None]:
    """Take back what :func:`undone_on_failure` does, also if nothing fails.

    >>> with undone():
    ...     sys.path.append("/nowhere")
    >>> "/nowhere" in sys.path
    False
    """
    with _remembered():
        yield


def _remembered() -> ExitStack:
    undo = ExitStack()
    for remember in (_random_states, _torch_flags, _places, _process_group, forget_new_instances):
        undo.callback(remember())
    return undo


def _random_states() -> Callable[[], None]:
    before = rng_state()
    return lambda: set_rng_state(before)


def _torch_flags() -> Callable[[], None]:
    cudnn: Any = torch.backends.cudnn
    flags = cudnn.benchmark, cudnn.deterministic
    mode = torch.get_deterministic_debug_mode()

    def undo() -> None:
        cudnn.benchmark, cudnn.deterministic = flags
        torch.set_deterministic_debug_mode(mode)

    return undo


def _places() -> Callable[[], None]:
    folder, path, environment = os.getcwd(), list(sys.path), dict(os.environ)

    def undo() -> None:
        os.chdir(folder)
        sys.path[:] = path
        for name in os.environ.keys() - environment.keys():
            del os.environ[name]
        os.environ.update(environment)

    return undo


def _process_group() -> Callable[[], None]:
    joined = is_distributed()

    def undo() -> None:
        if is_distributed() and not joined:
            torch.distributed.destroy_process_group()

    return undo
