"""How long a run is."""

from __future__ import annotations

from typing import Any

from mm2pl.errors import ArgumentError


def length_of_run(train_cfg: object) -> dict[str, Any]:
    """Return the Trainer's length of a run: epochs, or one epoch of ``max_iters`` batches.

    Raises:
        ValueError: If it is not a number.

    >>> length_of_run({"by_epoch": False, "max_iters": 80000})
    {'max_epochs': 1, 'limit_train_batches': 80000}
    """
    if not isinstance(train_cfg, dict):
        return {}
    for name in ("max_iters", "max_epochs"):
        if name in train_cfg:
            if not isinstance(train_cfg[name], int | float):
                raise ArgumentError(
                    f"train_cfg: {name}={train_cfg[name]!r} → a whole number of at least 1 is needed"
                )
            # An int, because to Lightning limit_train_batches=1.0 means all batches. And -1 epochs are endless to it,
            # where MMEngine trains nothing.
            length = max(int(train_cfg[name]), 0)
            by_iter = {"max_epochs": 1, "limit_train_batches": length}
            return by_iter if name == "max_iters" else {name: length}
    return {}
