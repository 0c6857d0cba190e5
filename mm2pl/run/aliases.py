"""Properties of a runner that stand for attributes of its run."""

from __future__ import annotations

from operator import attrgetter
from typing import Any


def of(path: str) -> Any:
    """Make a property that reads and assigns an attribute of the run."""
    owner, _, name = f"_run.{path}".rpartition(".")
    find = attrgetter(owner)
    return property(
        attrgetter(f"_run.{path}"), lambda self, value: setattr(find(self), name, value)
    )


def part(table: str, stage: str) -> Any:
    """Make a property that reads and assigns one stage's entry of a table of the run."""
    find = attrgetter(f"_run.{table}")
    return property(
        lambda self: find(self)[stage], lambda self, value: find(self).__setitem__(stage, value)
    )


def fixed(path: str) -> Any:
    """Make a property that reads an attribute of the run, and refuses to be assigned: the Trainer exists already."""

    def refuse(self: object, value: object) -> None:
        raise AttributeError(
            f"{path}={value!r} after the runner was made → its Trainer has its processes by then → launcher=… in the "
            "config, or trainer=dict(devices=…, num_nodes=…)"
        )

    return property(attrgetter(f"_run.{path}"), refuse)
