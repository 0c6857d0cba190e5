"""A run whose first process alone makes the model, since all of them together have no room for it."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from mm2pl.checkpoint.random_state import rng_state, set_rng_state
from mm2pl.dist import broadcast_object_list


def is_meta_init(strategy: object) -> bool:
    """Return whether a strategy, or LightningCLI's form of one, has ``meta_init=True``.

    >>> is_meta_init({"class_path": "…", "init_args": {"meta_init": True}}), is_meta_init("ddp")
    (True, False)
    """
    if isinstance(strategy, Mapping):
        return bool((strategy.get("init_args") or {}).get("meta_init"))
    return getattr(strategy, "meta_init", False)


def share_random_state() -> None:
    """Let all processes go on with the first one's random numbers, as if they had drawn weights too."""
    # A device's generator has drawn none: the first process makes the weights on the CPU.
    states = [{name: state for name, state in rng_state().items() if name != "cuda"}]
    broadcast_object_list(states)
    set_rng_state(states[0])


@contextmanager
def loading_for_others() -> Iterator[None]:
    """Leave out what torch says of each weight that is loaded where there are only shapes: the first process has it."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*copying from a non-meta parameter")
        yield
