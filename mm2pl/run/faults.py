"""What is wrong with a run, as far as it can be told before its first batch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from mm2pl.closest import misspelt
from mm2pl.dataset.utils import length_of
from mm2pl.plan.fault import Fault
from mm2pl.plan.translate import whole_config
from mm2pl.run.points import STAGES
from mm2pl.run.reach import faults_of_settings
from mm2pl.run.waiting import faults_of_waiting

if TYPE_CHECKING:
    from mm2pl.run.run import Run


def faults_of_run(run: Run, config: Mapping[str, Any] | None = None) -> list[Fault]:
    """Return what is wrong with a run whose loops, hooks and schedules are built. Nothing is loaded or computed.

    Args:
        run: The run.
        config: What it was made from; by default its plan.
    """
    if config is None:
        config = whole_config(run.plan.run, run.plan.model, run.plan.data)
    # A loop of a user's own may not tell when it validates.
    times = getattr(run.train_loop, "times", None)
    return [
        *faults_of_settings(config, times),
        *_loaders(run),
        *(faults_of_waiting(run) if times is not None else ()),
        *faults_of_methods(run.hooks),
    ]


def warn_of_faults(run: Run) -> None:
    """Say once, before the first batch, what in a run will not do what it says; nothing of a sound one."""
    if run.runner.is_trial:
        return
    lines = [f"  {fault}" for fault in faults_of_run(run) if fault.severity != "note"]
    if lines:
        run.logger.warning(
            "\n".join(
                ["not all of this run will do what it says (mm2pl check tells more):", *lines]
            )
        )


def _loaders(run: Run) -> Iterator[Fault]:
    for stage in ("train", "val"):
        loop = run.loops[stage]
        if loop is None:
            continue
        loader = getattr(loop, "dataloader", None)  # a loop that drives may have none of this name
        if length_of(loader) == 0:
            yield Fault(
                path=f"{stage}_dataloader",
                given=f"{length_of(getattr(loader, 'dataset', None))} samples in batches of "
                f"{getattr(loader, 'batch_size', None)}",
                why="there is no whole batch, so nothing happens",
                advice="a smaller batch_size, drop_last=False, or more data",
            )
        yield from _drawn_seed(run, stage, loader)


def _drawn_seed(run: Run, stage: str, loader: Any) -> Iterator[Fault]:
    """Find a sampler that has drawn its own seed before the run's was set; MMEngine does not notice it either."""
    batches = getattr(loader, "batch_sampler", None)
    samplers: list[Any] = [getattr(holder, "sampler", None) for holder in (loader, batches)]
    for sampler in samplers:
        drawn = getattr(sampler, "seed_is_drawn", False) and getattr(sampler, "shuffle", True)
        if drawn and run.randomness.get("seed") is not None and sampler.seed != run.seed:
            yield Fault(
                path=f"{stage}_dataloader.sampler.seed",
                given=repr(sampler.seed),
                why=f"drawn when the loader was built, before randomness.seed={run.seed} was set: "
                "the order of the data is another one in each run",
                advice=f"{type(sampler).__name__}(…, seed={run.seed}), or give the loader as a dict",
                severity="warning",
            )
            return


def faults_of_methods(hooks: Iterable[Any]) -> Iterator[Fault]:
    """Yield the methods of hooks whose name is nearly that of a point at which hooks are called."""
    for hook in hooks:
        cls: Any = type(hook)
        for name, point in _nearly_points(cls):
            yield Fault(
                path=f"{type(hook).__name__}.{name}",
                given="a method that no run calls",
                why=f"the points of a hook are {', '.join(STAGES)}",
                advice=f"did you mean {point!r}?",
                severity="warning",
            )


@cache
def _nearly_points(cls: type) -> tuple[tuple[str, str], ...]:
    found = {}
    for owner in cls.__mro__:
        # The base class, ours or MMEngine's, is the one that lists the points.
        if {"stages", "priority"} <= vars(owner).keys():
            break
        for name, value in vars(owner).items():
            if name not in STAGES and callable(value) and (point := misspelt(name, STAGES)):
                found[name] = point
    return tuple(found.items())
