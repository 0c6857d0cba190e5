"""Begin in the middle of a pass, without loading what comes before."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from itertools import chain, islice
from typing import Any

import torch
from torch.utils.data import BatchSampler, DataLoader, IterableDataset

from mm2pl.dataset.private import has_live_workers, replaced, send_workers_home
from mm2pl.dataset.sampler import can_resume
from mm2pl.dataset.worker_state import Report, Reporting, Restoring, WorkerStates
from mm2pl.errors import ArgumentError


def skip_batches(
    loader: Any,
    skip: int,
    workers: WorkerStates | None = None,
    next_pass: Callable[[int], None] | None = None,
) -> Iterator[Any]:
    """Iterate over ``loader`` from batch ``skip`` on, loading none of the batches before.

    Only the pass in which batch ``skip`` lies is shortened. By the time this returns, the global generators have been
    drawn from as by ``iter(loader)`` and its first ``skip`` batches, but for what loading them draws. So with
    the random state of the pass's beginning the same shuffle comes out, and afterwards the caller may
    set the random state of the moment that is to be continued.

    Samplers with ``resume(consumed)`` skip at once; others are asked for the indices, which are
    dropped. What has no indices (an `IterableDataset`, a loader that is not torch's) has to load the
    batches to skip them.

    Args:
        loader: Any loader.
        skip: Batches to leave out.
        workers: Where to keep the random states of the worker processes, as of the batches taken; if
            it has some from before, the workers go on with them. For loaders with a batch size.
        next_pass: Called with a pass's number of batches where it ends before ``skip`` of them are
            left out; the rest is left out of the passes that follow. None: nothing is left then.

    Raises:
        ValueError: A pass has no batch at all.
    """
    # Without indices there is nothing else to skip by.
    if not isinstance(loader, DataLoader) or isinstance(loader.dataset, IterableDataset):
        return _skipped(loader, iter(loader), skip, next_pass)[0]
    if workers is None or not loader.num_workers or loader.batch_sampler is None:
        sampler = _SkipOnce(_index_sampler(loader), skip, next_pass)
        return _started(loader, sampler) if skip > 0 else iter(loader)
    if not skip:
        workers.new_pass(loader.persistent_workers, alive=has_live_workers(loader))
    # Only the first pass after a load goes on with the workers of another process.
    workers.loaded = False
    # Living workers keep the collate function with which they were started, so nothing is replaced.
    if not skip and loader.persistent_workers and has_live_workers(loader):
        return _taken(iter(loader), workers)
    return _taken(_with_states(loader, skip, workers, next_pass), workers)


def _skipped(
    batches: Any, iterator: Iterator[Any], skip: int, next_pass: Callable[[int], None] | None
) -> tuple[Iterator[Any], int]:
    """Leave out ``skip`` items of ``iterator``, and of passes after it; return the last of them, and its share.

    Only the end of its iterator tells how long a pass is: the length of a sampler that never ends
    (MMEngine's InfiniteSampler, MMDetection's MultiSourceSampler) is that of the data set.
    """
    while True:
        # Counted, not measured by `len`: the iterator may end early.
        taken = sum(1 for _ in islice(iterator, skip))
        if taken == skip or next_pass is None:
            return iterator, taken
        if not taken:
            raise ArgumentError(
                f"a pass over {type(batches).__name__} has no batch → {skip} cannot be skipped → give it data"
            )
        skip -= taken
        next_pass(taken)
        iterator = iter(batches)


def _with_states(
    loader: DataLoader,
    skip: int,
    workers: WorkerStates,
    next_pass: Callable[[int], None] | None,
) -> Iterator[Any]:
    """Start workers that report their states, from those in ``workers``."""
    # Batch n is worker (n mod W)'s; empty ones in front keep that so.
    sampler = _SkipOnce(
        loader.batch_sampler, skip, next_pass, turns=loader.num_workers, ahead=workers.ahead
    )
    changes: dict[str, Any] = {
        "collate_fn": Reporting(loader.collate_fn),
        "worker_init_fn": Restoring(loader.worker_init_fn, workers.states),
    }
    if workers.lived_on:
        # Workers that live on are not seeded for a new pass: torch draws no number for that.
        changes["generator"] = torch.Generator()
    return _started(loader, sampler, **changes)


def _taken(iterator: Iterator[Any], workers: WorkerStates) -> Iterator[Any]:
    for item in iterator:
        if not isinstance(item, Report):
            yield item
            continue
        workers.take(item)
        if "batch" in item:
            yield item["batch"]


def _index_sampler(loader: DataLoader) -> Any:
    return loader.sampler if loader.batch_sampler is None else loader.batch_sampler


def _started(loader: DataLoader, sampler: _SkipOnce, **changes: Any) -> Iterator[Any]:
    """Return an iterator over ``loader`` with another sampler, which has found its first item."""
    # torch's iterator over living workers keeps the sampler that it was made with.
    if loader.persistent_workers:
        send_workers_home(loader)
    name = "sampler" if loader.batch_sampler is None else "batch_sampler"
    with replaced(loader, **{name: sampler}, **changes):
        iterator = iter(loader)
    sampler.start()
    return iterator


class _SkipOnce:
    """A sampler or batch sampler whose next pass, and only that one, begins ``skip`` items in.

    Args:
        sampler: What is sampled from; persistent workers go on with this object for ever.
        skip: Items to leave out.
        next_pass: See :func:`skip_batches`.
        turns: Put so many empty batches in front that the first item is that of the same turn of ``turns``.
        ahead: Gets each item of a pass as it is handed out.
    """

    def __init__(
        self,
        sampler: Any,
        skip: int,
        next_pass: Callable[[int], None] | None = None,
        turns: int = 1,
        ahead: deque[Any] | None = None,
    ) -> None:
        self.sampler = sampler
        self.skip = skip
        self.next_pass = next_pass
        self.turns = turns
        self.ahead = deque(maxlen=0) if ahead is None else ahead
        self.first: list[Any] | None = None
        self.items: Iterator[Any] = iter(())

    def __iter__(self) -> Iterator[Any]:
        # With workers torch calls this twice, uses the second, and takes its first items at once.
        self.ahead.clear()
        self.items = self._items(None if self._resumable() else iter(self.sampler))
        return self._from_first(self.items)

    def start(self) -> None:
        """Take the first item now, if nobody has: samplers draw their random numbers at that moment."""
        if self.first is None:
            self.first = list(islice(self.items, 1))

    def _from_first(self, items: Iterator[Any]) -> Iterator[Any]:
        first, self.first = self.first or [], []
        for item in chain(first, items):
            self.ahead.append(item)
            yield item

    def _items(self, items: Iterator[Any] | None) -> Iterator[Any]:
        skip, self.skip = self.skip, 0
        if items is not None:
            items, skip = _skipped(self.sampler, items, skip, self.next_pass)
        elif resumable := self._resumable():
            sampler, size = resumable
            # An endless sampler counts through its passes by itself.
            if self.next_pass is not None and not getattr(sampler, "endless", False):
                skip = self._whole_passes(skip)
            sampler.resume(skip * size)
            items = iter(self.sampler)
        assert items is not None
        yield from ([] for _ in range(skip % self.turns))
        yield from items

    def _whole_passes(self, skip: int) -> int:
        """Leave out the passes that end before ``skip`` items, by their length; return what is left of ``skip``."""
        length = len(self.sampler)
        for _ in range(skip // length):
            self.next_pass(length)  # type: ignore[misc]
        return skip % length

    def _resumable(self) -> tuple[Any, int] | None:
        """Return the sampler that can skip by itself, and how many of its items are one of ours."""
        if can_resume(self.sampler):
            return self.sampler, 1
        # Not `isinstance`: a subclass may group, such as by aspect
        # ratio, and `batch_size` items are then not one batch.
        if type(self.sampler) is BatchSampler and can_resume(self.sampler.sampler):
            return self.sampler.sampler, self.sampler.batch_size
        return None

    def __len__(self) -> int:
        return len(self.sampler)
