"""Begin in the middle of a pass, without loading what comes before."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any

from torch.utils.data import BatchSampler, DataLoader, IterableDataset

from mm2pl.dataset.sampler import can_resume


def skip_batches(loader: Any, skip: int) -> Iterator[Any]:
    """Iterate over ``loader`` from batch ``skip`` on, loading none of the batches before.

    Only this pass is shortened. Random numbers are drawn from the global generators at the same
    moments and in the same number as by ``iter(loader)``, so with the random state of the pass's
    beginning the same shuffle comes out. Samplers with ``resume(consumed)`` skip at once; others
    are asked for the indices, which are dropped. What has no indices (an `IterableDataset`, a
    loader that is not torch's) has to load the batches to skip them.
    """
    if skip <= 0:
        return iter(loader)
    if not isinstance(loader, DataLoader) or isinstance(loader.dataset, IterableDataset):
        return islice(iter(loader), skip, None)
    with _sampler_replaced(loader, skip):
        return iter(loader)


class _SkipOnce:
    """A sampler or batch sampler whose next pass, and only that one, begins ``skip`` items in."""

    def __init__(self, sampler: Any, skip: int) -> None:
        self.sampler = sampler
        self.skip = skip

    def __iter__(self) -> Iterator[Any]:
        # With workers torch calls this twice and uses the second: the skip is taken at the first item.
        return self._items(None if self._resumable() else iter(self.sampler))

    def _resumable(self) -> tuple[Any, int] | None:
        """Return the sampler that can skip by itself, and how many of its items are one of ours."""
        if can_resume(self.sampler):
            return self.sampler, 1
        if type(self.sampler) is BatchSampler and can_resume(self.sampler.sampler):
            return self.sampler.sampler, self.sampler.batch_size
        return None

    def _items(self, items: Iterator[Any] | None) -> Iterator[Any]:
        skip, self.skip = self.skip, 0
        if items is not None:
            yield from islice(items, skip, None)
        elif resumable := self._resumable():
            sampler, size = resumable
            sampler.resume(skip * size)
            yield from self.sampler

    def __len__(self) -> int:
        return len(self.sampler)


@contextmanager
def _sampler_replaced(loader: DataLoader, skip: int) -> Iterator[None]:
    """Let an iterator that is made now skip; persistent workers keep the replacement for good."""
    name = "sampler" if loader.batch_sampler is None else "batch_sampler"
    sampler = getattr(loader, name)
    iterator = getattr(loader, "_iterator", None)
    if iterator is not None:  # persistent workers: they were given their sampler long ago
        loader._iterator = None
        del iterator
    # DataLoader's own __setattr__ forbids this, because an iterator would not notice it.
    object.__setattr__(loader, name, _SkipOnce(sampler, skip))
    try:
        yield
    finally:
        object.__setattr__(loader, name, sampler)
