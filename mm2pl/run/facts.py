"""What a run is, as plain data that is stored in its checkpoints and compared when one of them is resumed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mm2pl.checkpoint.compare import groups_of, versions
from mm2pl.dataset import batch_size_of
from mm2pl.errors import ArgumentError
from mm2pl.optim.abilities import wrappers_of

if TYPE_CHECKING:
    from mm2pl.run.view import RunnerView


def facts_of(runner: RunnerView) -> dict[str, Any]:
    """Return the facts of a run that has been built; ``None`` stands for what is not known."""
    loop = runner.train_loop
    by_epoch = getattr(loop, "by_epoch", True)
    # A Trainer of the user's own knows its length only once it has its loader.
    length = getattr(loop, "epoch_length", None)
    return {
        "loop": "by epoch" if by_epoch else "by iteration",
        "max_epochs": (loop.max_epochs or None) if by_epoch and length else None,
        "max_iters": (loop.max_iters or None) if length else None,
        "epoch_length": length if by_epoch else None,
        **_data(getattr(loop, "dataloader", None)),
        "seed": runner.seed,
        "processes": runner.world_size,
        "versions": versions(),
        "optimizers": {
            name: _class(each) for name, each in wrappers_of(runner.optim_wrapper).items()
        },
        "schedules": {
            name: [type(each).__name__ for each in group]
            for name, group in named_lists(runner.param_schedulers).items()
        },
    }


def groups_by_name(wrappers: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Return what is compared of the optimizers' groups; a file has it in the optimizers' states."""
    return {
        name: groups_of(getattr(each, "optimizer", each).param_groups)
        for name, each in wrappers.items()
    }


def named_lists(schedules: Any) -> dict[str, list[Any]]:
    """Return schedules, or their states, by the name of their optimizer."""
    if isinstance(schedules, Mapping):
        return {name: list(group) for name, group in schedules.items()}
    return {"": list(schedules)} if schedules else {}


def _class(wrapper: Any) -> str:
    return type(getattr(wrapper, "optimizer", wrapper)).__name__


def _data(loader: Any) -> dict[str, int | None]:
    try:
        batch_size = batch_size_of(loader)
    except ArgumentError:
        batch_size = None
    dataset: Any = getattr(loader, "dataset", None)
    return {
        "batch_size": batch_size,
        "data_length": len(dataset) if hasattr(dataset, "__len__") else None,
    }
