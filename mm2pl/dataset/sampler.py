"""Which samples a process sees, in which order."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sized
from itertools import count, islice
from typing import Any, ClassVar

import torch
from torch.utils.data import Sampler

from mm2pl.dataset.utils import length_of
from mm2pl.dist import get_dist_info, sync_random_seed
from mm2pl.errors import ArgumentError
from mm2pl.registry import DATA_SAMPLERS


class _RankSampler(Sampler[int]):
    """Hold what both samplers share: rank, seed, and the place where the next pass begins."""

    endless: ClassVar[bool] = False
    """Whether the iterator never ends, so that the sampler's length is not that of a pass."""

    def __init__(self, dataset: Sized, shuffle: bool, seed: int | None) -> None:
        if length_of(dataset) is None:
            raise ArgumentError(
                f"{type(dataset).__name__} has no length, which {type(self).__name__} needs → give it a __len__; an "
                "IterableDataset takes no sampler"
            )
        self.rank, self.world_size = get_dist_info()
        self.dataset = dataset
        self.shuffle = shuffle
        self.seed_is_drawn = seed is None
        # Drawn even if nothing is shuffled: it is one number of NumPy's stream, as in MMEngine.
        self.seed = sync_random_seed() if seed is None else seed
        self.start = 0

    def resume(self, consumed: int) -> None:
        """Let the next ``iter()``, and only that one, begin ``consumed`` samples (of this rank) in.

        Nothing is loaded for the samples left out.
        """
        if consumed < 0:
            raise ArgumentError(f"consumed={consumed!r}: give the number of samples taken, >= 0.")
        self.start = consumed

    def _take_start(self) -> int:
        # Taken back at once: the next epoch begins at its beginning.
        start, self.start = self.start, 0
        return start

    def _needs_samples(self) -> None:
        if len(self.dataset) == 0:
            raise ArgumentError(
                f"{type(self).__name__} got an empty data set ({type(self.dataset).__name__} of "
                "length 0): check its ann_file, data_root, filter_cfg and indices."
            )


@DATA_SAMPLERS.register_module()
class DefaultSampler(_RankSampler):
    """Deal the samples out to the ranks like cards; stands for `mmengine.dataset.DefaultSampler`.

    Rank ``r`` of ``W`` gets positions ``r, r + W, r + 2W, …`` of the (shuffled) order.

    Args:
        dataset: Anything with a length.
        shuffle: Permute by ``seed + epoch``; call :meth:`set_epoch` before every epoch.
        seed: The same on all ranks; None: a random one that the ranks agree on.
        round_up: Repeat samples from the beginning until all ranks have equally many.

    Raises:
        ArgumentError: The data set has no length, or is empty and ``round_up`` has nothing to repeat.

    Example:
        >>> list(DefaultSampler("abcd", shuffle=True, seed=0))
        [0, 1, 3, 2]
    """

    def __init__(
        self, dataset: Sized, shuffle: bool = True, seed: int | None = None, round_up: bool = True
    ) -> None:
        super().__init__(dataset, shuffle, seed)
        self.epoch = 0
        self.round_up = round_up
        length = len(dataset)
        if round_up:
            # MMEngine 0.10.7 fails later, with a division by zero.
            self._needs_samples()
            self.num_samples = math.ceil(length / self.world_size)
            self.total_size = self.num_samples * self.world_size
        else:
            self.num_samples = math.ceil((length - self.rank) / self.world_size)
            self.total_size = length

    def __iter__(self) -> Iterator[int]:
        length = len(self.dataset)
        first = self.rank + self._take_start() * self.world_size
        positions = range(first, self.total_size, self.world_size)
        if not self.shuffle:
            # The remainder takes samples from the beginning again, as MMEngine's list does that is repeated and cut.
            return (position % length for position in positions)
        # A generator of its own: the global stream is not touched, and an epoch can be repeated alone.
        generator = torch.Generator().manual_seed(self.seed + self.epoch)
        # By torch's own generator, so that all ranks and MMEngine get this permutation for this epoch.
        order = torch.randperm(length, generator=generator)
        # torch.arange refuses an end below its start, which a resume at the end of a pass would give.
        own = torch.arange(first, max(first, self.total_size), self.world_size)
        # Plain ints: data sets index lists and dicts with them.
        return iter(order[own % max(length, 1)].tolist())

    def __len__(self) -> int:
        return self.num_samples

    def set_epoch(self, epoch: int) -> None:
        """Choose the permutation of the next pass, by ``epoch`` and the seed."""
        self.epoch = epoch


@DATA_SAMPLERS.register_module()
class InfiniteSampler(_RankSampler):
    """Deal out one permutation after the other, for ever; `mmengine.dataset.InfiniteSampler`.

    Unlike MMEngine's it can be iterated again: every ``iter()`` starts the same stream.
    ``len()`` is the length of the data set, not of the stream.

    Args:
        dataset: Anything with a length, not empty.
        shuffle: Draw permutations from one generator seeded with ``seed``.
        seed: The same on all ranks; None: a random one that the ranks agree on.

    Raises:
        ArgumentError: The data set is empty, or has no length.

    Example:
        >>> list(islice(InfiniteSampler("abc", shuffle=False), 5))
        [0, 1, 2, 0, 1]
    """

    endless = True

    def __init__(self, dataset: Sized, shuffle: bool = True, seed: int | None = None) -> None:
        super().__init__(dataset, shuffle, seed)
        self._needs_samples()
        self.size = len(dataset)

    def __iter__(self) -> Iterator[int]:
        first = self.rank + self._take_start() * self.world_size
        # No `yield` in here: the start must be taken by `iter()` and not by the first `next()`.
        return islice(self._stream(*divmod(first, self.size)), 0, None, self.world_size)

    def _stream(self, passes: int, first: int) -> Iterator[int]:
        """Yield what all ranks see together, from place ``first`` of pass ``passes`` on."""
        if not self.shuffle:
            yield from (position % self.size for position in count(first))
        generator = torch.Generator().manual_seed(self.seed)
        # Nothing is loaded, but only drawing leads on in torch's stream: 10 to 40 ns per sample, which is 15 s for
        # 300 passes over ImageNet.
        for _ in range(passes):
            torch.randperm(self.size, generator=generator)
        while True:
            yield from torch.randperm(self.size, generator=generator)[first:].tolist()
            first = 0

    # MMEngine's choice: len() of the loader, which loops and progress bars show, comes from here.
    def __len__(self) -> int:
        return self.size

    def set_epoch(self, epoch: int) -> None:
        """Do nothing: the stream has no epochs."""


def can_resume(sampler: Any) -> bool:
    """Return whether ``sampler`` has the ``resume(consumed)`` of this module's samplers, who tell whether they end."""
    return callable(getattr(sampler, "resume", None))


def never_ends(loader: Any) -> bool:
    """Return whether a sampler of ``loader`` says that it is endless; one that does not say may be so all the same."""
    batches = getattr(loader, "batch_sampler", None)
    samplers = getattr(loader, "sampler", None), batches, getattr(batches, "sampler", None)
    return any(getattr(sampler, "endless", False) for sampler in samplers)
